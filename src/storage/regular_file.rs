//! Opens regular files without blocking, and reads them within a size limit.
//!
//! Opening a named pipe without a writer would block forever, and a device such as `/dev/zero` is infinite. Both are
//! errors.

use std::fs::{File, FileType, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Opens the file at `path` for reading: the file and its size in bytes. Anything but a regular file is an error.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let file = match open_without_waiting(path) {
        Ok(file) => file,
        // On a network file system, each look at a missing file takes long.
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
        // A socket cannot be opened. Its file type is a clearer error than that of the system.
        Err(error) => {
            let found = std::fs::metadata(path).map(|m| m.file_type());
            return Err(found.ok().and_then(refusal).unwrap_or(error));
        }
    };
    let metadata = file.metadata()?;
    match refusal(metadata.file_type()) {
        None => Ok((file, metadata.len())),
        Some(error) => Err(error),
    }
}

/// Reads the regular file at `path`, which may have at most `limit_bytes`.
pub(crate) fn read_regular(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path)?;
    if size > limit_bytes {
        return Err(too_large(size, limit_bytes));
    }
    read_all(file, limit_bytes)
}

/// Reads all of `reader`, at most `limit_bytes`.
pub(crate) fn read_all(reader: impl Read, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        Err(too_large(bytes.len() as u64, limit_bytes))
    } else {
        Ok(bytes)
    }
}

fn too_large(found_bytes: u64, limit_bytes: u64) -> Error {
    let problem =
        format!("it has at least {found_bytes} bytes, expected at most {limit_bytes} bytes");
    Error::new(ErrorKind::FileTooLarge, problem)
}

/// The error for a file of this type; `None` for a regular file.
pub(crate) fn refusal(found: FileType) -> Option<Error> {
    let kind = match found {
        t if t.is_file() => return None,
        t if t.is_dir() => return Some(ErrorKind::IsADirectory.into()),
        t if t.is_fifo() => "a named pipe (FIFO)",
        t if t.is_char_device() => "a character device",
        t if t.is_block_device() => "a block device",
        t if t.is_socket() => "a socket",
        _ => "neither a file nor a folder",
    };
    let problem = format!("it is {kind}, expected a regular file: copy its contents to one");
    Some(Error::new(ErrorKind::InvalidInput, problem))
}

#[cfg(target_os = "linux")]
fn open_without_waiting(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.cast_signed());
    options.open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_without_waiting(path: &Path) -> Result<File> {
    match refusal(std::fs::metadata(path)?.file_type()) {
        None => OpenOptions::new().read(true).open(path),
        Some(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a named pipe in the folder.
    fn pipe(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("pipe");
        let status = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(status.unwrap().success());
        path
    }

    #[test]
    fn pipes_devices_sockets_and_folders_are_errors_that_name_the_type() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, expected) in [
            (pipe(dir.path()), "a named pipe (FIFO)"),
            ("/dev/zero".into(), "a character device"),
            ("/dev/null".into(), "a character device"),
            (socket, "a socket"),
            (dir.path().to_owned(), "is a directory"),
        ] {
            for error in [
                open_regular(&path).map(|_| ()).unwrap_err(),
                read_regular(&path, 9).map(|_| ()).unwrap_err(),
            ] {
                assert!(error.to_string().contains(expected), "{path:?}: {error}");
            }
        }
        let error = open_regular(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert_eq!(open_regular(&path).unwrap().1, 5);
        let error = read_regular(&path, 4).unwrap_err();
        assert!(error.to_string().contains("5 bytes"), "{error}");
        // A reader of unknown size.
        assert!(read_all(std::io::repeat(0), 1000).is_err());
        assert_eq!(read_all(&b"12"[..], 2).unwrap(), b"12");
    }
}

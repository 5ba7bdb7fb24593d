//! Reads the bytes of a config: from a regular file, or from a pipe that the shell opened.

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::ConfigError;
use crate::storage::{read_all, read_regular, refusal};

/// Maximum size of a config, in bytes.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// The contents of the config at `path`: a regular file, or a pipe that the shell opened (`<(jq ...)`, which is
/// `/dev/fd/63`, or `/dev/stdin`).
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let read = if is_descriptor(path) {
        read_descriptor(path)
    } else {
        read_regular(path, MAX_CONFIG_BYTES)
    };
    read.map_err(|source| ConfigError::Read {
        file: path.to_owned(),
        source,
    })
}

/// Whether the path names a file descriptor that the program inherited.
fn is_descriptor(path: &Path) -> bool {
    let folders = ["/dev/fd", "/proc/self/fd"];
    path == Path::new("/dev/stdin") || folders.iter().any(|f| path.parent() == Some(Path::new(f)))
}

fn read_descriptor(path: &Path) -> std::io::Result<Vec<u8>> {
    let found = std::fs::metadata(path)?.file_type();
    match refusal(found).filter(|_| !found.is_fifo()) {
        None => read_all(File::open(path)?, MAX_CONFIG_BYTES),
        Some(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_from_the_shell_is_read_and_a_named_pipe_is_an_error() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"{}").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        assert_eq!(read_bytes(Path::new(&path)).unwrap(), b"{}");

        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("config.json");
        let made = std::process::Command::new("mkfifo").arg(&named).status();
        assert!(made.unwrap().success());
        for path in [named.as_path(), Path::new("/dev/zero"), dir.path()] {
            let ConfigError::Read { file, .. } = read_bytes(path).unwrap_err() else {
                panic!("another error");
            };
            assert_eq!(file, path);
        }
    }

    #[test]
    fn a_device_behind_a_descriptor_is_an_error() {
        use std::os::fd::AsRawFd;
        let zero = File::open("/dev/zero").unwrap();
        let path = format!("/proc/self/fd/{}", zero.as_raw_fd());
        let ConfigError::Read { source, .. } = read_bytes(Path::new(&path)).unwrap_err() else {
            panic!("another error");
        };
        assert!(source.to_string().contains("character device"), "{source}");
    }
}

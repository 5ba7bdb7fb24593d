//! Atomic writes to local files: a file appears under its name only with all its bytes.
//!
//! An [`AtomicFile`] is written under a temporary name in the same folder, flushed to the disk, and renamed. Its writer
//! holds a lock on it. A temporary file that can be locked was left by a dead process, and can be removed.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// A file that has a temporary name. When it is dropped without [`AtomicFile::rename`], it is removed.
#[derive(Debug)]
pub(crate) struct AtomicFile(NamedTempFile);

impl AtomicFile {
    /// Creates a file in `folder`. Its temporary name begins with `prefix`.
    pub(crate) fn create(folder: &Path, prefix: &str) -> Result<Self> {
        loop {
            let file = tempfile::Builder::new()
                .prefix(prefix)
                // Temporary files are private by default, but the output has the permissions of the umask.
                .permissions(PermissionsExt::from_mode(0o666))
                .tempfile_in(folder)?;
            match file.as_file().try_lock() {
                // Until it was locked, another process could take it for the file of a dead writer.
                Err(TryLockError::WouldBlock) => {}
                Ok(()) if !file.path().exists() => {}
                // On a file system without locks, the file of a dead writer stays, which is harmless.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self(file)),
            }
        }
    }

    /// The temporary path.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The file, to write to.
    pub(crate) fn as_file_mut(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    /// Flushes the contents to the disk.
    pub(crate) fn flush_to_disk(&self) -> Result<()> {
        self.0.as_file().sync_data()
    }

    /// Renames the file to `path`, on the same file system. An existing file is replaced.
    pub(crate) fn rename(self, path: &Path) -> Result<()> {
        self.0.persist(path).map_err(|e| e.error)?;
        Ok(())
    }

    /// Like [`AtomicFile::rename`], but fails if `path` exists.
    pub(crate) fn rename_to_new(self, path: &Path) -> Result<()> {
        match self.0.persist_noclobber(path) {
            Ok(_) => Ok(()),
            Err(e) if may_have_no_links(&e.error) => Self(e.file).rename_to_reserved(path),
            Err(e) => Err(e.error),
        }
    }

    /// Like [`AtomicFile::rename_to_new`], for file systems that can neither rename without replacing nor make hard links.
    /// An empty file reserves the name; a reader may see it, and a crash may leave it.
    fn rename_to_reserved(self, path: &Path) -> Result<()> {
        File::create_new(path)?;
        self.rename(path).inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
    }
}

/// Whether a hard link may have failed because the file system has none. Linux reports `EPERM` then.
fn may_have_no_links(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported
    )
}

/// Whether a write may replace an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Replace it.
    Replace,
    /// Fail with `AlreadyExists`.
    Keep,
}

/// Writes `bytes` to `path`, flushed to the disk. The temporary name begins with `prefix`.
pub fn write_atomic(path: &Path, prefix: &str, bytes: &[u8], existing: Existing) -> Result<()> {
    let parent = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = AtomicFile::create(parent.unwrap_or(Path::new(".")), prefix)?;
    file.as_file_mut().write_all(bytes)?;
    file.flush_to_disk()?;
    match existing {
        Existing::Replace => file.rename(path),
        Existing::Keep => file.rename_to_new(path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_appears_with_all_bytes_and_the_permissions_of_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        write_atomic(&path, ".part-", b"first", Existing::Keep).unwrap();
        write_atomic(&path, ".part-", b"second", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn an_existing_file_is_kept_on_request_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "mine").unwrap();
        let e = write_atomic(&path, ".part-", b"other", Existing::Keep).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        drop(AtomicFile::create(folder.path(), ".part-").unwrap());
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_reserved_name_is_given_to_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = |text: &str| {
            let mut file = AtomicFile::create(folder.path(), ".part-").unwrap();
            file.as_file_mut().write_all(text.as_bytes()).unwrap();
            file.rename_to_reserved(&path)
        };
        written("first").unwrap();
        assert_eq!(
            written("second").unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_file_in_progress_is_locked_until_its_writer_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::create(folder.path(), ".part-").unwrap();
        let other = File::open(file.path()).unwrap();
        assert!(other.try_lock().is_err());
        drop(file);
        assert!(other.try_lock().is_ok());
    }
}

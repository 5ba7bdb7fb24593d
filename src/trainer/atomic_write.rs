//! Atomic writes: files and folders get their final name when they are complete and flushed. Until then they have a
//! temporary name and are locked by their writer. If a temporary file can be locked, its writer has died.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pointshard::trainer_api::{self, Existing};
use tempfile::TempDir;

use super::error::TrainError;

pub(super) const PREFIX: &str = ".part-";

/// Writes the file `path` atomically.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let written = trainer_api::write_atomic(path, PREFIX, bytes, Existing::Replace);
    written.map_err(TrainError::io("write", path))
}

/// A folder that is being written. It is deleted on drop.
#[derive(Debug)]
pub(super) struct PendingFolder {
    folder: TempDir,
    _lock: Option<File>,
}

impl PendingFolder {
    /// Creates a folder with a temporary name in `parent`, which is created if it doesn't exist.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(PermissionsExt::from_mode(0o777))
            .tempdir_in(parent)?;
        let lock = File::open(folder.path()).ok();
        Ok(Self {
            folder,
            _lock: lock.filter(|f| f.try_lock().is_ok()),
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Flushes the contents and renames the folder to `path`. An existing folder is replaced.
    pub(super) fn rename_to(self, path: &Path) -> io::Result<()> {
        flush(self.path())?;
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::rename(self.folder.keep(), path)
    }
}

/// Flushes everything below `path` to disk.
fn flush(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            flush(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

/// Removes temporary files and folders of dead writers in `folder`. Errors are ignored: another process may remove them
/// at the same time.
pub(super) fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_dead = || File::open(&path).is_ok_and(|f| f.try_lock().is_ok());
        if name.starts_with(PREFIX) && is_dead() {
            let _ = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn files_of_dead_writers_are_removed_and_those_of_running_writers_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join(".part-dead"), "half").unwrap();
        fs::create_dir_all(root.join(".part-folder/c/0")).unwrap();
        fs::write(root.join(".part-folder/c/0/0"), "half").unwrap();
        fs::write(root.join("mine"), "whole").unwrap();
        let part = PendingFolder::create(root).unwrap();
        fs::write(part.path().join("0"), "half").unwrap();
        remove_leftovers(root);
        assert!(part.path().join("0").exists());
        assert_eq!(names(root).len(), 2);
        part.rename_to(&root.join("whole")).unwrap();
        assert_eq!(names(root), ["mine", "whole"]);
        assert_eq!(names(&root.join("whole")), ["0"]);
    }

    #[test]
    fn a_renamed_folder_replaces_the_old_one_and_a_dropped_one_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("not/there/yet");
        drop(PendingFolder::create(&root).unwrap());
        assert!(names(&root).is_empty());
        for name in ["old", "new"] {
            let part = PendingFolder::create(&root).unwrap();
            fs::write(part.path().join(name), name).unwrap();
            part.rename_to(&root.join("whole")).unwrap();
        }
        assert_eq!(names(&root.join("whole")), ["new"]);
    }

    #[test]
    fn a_file_is_written_atomically_and_readable_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomic(&path, b"first").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(names(folder.path()), ["file"]);
        let missing = write_atomic(&folder.path().join("no/file"), b"");
        assert!(missing.unwrap_err().to_string().contains("no/file"));
    }
}

//! Files and folders that get their names when they are whole and flushed. Until then they bear a temporary name, and
//! their writer holds a lock on them: one that can be locked was left by a writer that died.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::error::TrainError;

const PREFIX: &str = ".part-";

/// Writes the file `path` so that it appears whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = || TrainError::io("write", path);
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(PermissionsExt::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed())?;
    // Where the file system has no locks, a dead writer's file stays; it harms nobody.
    let _ = file.as_file().try_lock();
    file.write_all(bytes).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|e| failed()(e.error))?;
    Ok(())
}

/// A folder that is being filled. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct PartFolder {
    folder: TempDir,
    _lock: Option<File>,
}

impl PartFolder {
    /// A new one in `parent`, which is made where it is missing.
    pub(super) fn begin(parent: &Path) -> io::Result<Self> {
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

    /// Flushes all that is in it, and gives it its name; a folder of that name is replaced.
    pub(super) fn finish(self, path: &Path) -> io::Result<()> {
        flush(self.path())?;
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::rename(self.folder.keep(), path)
    }
}

/// Everything below `path`, to the disk.
fn flush(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            flush(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

/// Removes what dead writers left right in `folder`. What another process removes first is no error.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let dead = || File::open(&path).is_ok_and(|f| f.try_lock().is_ok());
        if name.starts_with(PREFIX) && dead() {
            let _ = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
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
    fn what_dead_writers_left_goes_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join(".part-dead"), "half").unwrap();
        fs::create_dir_all(root.join(".part-folder/c/0")).unwrap();
        fs::write(root.join(".part-folder/c/0/0"), "half").unwrap();
        fs::write(root.join("mine"), "whole").unwrap();
        let part = PartFolder::begin(root).unwrap();
        fs::write(part.path().join("0"), "half").unwrap();
        sweep(root);
        assert!(part.path().join("0").exists());
        assert_eq!(names(root).len(), 2);
        part.finish(&root.join("whole")).unwrap();
        assert_eq!(names(root), ["mine", "whole"]);
        assert_eq!(names(&root.join("whole")), ["0"]);
    }

    #[test]
    fn a_folder_replaces_one_of_its_name_and_a_dropped_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("not/there/yet");
        drop(PartFolder::begin(&root).unwrap());
        assert!(names(&root).is_empty());
        for name in ["old", "new"] {
            let part = PartFolder::begin(&root).unwrap();
            fs::write(part.path().join(name), name).unwrap();
            part.finish(&root.join("whole")).unwrap();
        }
        assert_eq!(names(&root.join("whole")), ["new"]);
    }

    #[test]
    fn a_file_appears_whole_and_readable_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_whole(&path, b"first").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(names(folder.path()), ["file"]);
        let missing = write_whole(&folder.path().join("no/file"), b"");
        assert!(missing.unwrap_err().to_string().contains("no/file"));
    }
}

//! Objects as files below a folder of the local file system.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use super::{StorageError, Store};

/// The files below one folder.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// The files below `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        let inside = Path::new(key)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || key.is_empty() {
            return Err(StorageError::KeyLeavesRoot {
                key: key.to_owned(),
                root: self.root.display().to_string(),
            });
        }
        Ok(self.root.join(key))
    }
}

impl Store for LocalStore {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        into.clear();
        let path = self.path(key)?;
        let read_error = |source| StorageError::Read {
            object: path.display().to_string(),
            source,
        };
        let too_large = |found_bytes| StorageError::TooLarge {
            object: path.display().to_string(),
            found_bytes,
            limit_bytes,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(read_error(e)),
        };
        let metadata = file.metadata().map_err(read_error)?;
        if metadata.is_dir() {
            return Err(read_error(ErrorKind::IsADirectory.into()));
        }
        if metadata.len() > limit_bytes {
            return Err(too_large(metadata.len()));
        }
        // The size is the file system's own word, not the file's, and it is within the limit.
        into.reserve(metadata.len() as usize + 1);
        let found = file
            .take(limit_bytes.saturating_add(1))
            .read_to_end(into)
            .map_err(read_error)?;
        match found as u64 > limit_bytes {
            true => Err(too_large(found as u64)),
            false => Ok(true),
        }
    }

    fn describe(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), b"12345").unwrap();
        let store = LocalStore::new(dir.path().to_owned());
        (dir, store)
    }

    #[test]
    fn reads_a_whole_object_or_says_that_there_is_none() {
        let (_dir, store) = store();
        let mut bytes = vec![9; 100];
        assert!(store.read("a/b", 5, &mut bytes).unwrap());
        assert_eq!(bytes, b"12345");
        assert!(!store.read("a/c", 5, &mut bytes).unwrap());
        assert!(bytes.is_empty());
    }

    #[test]
    fn an_object_over_the_limit_is_refused() {
        let (_dir, store) = store();
        let e = store.read("a/b", 4, &mut Vec::new()).unwrap_err();
        assert!(
            matches!(
                e,
                StorageError::TooLarge {
                    found_bytes: 5,
                    limit_bytes: 4,
                    ..
                }
            ),
            "{e}"
        );
    }

    #[test]
    fn a_key_cannot_leave_its_root() {
        let (_dir, store) = store();
        for key in ["../a/b", "a/../../x", "/etc/passwd", ""] {
            let e = store.read(key, 5, &mut Vec::new()).unwrap_err();
            assert!(
                matches!(e, StorageError::KeyLeavesRoot { .. }),
                "{key}: {e}"
            );
        }
    }

    #[test]
    fn a_folder_is_not_an_object() {
        let (_dir, store) = store();
        assert!(store.read("a", 5, &mut Vec::new()).is_err());
    }
}

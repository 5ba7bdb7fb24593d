//! Files that are kept open between reads: a shard file holds thousands of chunks, and on network file systems opening it takes
//! longer than reading a chunk.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::StorageError;

/// Most files that a store keeps open. A system lets a program open about a thousand.
const KEPT_FILES: usize = 32;

/// Files of a store that are kept open, by key.
#[derive(Debug)]
pub(super) struct KeptFiles(Cache<String, Arc<OpenedFile>>);

/// A file that is open for reading.
#[derive(Debug)]
pub(super) struct OpenedFile {
    pub file: File,
    pub path: PathBuf,
    pub size_bytes: u64,
}

impl KeptFiles {
    pub fn new() -> Self {
        Self(Cache::new(KEPT_FILES))
    }

    /// The file at `key`, opened by `open` unless it is kept. `None` if it is missing.
    pub fn get(
        &self,
        key: &str,
        open: impl FnOnce() -> Result<Option<OpenedFile>, StorageError>,
    ) -> Result<Option<Arc<OpenedFile>>, StorageError> {
        if let Some(kept) = self.0.get(key) {
            return Ok(Some(kept));
        }
        let opened = open()?.map(Arc::new);
        if let Some(opened) = &opened {
            self.0.insert(key.to_owned(), Arc::clone(opened));
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_once_and_few_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptFiles::new();
        let mut opened = 0;
        let mut get = |key: &str| {
            let open = || {
                opened += 1;
                let path = folder.path().join(key);
                std::fs::write(&path, "1234").unwrap();
                let file = File::open(&path).unwrap();
                let size_bytes = 4;
                Ok(Some(OpenedFile {
                    file,
                    path,
                    size_bytes,
                }))
            };
            kept.get(key, open).unwrap().unwrap();
        };
        get("a");
        get("a");
        (0..1000).for_each(|n| get(&n.to_string()));
        assert_eq!(opened, 1001);
        assert!(kept.0.len() <= KEPT_FILES);
        assert!(kept.get("missing", || Ok(None)).unwrap().is_none());
    }
}

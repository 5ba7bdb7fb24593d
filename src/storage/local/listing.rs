//! Listing the files below a local folder.

use std::fs::{DirEntry, Metadata};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::LocalStore;
use crate::storage::{ListedObject, StorageError, Store, wait_in_parallel};

/// Entries of a folder that are looked up before the first of them is used.
const LISTED_AT_ONCE: usize = 1024;

impl LocalStore {
    /// Lists one folder. The folders in it are added to `folders`.
    pub(super) fn list_folder(
        &self,
        folder: &str,
        folders: &mut Vec<String>,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let path = if folder.is_empty() {
            self.root.clone()
        } else {
            self.path(folder)?
        };
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
            Err(e) => return Err(list_error(&path)(e)),
        };
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let batch = entries.by_ref().take(LISTED_AT_ONCE);
            let batch: Vec<_> = batch.collect::<Result<_, _>>().map_err(list_error(&path))?;
            for (entry, found) in batch.iter().zip(self.look_up(&batch)?) {
                let Some(found) = found else { continue };
                let name = entry.file_name().to_string_lossy().into_owned();
                let key = match folder {
                    "" => name,
                    folder => format!("{folder}/{name}"),
                };
                if found.is_dir() {
                    folders.push(key);
                    continue;
                }
                let size_bytes = found.is_file().then_some(found.len());
                let object = ListedObject {
                    key,
                    size_bytes,
                    modified_ms: modified_ms(&found),
                };
                if each(object).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What each entry is; `None` if another process removed it. Links are not followed: they may lead out of the root. On a network
    /// file system, many look-ups wait at the same time.
    fn look_up(&self, entries: &[DirEntry]) -> Result<Vec<Option<Metadata>>, StorageError> {
        let look_up = |entry: &DirEntry| match entry.metadata() {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(list_error(&entry.path())(e)),
        };
        if self.has_latency() {
            wait_in_parallel(entries, look_up)
        } else {
            entries.iter().map(look_up).collect()
        }
    }
}

pub(super) fn list_error(path: &Path) -> impl Fn(std::io::Error) -> StorageError {
    move |source| StorageError::List {
        folder: path.display().to_string(),
        source,
    }
}

/// When the file was written, in milliseconds since 1970.
fn modified_ms(found: &Metadata) -> Option<i64> {
    let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

//! Buckets that do not allow listing respond with 403 to requests for missing objects. If the config sets `forbidden` to `missing` for a
//! layer, the layer's chunks are read through this store.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::{ListedObject, OpenObject, StorageError, Store};

/// A store that treats 403 as a missing object.
#[derive(Debug)]
struct AccessDeniedIsMissing(Arc<dyn Store>);

/// Wraps `store` so that a response with status 403 means that the object is missing.
pub(crate) fn access_denied_is_missing(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(AccessDeniedIsMissing(store))
}

/// The result of a read; `missing` if it failed with status 403.
fn missing_if_denied<T>(result: Result<T, StorageError>, missing: T) -> Result<T, StorageError> {
    match result {
        Err(e) if e.status() == Some(403) => Ok(missing),
        result => result,
    }
}

impl Store for AccessDeniedIsMissing {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        missing_if_denied(self.0.read(key, limit_bytes, into), false)
    }

    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        missing_if_denied(self.0.read_range(key, range, into), false)
    }

    fn prefetch(&self, key: &str, range: Option<Range<u64>>) -> bool {
        self.0.prefetch(key, range)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        missing_if_denied(self.0.size(key), None)
    }

    fn open_object(&self, key: &str) -> Result<Option<Box<dyn OpenObject>>, StorageError> {
        missing_if_denied(self.0.open_object(key), None)
    }

    fn list(
        &self,
        folder: &str,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.0.list(folder, each)
    }

    fn is_remote(&self) -> bool {
        self.0.is_remote()
    }

    fn round_trips(&self) -> usize {
        self.0.round_trips()
    }

    fn has_files(&self) -> bool {
        self.0.has_files()
    }

    fn describe(&self, key: &str) -> String {
        self.0.describe(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::LocalStore;

    #[test]
    #[cfg(target_os = "linux")]
    fn prefetch_is_passed_on_to_the_store() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let store = access_denied_is_missing(Arc::new(LocalStore::new(dir.path().to_owned())));
        assert!(store.prefetch("a", None) && !store.prefetch("b", None));
    }
}

//! Buckets that do not let their objects be listed answer 403 for what is not stored. Where the config says so of
//! a layer, its chunks are read through this.

use std::ops::Range;
use std::sync::Arc;

use super::{StorageError, Store};

/// A store of which 403 means "not stored".
#[derive(Debug)]
struct ForbiddenIsMissing(Arc<dyn Store>);

/// `store`, of which an answer of 403 means that there is no such object.
pub(crate) fn forbidden_is_missing(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(ForbiddenIsMissing(store))
}

/// What was found; `missing` where the server forbids to look.
fn unless_forbidden<T>(found: Result<T, StorageError>, missing: T) -> Result<T, StorageError> {
    match found {
        Err(e) if e.status() == Some(403) => Ok(missing),
        found => found,
    }
}

impl Store for ForbiddenIsMissing {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        unless_forbidden(self.0.read(key, limit_bytes, into), false)
    }

    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        unless_forbidden(self.0.read_range(key, range, into), false)
    }

    fn will_read(&self, key: &str, range: Option<Range<u64>>) -> bool {
        self.0.will_read(key, range)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        unless_forbidden(self.0.size(key), None)
    }

    fn is_remote(&self) -> bool {
        self.0.is_remote()
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
    fn what_will_be_read_is_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let store = forbidden_is_missing(Arc::new(LocalStore::new(dir.path().to_owned())));
        assert!(store.will_read("a", None) && !store.will_read("b", None));
    }
}

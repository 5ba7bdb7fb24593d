//! A store that keeps the first failure of a server. A dataset is not wrong because its server fails: then the check ends.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fault::{Fault, FaultKind};
use crate::storage::{
    Compression, ListedObject, Location, OpenObject, StoppableWork, Storage, StorageError, Store,
};

/// The objects of a dataset. The first failure of a server stops all other reads.
#[derive(Debug)]
pub(super) struct WatchedStore {
    inner: Arc<dyn Store>,
    work: StoppableWork,
    failure: Mutex<Option<StorageError>>,
}

impl WatchedStore {
    /// The objects at `location`. A symbolic link that leads out of a local folder is not followed.
    pub(super) fn open(location: &Location, storage: &Storage) -> Self {
        Self {
            inner: storage.open_confined(location),
            work: storage.begin_work(),
            failure: Mutex::default(),
        }
    }

    /// The first failure, if there was one.
    pub(super) fn take_failure(&self) -> Option<StorageError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    /// Keeps the error if the server failed, and stops the other reads.
    fn watch<T>(&self, key: &str, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.map_err(|e| {
            let is_failure = self.inner.is_remote() && e.kind() == FaultKind::Environment;
            if !is_failure {
                return e;
            }
            let stopped = StorageError::Stopped {
                object: self.inner.describe(key),
            };
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if failure.is_none() {
                *failure = Some(e);
                self.work.stop();
            }
            stopped
        })
    }
}

impl Store for WatchedStore {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        self.watch(key, self.inner.read(key, limit_bytes, into))
    }

    fn read_encoded(
        &self,
        key: &str,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        self.watch(key, self.inner.read_encoded(key, limit_bytes, into))
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }

    fn round_trips(&self) -> usize {
        self.inner.round_trips()
    }

    fn has_files(&self) -> bool {
        self.inner.has_files()
    }

    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        self.watch(key, self.inner.read_range(key, range, into))
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        self.watch(key, self.inner.size(key))
    }

    fn open_object(&self, key: &str) -> Result<Option<Box<dyn OpenObject>>, StorageError> {
        self.watch(key, self.inner.open_object(key))
    }

    fn list(
        &self,
        folder: &str,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.watch(folder, self.inner.list(folder, each))
    }

    fn describe(&self, key: &str) -> String {
        self.inner.describe(key)
    }
}

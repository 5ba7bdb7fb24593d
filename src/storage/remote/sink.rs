//! Write access to the objects below a location in a bucket.
//!
//! A bucket has no temporary names, locks or folders. What this sink needs instead are objects: one for each registered
//! writer ([`writers`]) and one for each unfinished upload ([`uploads`]). Such an object is written again every minute
//! ([`kept`]), so that other processes see that its writer lives.

mod kept;
mod part_size;
mod process;
mod upload;
mod uploads;
mod writers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::PutPayload;

use super::RemoteStore;
use crate::fault::FaultKind;
use crate::storage::sink::{Depth, PendingObject, Sink, WriterAccess, WriterGuard};
use crate::storage::stop_group::StopGroup;
use crate::storage::{Location, RetryPolicy, StorageError};
use kept::{KeptObjects, Liveness};
use part_size::PartSize;
use upload::PendingUpload;

/// How long cleaning up is retried. What remains is removed later by [`Sink::remove_abandoned`].
const CLEAN_UP_FOR: Duration = Duration::from_secs(5);

/// The objects below a location in a bucket.
#[derive(Clone)]
pub(super) struct RemoteSink {
    store: RemoteStore,
    /// The same objects, for cleaning up: it also works after the job was stopped, and gives up early.
    cleaner: RemoteStore,
    kept: Arc<KeptObjects>,
    liveness: Liveness,
    part_size: PartSize,
}

impl RemoteStore {
    /// Write access to the objects below the location.
    pub(in crate::storage) fn into_sink(self) -> Result<Arc<dyn Sink>, StorageError> {
        if self.location.is_http() {
            return Err(StorageError::Remote {
                action: "write",
                url: self.location.to_string(),
                status: None,
                problem: "http(s) servers cannot be written to".to_owned(),
                advice: "write to a local folder, or to a bucket (s3://, gs://)".to_owned(),
                kind: FaultKind::Usage,
            });
        }
        let sink = RemoteSink::new(self, Liveness::default(), PartSize::default());
        Ok(Arc::new(sink))
    }
}

impl RemoteSink {
    fn new(store: RemoteStore, liveness: Liveness, part_size: PartSize) -> Self {
        let policy = store.connections.network().retry;
        let cleaner = RemoteStore {
            stop_group: StopGroup::default(),
            retry_policy: Some(RetryPolicy {
                retry_for: policy.retry_for.min(CLEAN_UP_FOR),
                ..policy
            }),
            ..store.clone()
        };
        Self {
            kept: Arc::new(KeptObjects::new(cleaner.clone(), liveness.rewrite_every)),
            store,
            cleaner,
            liveness,
            part_size,
        }
    }
}

impl Sink for RemoteSink {
    /// Does nothing: a bucket has no folders. The first write shows whether the bucket exists.
    fn create_root(&self) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.store
            .put_object(key, &PutPayload::from(bytes.to_vec()))
    }

    fn create_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        self.store.put_new_object(key, bytes)
    }

    fn begin(&self, key: &str) -> Result<Box<dyn PendingObject>, StorageError> {
        // Fails now if the key is invalid.
        self.store.check_key(key)?;
        Ok(Box::new(PendingUpload::new(self.clone(), key)))
    }

    fn copy_unread(&self, from: &Location, key: &str) -> Result<bool, StorageError> {
        match from {
            Location::Remote(from) => self.store.copy_object(from, key),
            Location::Local(_) => Ok(false),
        }
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.store.delete_object(key)
    }

    /// Does nothing: objects are durable when they are written.
    fn flush_folders(&self, _folders: &mut dyn Iterator<Item = &str>) -> Result<(), StorageError> {
        Ok(())
    }

    fn remove_abandoned(&self, folder: &str, depth: Depth) -> Result<(), StorageError> {
        self.remove_abandoned_uploads(folder, depth)
    }

    fn register_writer(
        &self,
        key: &str,
        access: WriterAccess,
    ) -> Result<Option<WriterGuard>, StorageError> {
        let registered = self.register(key, access)?;
        Ok(registered.map(WriterGuard::new))
    }
}

impl fmt::Debug for RemoteSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteSink({})", self.store.location)
    }
}

#[cfg(test)]
mod tests;

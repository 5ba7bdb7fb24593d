//! Registered writers: an object for each, below a key.

use std::ops::ControlFlow;

use super::super::list::BucketObject;
use super::RemoteSink;
use super::kept::{KeptObject, unique_name};
use super::process::ProcessIdentity;
use crate::fault::FaultKind;
use crate::storage::sink::WriterAccess;
use crate::storage::{StorageError, Store};

/// Most bytes of an object that this sink keeps.
pub(super) const MAX_KEPT_BYTES: u64 = 64 << 10;

/// Most shared writers of which a shared writer reads whether they live, to remove their objects. Others are removed when
/// they are too old.
const MAX_READ: usize = 8;

/// Begins the names of exclusive and of shared writers.
const EXCLUSIVE: &str = "exclusive-";
const SHARED: &str = "shared-";

impl RemoteSink {
    /// Registers a writer at `key`, unless another one that excludes it lives.
    ///
    /// Each writer first writes its own object and then looks for others, so of two that start at the same time at least one
    /// sees the other.
    pub(super) fn register(
        &self,
        key: &str,
        access: WriterAccess,
    ) -> Result<Option<KeptObject>, StorageError> {
        let kind = match access {
            WriterAccess::Exclusive => EXCLUSIVE,
            WriterAccess::Shared => SHARED,
        };
        let (own, now_ms, others) = self.keep_and_list(key, kind, &ProcessIdentity::current())?;
        for (index, other) in others.into_iter().enumerate() {
            let name = other.key.rsplit('/').next().unwrap_or_default();
            let excludes = access == WriterAccess::Exclusive || name.starts_with(EXCLUSIVE);
            let is_read = excludes || index < MAX_READ;
            let lives = self.liveness.may_live(&other, now_ms)
                && (!is_read || self.process_lives(&other.key)?);
            if !lives {
                let _ = self.cleaner.delete_object(&other.key);
            } else if excludes {
                drop(own);
                return Ok(None);
            }
        }
        Ok(Some(own))
    }

    /// Writes and keeps an object below `folder`, whose name begins with `kind`. Returns it, the time by the server's clock,
    /// and the other objects there.
    pub(super) fn keep_and_list(
        &self,
        folder: &str,
        kind: &str,
        contents: &impl serde::Serialize,
    ) -> Result<(KeptObject, i64, Vec<BucketObject>), StorageError> {
        let key = format!("{folder}/{kind}{}", unique_name());
        let contents = serde_json::to_vec(contents).unwrap_or_default();
        let own = self.kept.keep(&self.store, key, contents)?;
        let (mut now_ms, mut others) = (None, Vec::new());
        self.store.list_objects(folder, &mut |object| {
            if object.key == own.key {
                now_ms = Some(object.modified_ms);
            } else {
                others.push(object);
            }
            ControlFlow::Continue(())
        })?;
        let now_ms = now_ms.ok_or_else(|| StorageError::Remote {
            action: "list",
            url: self.store.describe(folder),
            status: None,
            problem: "an object that was written is not listed".to_owned(),
            advice: "use a server whose listings show all objects at once".to_owned(),
            kind: FaultKind::Environment,
        })?;
        Ok((own, now_ms, others))
    }

    /// Whether the process that wrote the object `key` may live.
    fn process_lives(&self, key: &str) -> Result<bool, StorageError> {
        let mut contents = Vec::new();
        let exists = self.store.read(key, MAX_KEPT_BYTES, &mut contents)?;
        let writer = serde_json::from_slice::<ProcessIdentity>(&contents).unwrap_or_default();
        Ok(exists && !writer.has_ended())
    }
}

//! The output's protocol: which job an output belongs to, and in which order its files are written.
//!
//! 1. A writer registers at `.pointshard/writers`. `--force` registers alone: it fails while another writer works.
//! 2. `.pointshard/claim.json` is written by create-new. It holds the digest of the config, so it is known before anything is
//!    read. Of two different jobs that start at the same moment, one fails. A claim without a plan ends with its writers.
//! 3. The columns of the plan are written, then `.pointshard/plan.json` by create-new: from here on the output belongs to this
//!    plan. Whoever comes second continues with the plan that is there, or fails because its own differs.
//! 4. Shards are written, each followed by its receipt. Before a shard is published, its writer reads the claim again.
//! 5. When every shard has a receipt and the size in it, metadata and columns are written, then the manifest. The manifest is
//!    deleted before anything that it lists is written again.
//! 6. `--force` first writes a claim that lists what is to be deleted, then deletes: the manifest first, the plan next. A run
//!    after a crash continues to delete.
//!
//! All files are written atomically. Claim, plan and receipts carry a digest of their contents.

mod claim;
mod clearing;
mod earlier;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::layout::group_path;
use super::{DatasetError, Layout, MANIFEST};
use crate::config::DROPPED_ANNOTATIONS;
use crate::storage::{
    Depth, ListedObject, Location, MAX_DOCUMENT_BYTES, PendingObject, Sink, Storage, Store,
    WriterGuard,
};
pub use claim::{Claim, ClaimState};
pub(crate) use plan::{is_plan_copy, plan_copy_key, plan_folder};

/// The folder of everything that is not part of the dataset.
pub(super) const PRIVATE: &str = ".pointshard";
/// The job that the output belongs to.
pub(crate) const CLAIM: &str = ".pointshard/claim.json";
/// The plan, except its columns.
pub(crate) const PLAN: &str = ".pointshard/plan.json";
/// The copy of the plan, in the folder of its columns.
const PLAN_COPY: &str = "plan.json";
/// Folder of the plan's columns.
pub(crate) const PLAN_COLUMNS: &str = ".pointshard/plan";
const RECEIPTS: &str = ".pointshard/receipts";
const WRITERS: &str = ".pointshard/writers";

/// In a bucket, the claim is read again if the last time is longer ago.
const CLAIM_INTERVAL: Duration = Duration::from_secs(10);

/// The location of an output. It may be claimed by a job.
#[derive(Clone, Debug)]
pub struct Output {
    location: Location,
    store: Arc<dyn Store>,
    /// `None` if it is only read.
    sink: Option<Arc<dyn Sink>>,
    writer: Option<Arc<Writer>>,
    /// Whether this process created the root folder.
    created_root: bool,
}

/// The claim that this process works under.
#[derive(Debug)]
struct Writer {
    claim: Vec<u8>,
    checked: Mutex<Instant>,
    guard: WriterGuard,
}

/// The groups of the splits, and that of dropped annotations.
fn all_groups(layout: &Layout) -> impl Iterator<Item = String> + '_ {
    layout.groups().chain([group_path(DROPPED_ANNOTATIONS)])
}

impl Output {
    /// The output at `location`, which may not exist yet. Nothing is read or written.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn at(location: &Location, storage: &Storage) -> Result<Self, DatasetError> {
        Ok(Self::with(
            location,
            storage.open(location),
            storage.open_sink(location)?,
        ))
    }

    /// The output at `location`, which is only read. It may be on an http(s) server.
    pub fn to_read(location: &Location, storage: &Storage) -> Self {
        Self {
            location: location.clone(),
            store: storage.open(location),
            sink: None,
            writer: None,
            created_root: false,
        }
    }

    /// The output at `location`, read through `store` and written through `sink`.
    pub(crate) fn with(location: &Location, store: Arc<dyn Store>, sink: Arc<dyn Sink>) -> Self {
        Self {
            location: location.clone(),
            store,
            sink: Some(sink),
            writer: None,
            created_root: false,
        }
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Its path or URL, for messages.
    pub(super) fn name(&self) -> String {
        self.location.to_string()
    }

    /// Read access.
    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Write access.
    fn sink(&self) -> Result<&dyn Sink, DatasetError> {
        self.sink.as_deref().ok_or_else(|| DatasetError::ReadOnly {
            output: self.name(),
        })
    }

    /// Size of the object at `key`; `None` if it is missing.
    pub fn size_bytes(&self, key: &str) -> Result<Option<u64>, DatasetError> {
        Ok(self.store.size(key)?)
    }

    /// The object at `key`, which may have at most `limit_bytes`; `None` if it is missing.
    pub(super) fn read(
        &self,
        key: &str,
        limit_bytes: u64,
    ) -> Result<Option<Vec<u8>>, DatasetError> {
        let mut bytes = Vec::new();
        let found = self.store.read(key, limit_bytes, &mut bytes)?;
        Ok(found.then_some(bytes))
    }

    /// The sizes of all objects below these folders, by key. Links and other special files are not listed.
    pub(super) fn sizes<'f>(
        &self,
        folders: impl Iterator<Item = &'f str>,
    ) -> Result<HashMap<String, u64>, DatasetError> {
        let mut sizes = HashMap::new();
        for folder in folders {
            self.store.list(folder, &mut |object: ListedObject| {
                if let Some(size_bytes) = object.size_bytes {
                    sizes.insert(object.key, size_bytes);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(sizes)
    }

    /// The sizes of the files in the groups of the layout, and of the receipts.
    pub(super) fn shard_sizes(
        &self,
        layout: &Layout,
    ) -> Result<HashMap<String, u64>, DatasetError> {
        let groups: Vec<String> = all_groups(layout).collect();
        self.sizes(groups.iter().map(String::as_str).chain([RECEIPTS]))
    }

    /// When each receipt was written, in milliseconds since 1970, by key.
    pub(super) fn receipt_times(&self) -> Result<HashMap<String, i64>, DatasetError> {
        let mut times = HashMap::new();
        self.store.list(RECEIPTS, &mut |object: ListedObject| {
            if let Some(modified_ms) = object.modified_ms {
                times.insert(object.key, modified_ms);
            }
            ControlFlow::Continue(())
        })?;
        Ok(times)
    }

    /// The error for an object with wrong contents.
    pub(super) fn damaged(&self, key: &str, problem: String) -> DatasetError {
        DatasetError::Damaged {
            path: self.store.describe(key),
            problem,
        }
    }

    /// Writes `bytes` to `key`.
    pub(super) fn write(&self, key: &str, bytes: &[u8]) -> Result<(), DatasetError> {
        Ok(self.sink()?.put(key, bytes)?)
    }

    /// Writes `bytes` to `key`. After a crash of the machine, the object may be damaged or missing.
    pub(super) fn write_unflushed(&self, key: &str, bytes: &[u8]) -> Result<(), DatasetError> {
        Ok(self.sink()?.put_unflushed(key, bytes)?)
    }

    /// Begins an object that is written piece by piece.
    pub(super) fn begin(&self, key: &str) -> Result<Box<dyn PendingObject>, DatasetError> {
        Ok(self.sink()?.begin(key)?)
    }

    /// Copies the object at the same key of the output at `from`, without reading it here. Returns whether that was possible.
    pub(super) fn copy_unread(&self, from: &Location, key: &str) -> Result<bool, DatasetError> {
        Ok(self.sink()?.copy_unread(from, key)?)
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), DatasetError> {
        Ok(self.sink()?.delete(key)?)
    }

    /// The bytes of the manifest; `None` if there is none.
    pub(crate) fn read_manifest(&self) -> Result<Option<Vec<u8>>, DatasetError> {
        self.read(MANIFEST, MAX_DOCUMENT_BYTES)
    }

    /// Deletes the manifest: the dataset is not complete any more.
    pub fn unseal(&self) -> Result<(), DatasetError> {
        self.delete(MANIFEST)
    }

    /// Makes the names of these objects durable, with the folders that they are in.
    pub(super) fn flush_folders_of<'k>(
        &self,
        keys: impl Iterator<Item = &'k str>,
    ) -> Result<(), DatasetError> {
        let above = |key: &'k str| key.match_indices('/').map(move |(end, _)| &key[..end]);
        let mut folders: Vec<&str> = keys.flat_map(above).chain([""]).collect();
        folders.sort_unstable();
        folders.dedup();
        Ok(self.sink()?.flush_folders(&mut folders.into_iter())?)
    }

    /// Removes what dead writers left. Other folders in the output are not searched: they are the user's.
    pub(super) fn remove_abandoned(&self, layout: &Layout) -> Result<(), DatasetError> {
        for group in all_groups(layout) {
            self.sink()?.remove_abandoned(&group, Depth::All)?;
        }
        self.sink()?.remove_abandoned(PRIVATE, Depth::All)?;
        Ok(self.sink()?.remove_abandoned("", Depth::Folder)?)
    }

    /// Fails if the output does not belong to this process's job any more: it was deleted, or overwritten by another job.
    pub(super) fn require_own(&self) -> Result<(), DatasetError> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let mut checked = writer
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.store.is_remote() && checked.elapsed() < CLAIM_INTERVAL {
            return Ok(());
        }
        *checked = Instant::now();
        drop(checked);
        self.require_claim(writer)
    }

    /// As [`Output::require_own`], however short ago that was checked.
    pub(crate) fn require_own_now(&self) -> Result<(), DatasetError> {
        let writer = self.writer.as_ref();
        writer.map_or(Ok(()), |writer| self.require_claim(writer))
    }

    fn require_claim(&self, writer: &Writer) -> Result<(), DatasetError> {
        match self.read(CLAIM, claim::MAX_BYTES)? {
            Some(found) if found == writer.claim => Ok(()),
            Some(_) => Err(DatasetError::Overwritten {
                output: self.name(),
            }),
            None => Err(DatasetError::OutputRemoved {
                output: self.name(),
            }),
        }
    }
}

//! Stored entries with 64-bit ids: each in its own file, or many in a shard. The lists of a relationship are such entries, by
//! the id of an object, and so is the index of annotations by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cells::{
    ListError, memory_of_chunk_byte, memory_of_file_byte, read_from_shard, undo_encoding,
};
use crate::neuroglancer::{ShardingSpec, Shards};
use crate::points::error::PointsError;
use crate::storage::{Lease, MemoryBudget, Store};

/// Entries by their ids.
#[derive(Debug)]
pub(super) struct EntryStore {
    stored: StoredEntries,
    /// What an entry is, for messages; its id follows.
    what: &'static str,
    /// Whether a read waits much longer than it computes.
    has_latency: bool,
}

#[derive(Debug)]
enum StoredEntries {
    /// A file per entry, named by its id.
    Files(Arc<dyn Store>),
    Sharded(Shards),
}

/// Largest request for several entries of a shard, as [`crate::storage::runs`] makes them.
const RUN_BYTES: u64 = 4 << 20;

/// Takes the position of an id, and the bytes of its entry; `None` if it is not stored.
pub(super) type EntryVisitor<'v> = dyn FnMut(usize, Option<&[u8]>) -> Result<(), PointsError> + 'v;

impl EntryStore {
    /// The entries in `store`.
    pub(super) fn new(
        store: Arc<dyn Store>,
        sharding: Option<ShardingSpec>,
        what: &'static str,
    ) -> Self {
        let has_latency = store.has_latency();
        let stored = match sharding {
            None => StoredEntries::Files(store),
            Some(spec) => StoredEntries::Sharded(Shards::new(store, spec)),
        };
        Self {
            stored,
            what,
            has_latency,
        }
    }

    /// Whether a read waits much longer than it computes, so that it pays to read many entries at a time.
    pub(super) fn has_latency(&self) -> bool {
        self.has_latency
    }

    /// Reads the entry `id`, of at most `limit_bytes`, into `into`, replacing its contents. Returns whether it is stored.
    pub(super) fn read(
        &self,
        id: u64,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool, ListError> {
        match &self.stored {
            StoredEntries::Files(store) => Ok(store.read(&id.to_string(), limit_bytes, into)?),
            StoredEntries::Sharded(shards) => {
                read_from_shard(shards, id, limit_bytes, &|| self.describe(id), into)
            }
        }
    }

    /// Divides ids into groups that threads should read one each: ids whose entries may be near each other are in one group.
    /// Groups have positions in `ids`.
    pub(super) fn groups(&self, ids: &[u64]) -> Vec<Vec<usize>> {
        match &self.stored {
            StoredEntries::Files(_) => (0..ids.len()).map(|i| vec![i]).collect(),
            StoredEntries::Sharded(shards) => {
                let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
                for (i, id) in ids.iter().enumerate() {
                    groups.entry(shards.group_key(*id)).or_default().push(i);
                }
                groups.into_values().collect()
            }
        }
    }

    /// Reads the entries of a group, each of at most `limit_bytes`, and calls `visit` with the position of each and its bytes;
    /// `None` if it is not stored. Entries near each other are read with one request.
    pub(super) fn read_group(
        &self,
        ids: &[u64],
        group: &[usize],
        limit_bytes: u64,
        budget: &MemoryBudget,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<(), ListError> {
        match &self.stored {
            StoredEntries::Files(_) => {
                let mut entry = Vec::new();
                for i in group {
                    let _lease = self.lease(limit_bytes, budget)?;
                    let is_stored = self.read(ids[*i], limit_bytes, &mut entry)?;
                    visit(*i, is_stored.then_some(&entry[..])).map_err(ListError::Other)?;
                }
            }
            StoredEntries::Sharded(shards) => {
                for run in shards.runs(group.iter().map(|i| (*i, ids[*i]))) {
                    // The bytes of the run, and each of its entries.
                    let _lease = self.lease(2 * RUN_BYTES.max(limit_bytes), budget)?;
                    let wanted: Vec<_> = run.iter().map(|i| (ids[*i], limit_bytes)).collect();
                    let mut entries = vec![Vec::new(); run.len()];
                    let mut into: Vec<_> = entries.iter_mut().collect();
                    let is_stored = shards.read_run(&wanted, &mut into)?;
                    for (i, mut entry) in run.into_iter().zip(entries) {
                        if !is_stored {
                            visit(i, None).map_err(ListError::Other)?;
                            continue;
                        }
                        let describe = || self.describe(ids[i]);
                        undo_encoding(shards, limit_bytes, &describe, &mut entry)?;
                        visit(i, Some(&entry)).map_err(ListError::Other)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn lease(&self, bytes: u64, budget: &MemoryBudget) -> Result<Lease, ListError> {
        let lease = budget.lease(bytes.saturating_mul(self.memory_of_byte()));
        lease.map_err(|_| ListError::TooLarge(bytes))
    }

    /// Bytes of memory per byte of an entry that is read.
    pub(super) fn memory_of_byte(&self) -> u64 {
        match &self.stored {
            StoredEntries::Files(store) => memory_of_file_byte(store.as_ref()),
            StoredEntries::Sharded(shards) => memory_of_chunk_byte(shards),
        }
    }

    /// The location of an entry, for messages.
    pub(super) fn describe(&self, id: u64) -> String {
        match &self.stored {
            StoredEntries::Files(store) => store.describe(&id.to_string()),
            StoredEntries::Sharded(shards) => {
                format!("{} {id} in {}", self.what, shards.describe(id))
            }
        }
    }

    /// A possible cause of a damaged entry, for messages; often empty.
    pub(super) fn hint(&self) -> &'static str {
        match &self.stored {
            StoredEntries::Files(_) => "",
            StoredEntries::Sharded(shards) => shards.hint(),
        }
    }
}

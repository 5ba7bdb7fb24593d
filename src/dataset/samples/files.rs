//! Open shard files and their indices: a bounded number of files, a bounded size of indices.
//!
//! Samples are read in any order from any number of shards. A system lets a program open about a thousand files, so the least
//! used files are closed. An index stays when its file is closed, because it is small and takes longer to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::dataset::DatasetError;
use crate::dataset::object::open_object;
use crate::dataset::shard::ShardIndex;
use crate::storage::{OpenObject, Store};

/// Local files kept open by default.
const OPEN_FILES: usize = 128;

/// Objects on servers for which one local file is kept open less: they take some memory, and no open file of the system.
const OBJECTS_PER_FILE: u64 = 256;

/// Memory for indices: of 8 million inner chunks.
const INDEX_BYTES: u64 = 128 << 20;

/// An array, as [`ShardFiles::register`] numbered it, and a shard of it.
type Key = (u32, u64);

/// The open shards of any number of arrays. Threads share it.
#[derive(Debug)]
pub struct ShardFiles {
    files: Cache<Key, OpenShard, OpenFiles>,
    indices: Cache<Key, Arc<ShardIndex>, IndexBytes>,
    arrays: AtomicU32,
}

/// A shard that is open.
#[derive(Clone, Debug)]
struct OpenShard {
    object: Arc<dyn OpenObject>,
    is_remote: bool,
}

#[derive(Clone, Debug)]
struct OpenFiles;

impl Weighter<Key, OpenShard> for OpenFiles {
    fn weight(&self, _: &Key, shard: &OpenShard) -> u64 {
        if shard.is_remote { 1 } else { OBJECTS_PER_FILE }
    }
}

#[derive(Clone, Debug)]
struct IndexBytes;

impl Weighter<Key, Arc<ShardIndex>> for IndexBytes {
    fn weight(&self, _: &Key, index: &Arc<ShardIndex>) -> u64 {
        index.memory_bytes() + 128
    }
}

impl Default for ShardFiles {
    fn default() -> Self {
        Self::new(OPEN_FILES)
    }
}

impl ShardFiles {
    /// No files yet; about `open` local files are kept open.
    pub fn new(open: usize) -> Self {
        let weight = OBJECTS_PER_FILE.saturating_mul(open as u64);
        Self {
            files: Cache::with_weighter(open, weight, OpenFiles),
            indices: Cache::with_weighter(1024, INDEX_BYTES, IndexBytes),
            arrays: AtomicU32::new(0),
        }
    }

    /// A number that no other array has.
    pub(super) fn register(&self) -> u32 {
        self.arrays.fetch_add(1, Ordering::Relaxed)
    }

    /// The shard `key` of an array in `store`, which has places for `capacity` samples, and its index. `path` returns its key
    /// in the store.
    pub(super) fn open(
        &self,
        key: Key,
        capacity: usize,
        store: &dyn Store,
        path: impl Fn() -> String,
    ) -> Result<(Arc<dyn OpenObject>, Arc<ShardIndex>), DatasetError> {
        let open = || {
            Ok::<_, DatasetError>(OpenShard {
                object: open_object(store, &path())?,
                is_remote: store.is_remote(),
            })
        };
        let OpenShard { object, .. } = self.files.get_or_insert_with(&key, open)?;
        let index = self.indices.get_or_insert_with(&key, || {
            let describe = || store.describe(&path());
            ShardIndex::read(&*object, describe, capacity).map(Arc::new)
        })?;
        Ok((object, index))
    }

    /// Number of files that are open now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

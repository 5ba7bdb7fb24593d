//! Open shard files and their indices: a bounded number of files, a bounded size of indices.
//!
//! Samples are read in any order from any number of shards. A system lets a program open about a thousand files, so the least
//! used files are closed. An index stays when its file is closed, because it is small and takes longer to read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::dataset::DatasetError;
use crate::dataset::shard::ShardIndex;
use crate::storage::open_regular;

/// Files kept open by default.
const OPEN_FILES: usize = 128;

/// Memory for indices: of 8 million inner chunks.
const INDEX_BYTES: u64 = 128 << 20;

/// An array, as [`ShardFiles::register`] numbered it, and a shard of it.
type Key = (u32, u64);

/// The open shards of any number of arrays. Threads share it.
#[derive(Debug)]
pub struct ShardFiles {
    files: Cache<Key, Arc<File>>,
    indices: Cache<Key, Arc<ShardIndex>, IndexBytes>,
    arrays: AtomicU32,
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
    /// No files yet; about `open` files are kept open.
    pub fn new(open: usize) -> Self {
        Self {
            files: Cache::new(open),
            indices: Cache::with_weighter(1024, INDEX_BYTES, IndexBytes),
            arrays: AtomicU32::new(0),
        }
    }

    /// A number that no other array has.
    pub(super) fn register(&self) -> u32 {
        self.arrays.fetch_add(1, Ordering::Relaxed)
    }

    /// The file of the shard `key`, which has places for `capacity` samples, and its index. `path` returns its path.
    pub(super) fn open(
        &self,
        key: Key,
        capacity: usize,
        path: impl Fn() -> PathBuf,
    ) -> Result<(Arc<File>, Arc<ShardIndex>), DatasetError> {
        let file = self
            .files
            .get_or_insert_with(&key, || open(&path()).map(Arc::new))?;
        let index = self.indices.get_or_insert_with(&key, || {
            ShardIndex::read(&file, &path(), capacity).map(Arc::new)
        })?;
        Ok((file, index))
    }

    /// Number of files that are open now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

fn open(path: &Path) -> Result<File, DatasetError> {
    let (file, _) = open_regular(path).map_err(DatasetError::io("read", path))?;
    Ok(file)
}

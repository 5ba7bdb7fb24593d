//! A part of the block cache, with a lock of its own: many threads look blocks up at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use foldhash::fast::RandomState;

use super::stats::CacheStats;
use crate::blocks::block::Block;
use crate::blocks::uses::BlockKey;
use crate::volume::{EncodedBlock, VolumeError};

/// Number of parts: several times the number of threads of most machines.
const PARTS: usize = 128;

/// All parts of a cache.
#[derive(Debug)]
pub(super) struct Parts(Box<[Part]>);

/// The blocks whose keys fall into one part. Aligned, so that the locks of two parts are not in one cache line of the CPU.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Part {
    state: Mutex<PartState>,
    /// Notified when a block was loaded.
    pub loaded: Condvar,
}

/// Everything of a part that changes.
#[derive(Debug, Default)]
pub(super) struct PartState {
    pub entries: HashMap<BlockKey, Entry, RandomState>,
    /// How many units have released a block that others still need.
    pub released: HashMap<BlockKey, usize, RandomState>,
    pub evicted: HashSet<BlockKey, RandomState>,
    pub stats: CacheStats,
}

/// A block in the cache.
#[derive(Debug)]
pub(super) struct Entry {
    pub slot: Slot,
    /// Bytes that it takes.
    pub bytes: u64,
    /// The cache's clock when it was last looked up.
    pub touched: u64,
}

/// How far the loading of a block has come.
#[derive(Debug)]
pub(super) enum Slot {
    /// Nobody is loading it. It may be waiting to be prefetched.
    Queued,
    /// It is being prefetched.
    Prefetching,
    /// It was prefetched.
    Prefetched(Prefetched),
    /// A thread that needs it is fetching or decoding it.
    Loading,
    /// It can be read.
    Ready(Arc<Block>),
}

/// The result of prefetching a block: its stored bytes, or `None` for a missing chunk.
pub(super) type Prefetched = Result<Option<EncodedBlock>, VolumeError>;

impl Parts {
    /// Empty parts.
    pub fn new() -> Self {
        Self((0..PARTS).map(|_| Part::default()).collect())
    }

    /// The part of a block. Neighbours are in different parts.
    pub fn of(&self, key: BlockKey) -> &Part {
        let mixed = (key.block ^ u64::from(key.volume).rotate_right(16))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.0[(mixed >> 57) as usize]
    }

    /// All parts.
    pub fn iter(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }
}

impl Part {
    pub fn lock(&self) -> MutexGuard<'_, PartState> {
        // A thread that panicked left nothing half changed: every change below the lock is complete.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Entry {
    /// An entry of no bytes.
    pub fn new(slot: Slot, touched: u64) -> Self {
        Self {
            slot,
            bytes: 0,
            touched,
        }
    }

    /// Whether it takes memory, and no thread reads it.
    pub fn is_idle(&self) -> bool {
        match &self.slot {
            Slot::Ready(block) => self.bytes > 0 && Arc::strong_count(block) == 1,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_spread_over_all_parts() {
        let parts = Parts::new();
        let mut used = HashSet::new();
        for volume in 0..3 {
            for block in 0..1000 {
                let part = parts.of(BlockKey { volume, block });
                used.insert(std::ptr::from_ref(part));
            }
        }
        assert_eq!(used.len(), PARTS);
    }
}

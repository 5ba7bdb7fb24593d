//! What the block cache holds: an entry per block, the bytes that they take, and spare buffers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use crate::blocks::block::Block;
use crate::blocks::uses::{BlockKey, BlockUses};
use crate::volume::{EncodedBlock, VolumeError};

/// Buffers that are kept for the next blocks, so that the system need not map their memory again.
const SPARE_BUFFERS: usize = 8;

/// What the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Blocks that were read from the source.
    pub fetched: u64,
    /// Blocks that were decoded.
    pub decoded: u64,
    /// Missing chunks.
    pub missing: u64,
    /// Blocks among the fetched ones that were read before, and evicted because memory was short.
    pub repeated: u64,
    /// Lookups of blocks that were decoded before.
    pub reused: u64,
    /// Stored bytes that were read.
    pub read_bytes: u64,
    /// Most bytes of decoded blocks that were held at once.
    pub peak_bytes: u64,
}

/// Everything in the cache that changes.
#[derive(Debug, Default)]
pub(super) struct CacheState {
    pub entries: HashMap<BlockKey, Entry>,
    /// How many units have released a block that others still need.
    pub released: HashMap<BlockKey, usize>,
    pub evicted: HashSet<BlockKey>,
    pub spare: Vec<Vec<u8>>,
    pub held_bytes: u64,
    pub latest_unit: u32,
    pub clock: u64,
    pub stats: CacheStats,
}

/// A block in the cache.
#[derive(Debug)]
pub(super) struct Entry {
    pub slot: Slot,
    /// Bytes that it takes.
    pub bytes: u64,
    /// When it was last looked up.
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

impl CacheState {
    /// Removes the block, and keeps its buffer for another one if no thread reads it.
    pub fn remove(&mut self, key: BlockKey) {
        let Some(entry) = self.entries.remove(&key) else {
            return;
        };
        self.held_bytes -= entry.bytes;
        if let Slot::Ready(block) = entry.slot
            && let Some(Block::Stored(buffer)) = Arc::into_inner(block)
        {
            self.keep_spare(buffer);
        }
    }

    /// Reserves `bytes` for the block, which is about to be decoded, and returns a buffer for it.
    pub fn reserve(
        &mut self,
        key: BlockKey,
        bytes: u64,
        uses: &BlockUses,
        budget_bytes: u64,
    ) -> Vec<u8> {
        self.make_room(bytes, uses, budget_bytes);
        self.held_bytes += bytes;
        self.stats.peak_bytes = self.stats.peak_bytes.max(self.held_bytes);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.bytes = bytes;
        }
        let buffer = self.take_spare(bytes);
        self.drop_spare_over(budget_bytes);
        buffer
    }

    /// Makes room for `bytes` more, as far as blocks that no thread reads allow.
    ///
    /// To find a victim, every block is looked at, while all threads wait. That is why this frees up to a sixteenth of the
    /// budget more than it needs now: the next blocks find room without another search.
    fn make_room(&mut self, bytes: u64, uses: &BlockUses, budget_bytes: u64) {
        let needed = (self.held_bytes + bytes).saturating_sub(budget_bytes);
        if needed == 0 {
            return;
        }
        let idle = self.entries.iter().filter(|(_, e)| match &e.slot {
            Slot::Ready(block) => e.bytes > 0 && Arc::strong_count(block) == 1,
            _ => false,
        });
        let farthest_first = idle.map(|(key, e)| {
            let released = self.released.get(key).copied().unwrap_or(0);
            let next = uses.next_unit(*key, released, self.latest_unit);
            (next, Reverse(e.touched), *key, e.bytes)
        });
        let mut victims: BinaryHeap<_> = farthest_first.collect();
        let mut freed = 0;
        while let Some((_, _, key, bytes)) = victims.pop() {
            if freed >= needed && freed + bytes > needed + budget_bytes / 16 {
                return;
            }
            self.remove(key);
            self.evicted.insert(key);
            freed += bytes;
        }
    }

    /// Stops counting the block's memory.
    pub fn stop_counting(&mut self, key: BlockKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            self.held_bytes -= std::mem::take(&mut entry.bytes);
        }
    }

    pub fn keep_spare(&mut self, buffer: Vec<u8>) {
        if self.spare.len() == SPARE_BUFFERS {
            self.spare.remove(0);
        }
        self.spare.push(buffer);
    }

    /// A buffer for a block of `bytes`. A far larger buffer is not taken, because only `bytes` are counted.
    pub fn take_spare(&mut self, bytes: u64) -> Vec<u8> {
        let fits = |b: &Vec<u8>| (bytes..=2 * bytes).contains(&(b.capacity() as u64));
        let fitting = self.spare.iter().rposition(fits);
        fitting.map_or_else(Vec::new, |i| self.spare.remove(i))
    }

    /// Drops spare buffers until they and the blocks are within the budget.
    pub fn drop_spare_over(&mut self, budget_bytes: u64) {
        let bytes_of = |spare: &[Vec<u8>]| spare.iter().map(|b| b.capacity() as u64).sum::<u64>();
        while !self.spare.is_empty() && self.held_bytes + bytes_of(&self.spare) > budget_bytes {
            self.spare.remove(0);
        }
    }
}

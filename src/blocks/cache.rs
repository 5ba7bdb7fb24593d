//! The block cache: every block that a window touches is fetched and decoded once, kept while a window still needs it, and
//! dropped after its last use, within a budget of bytes.
//!
//! [`BlockUses`] lists beforehand which units of work use which block. A unit gets a block with [`BlockCache::lookup`]. A
//! block that no thread has loaded is loaded by the caller, outside of any lock. A block that another thread is loading is
//! `Busy`, so that the caller can copy other blocks first. Where the budget is too small, the block whose next use is
//! farthest away is evicted, and loaded again later.

mod eviction;
mod memory;
mod part;
mod prefetch;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::block::Block;
use super::uses::{BlockKey, BlockUses};
use crate::data_type::Scalar;
use crate::volume::{BlockIndex, EncodedBlock, Volume, VolumeError};
use memory::CacheMemory;
use part::{Entry, PartState, Parts, Prefetched, Slot};
pub use stats::CacheStats;

/// Decoded blocks of several volumes.
#[derive(Debug)]
pub struct BlockCache<'a> {
    volumes: &'a [Arc<dyn Volume>],
    uses: BlockUses,
    parts: Parts,
    memory: CacheMemory,
    /// Held by the thread that searches blocks to evict.
    eviction: Mutex<()>,
    latest_unit: AtomicU32,
    /// Number of blocks that were loaded.
    clock: AtomicU64,
}

/// What the cache has for a key.
#[derive(Debug)]
pub enum Lookup<'c, 'a> {
    /// The block.
    Ready(Arc<Block>),
    /// Another thread is loading it.
    Busy,
    /// Nobody has loaded it: the caller must.
    Claimed(Claim<'c, 'a>),
}

/// The right and duty to load a block. If it is dropped before, another thread can claim the block.
#[derive(Debug)]
pub struct Claim<'c, 'a> {
    cache: &'c BlockCache<'a>,
    key: BlockKey,
    prefetched: Option<Prefetched>,
    is_open: bool,
}

impl<'a> BlockCache<'a> {
    /// An empty cache over `volumes`, for the threads of the current rayon pool; [`BlockKey::volume`] is a position among
    /// them.
    pub fn new(volumes: &'a [Arc<dyn Volume>], uses: BlockUses, budget_bytes: u64) -> Self {
        Self {
            volumes,
            uses,
            parts: Parts::new(),
            memory: CacheMemory::new(budget_bytes, rayon::current_num_threads()),
            eviction: Mutex::default(),
            latest_unit: AtomicU32::new(0),
            clock: AtomicU64::new(0),
        }
    }

    /// Number of operations, one after the other, that wait for a server when a block of the slowest volume is read; 0 where
    /// all volumes are on local disks.
    pub fn round_trips(&self) -> usize {
        let of_volumes = self.volumes.iter().map(|v| v.round_trips());
        of_volumes.max().unwrap_or(0)
    }

    /// What was done so far.
    pub fn stats(&self) -> CacheStats {
        let mut all = CacheStats::default();
        for part in self.parts.iter() {
            all.add(&part.lock().stats);
        }
        all.peak_bytes = self.memory.peak_bytes();
        all
    }

    /// Notes that work on `unit` begins. Units begin in ascending order.
    pub fn begin_unit(&self, unit: u32) {
        self.latest_unit.fetch_max(unit, Ordering::Relaxed);
    }

    /// Looks a block up.
    pub fn lookup(&self, key: BlockKey) -> Lookup<'_, 'a> {
        self.lookup_locked(&mut self.parts.of(key).lock(), key)
    }

    /// Looks a block up, and waits while another thread is loading it: never `Busy`.
    pub fn wait(&self, key: BlockKey) -> Lookup<'_, 'a> {
        let part = self.parts.of(key);
        let mut state = part.lock();
        loop {
            match self.lookup_locked(&mut state, key) {
                Lookup::Busy => {
                    state = part.loaded.wait(state).unwrap_or_else(|e| e.into_inner());
                }
                other => return other,
            }
        }
    }

    /// Notes that one of its units no longer needs the block. After the last one, the block is dropped.
    pub fn release(&self, key: BlockKey) {
        let units = self.uses.units(key).len();
        let mut state = self.parts.of(key).lock();
        let done = state.released.get(&key).copied().unwrap_or(0) + 1;
        if done < units {
            state.released.insert(key, done);
        } else {
            state.released.remove(&key);
            state.evicted.remove(&key);
            let entry = state.entries.remove(&key);
            drop(state);
            self.recycle(entry);
        }
    }

    fn lookup_locked(&self, state: &mut PartState, key: BlockKey) -> Lookup<'_, 'a> {
        let now = self.clock.load(Ordering::Relaxed);
        let entries = &mut state.entries;
        let entry = entries
            .entry(key)
            .or_insert_with(|| Entry::new(Slot::Queued, now));
        entry.touched = now;
        match &entry.slot {
            Slot::Ready(block) => {
                state.stats.reused += 1;
                return Lookup::Ready(Arc::clone(block));
            }
            Slot::Prefetching | Slot::Loading => return Lookup::Busy,
            Slot::Queued | Slot::Prefetched(_) => {}
        }
        let prefetched = match std::mem::replace(&mut entry.slot, Slot::Loading) {
            Slot::Prefetched(prefetched) => Some(prefetched),
            _ => None,
        };
        self.memory.free(std::mem::take(&mut entry.bytes));
        Lookup::Claimed(Claim {
            cache: self,
            key,
            prefetched,
            is_open: true,
        })
    }

    /// Takes the memory of a block that was removed, and keeps its buffer for another one if no thread reads it.
    fn recycle(&self, removed: Option<Entry>) {
        let Some(entry) = removed else {
            return;
        };
        self.memory.free(entry.bytes);
        if let Slot::Ready(block) = entry.slot
            && let Some(Block::Stored(buffer)) = Arc::into_inner(block)
        {
            self.memory.keep_spare(buffer);
        }
    }

    /// Stops counting the block's memory.
    fn stop_counting(&self, key: BlockKey) {
        if let Some(entry) = self.parts.of(key).lock().entries.get_mut(&key) {
            self.memory.free(std::mem::take(&mut entry.bytes));
        }
    }
}

impl Claim<'_, '_> {
    /// Fetches and decodes the block, and gives it to every thread that waits for it. `encoded` is a buffer of the caller.
    pub fn load(mut self, encoded: &mut EncodedBlock) -> Result<Arc<Block>, VolumeError> {
        let volume = self.cache.volumes[self.key.volume as usize].as_ref();
        let index = volume.meta().grid.block_from_linear(self.key.block);
        let mut prefetched = self.prefetched.take().transpose()?;
        let (is_stored, encoded) = match &mut prefetched {
            Some(Some(prefetched)) => (true, prefetched),
            Some(None) => (false, encoded),
            None => (volume.fetch(index, encoded)?, encoded),
        };
        let read_bytes = encoded.bytes.len() as u64;
        let block = if is_stored {
            self.decode(volume, index, encoded)?
        } else {
            Block::Missing
        };
        Ok(self.finish(block, read_bytes))
    }

    fn decode(
        &self,
        volume: &dyn Volume,
        index: BlockIndex,
        encoded: &mut EncodedBlock,
    ) -> Result<Block, VolumeError> {
        let (cache, meta) = (self.cache, volume.meta());
        let bytes = meta.block_bytes(&meta.grid.block_box(index)) as u64;
        let mut values = cache.reserve(self.key, bytes);
        volume.decode(index, encoded, &mut values)?;
        match Scalar::of_all(meta.data_type.size_bytes(), &values) {
            None => Ok(Block::Stored(values)),
            Some(value) => {
                cache.stop_counting(self.key);
                cache.memory.keep_spare(values);
                Ok(Block::Uniform(value))
            }
        }
    }

    /// Counts the block, which was read from `read_bytes`, and wakes the threads that wait for it.
    fn finish(mut self, block: Block, read_bytes: u64) -> Arc<Block> {
        let cache = self.cache;
        cache.clock.fetch_add(1, Ordering::Relaxed);
        let part = cache.parts.of(self.key);
        let mut state = part.lock();
        if matches!(block, Block::Missing) {
            state.stats.missing += 1;
        } else {
            let is_repeated = state.evicted.contains(&self.key);
            state.stats.fetched += 1;
            state.stats.decoded += 1;
            state.stats.read_bytes += read_bytes;
            state.stats.repeated += u64::from(is_repeated);
        }
        let block = Arc::new(block);
        if let Some(entry) = state.entries.get_mut(&self.key) {
            entry.slot = Slot::Ready(Arc::clone(&block));
        }
        self.is_open = false;
        drop(state);
        part.loaded.notify_all();
        block
    }
}

impl Drop for Claim<'_, '_> {
    fn drop(&mut self) {
        if self.is_open {
            let part = self.cache.parts.of(self.key);
            let entry = part.lock().entries.remove(&self.key);
            self.cache.recycle(entry);
            part.loaded.notify_all();
        }
    }
}

//! The block cache: every block that a window touches is fetched and decoded once, kept while a window still needs it, and
//! dropped after its last use, within a budget of bytes.
//!
//! [`BlockUses`] lists beforehand which units of work use which block. A unit gets a block with [`BlockCache::lookup`]. A
//! block that no thread has loaded is loaded by the caller, outside of any lock. A block that another thread is loading is
//! `Busy`, so that the caller can copy other blocks first. Where the budget is too small, the block whose next use is
//! farthest away is evicted, and loaded again later.

mod prefetch;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::block::Block;
use super::uses::{BlockKey, BlockUses};
use crate::data_type::Scalar;
use crate::volume::{BlockIndex, EncodedBlock, Volume, VolumeError};
pub use state::CacheStats;
use state::{CacheState, Entry, Prefetched, Slot};

/// Decoded blocks of several volumes.
#[derive(Debug)]
pub struct BlockCache<'a> {
    volumes: &'a [Arc<dyn Volume>],
    uses: BlockUses,
    budget_bytes: u64,
    state: Mutex<CacheState>,
    loaded: Condvar,
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
    /// An empty cache over `volumes`; [`BlockKey::volume`] is a position among them.
    pub fn new(volumes: &'a [Arc<dyn Volume>], uses: BlockUses, budget_bytes: u64) -> Self {
        Self {
            volumes,
            uses,
            budget_bytes,
            state: Mutex::default(),
            loaded: Condvar::new(),
        }
    }

    /// Whether any of the volumes is remote, so that prefetching saves time.
    pub fn is_remote(&self) -> bool {
        self.volumes.iter().any(|v| v.is_remote())
    }

    /// What was done so far.
    pub fn stats(&self) -> CacheStats {
        self.lock().stats
    }

    /// Notes that work on `unit` begins. Units begin in ascending order.
    pub fn begin_unit(&self, unit: u32) {
        let mut state = self.lock();
        state.latest_unit = state.latest_unit.max(unit);
    }

    /// Looks a block up.
    pub fn lookup(&self, key: BlockKey) -> Lookup<'_, 'a> {
        let mut state = self.lock();
        self.lookup_locked(&mut state, key)
    }

    /// Looks a block up, and waits while another thread is loading it: never `Busy`.
    pub fn wait(&self, key: BlockKey) -> Lookup<'_, 'a> {
        let mut state = self.lock();
        loop {
            match self.lookup_locked(&mut state, key) {
                Lookup::Busy => {
                    state = self.loaded.wait(state).unwrap_or_else(|e| e.into_inner());
                }
                other => return other,
            }
        }
    }

    /// Notes that one of its units no longer needs the block. After the last one, the block is dropped.
    pub fn release(&self, key: BlockKey) {
        let mut state = self.lock();
        let done = state.released.get(&key).copied().unwrap_or(0) + 1;
        if done < self.uses.units(key).len() {
            state.released.insert(key, done);
        } else {
            state.released.remove(&key);
            state.evicted.remove(&key);
            state.remove(key);
        }
    }

    fn lookup_locked(&self, state: &mut CacheState, key: BlockKey) -> Lookup<'_, 'a> {
        state.clock += 1;
        let touched = state.clock;
        let entry = state.entries.entry(key).or_insert(Entry {
            slot: Slot::Queued,
            bytes: 0,
            touched,
        });
        entry.touched = touched;
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
        state.held_bytes -= std::mem::take(&mut entry.bytes);
        Lookup::Claimed(Claim {
            cache: self,
            key,
            prefetched,
            is_open: true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        // A thread that panicked left nothing half changed: every change below the lock is complete.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
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
        let mut values = cache
            .lock()
            .reserve(self.key, bytes, &cache.uses, cache.budget_bytes);
        volume.decode(index, encoded, &mut values)?;
        match Scalar::of_all(meta.data_type.size_bytes(), &values) {
            None => Ok(Block::Stored(values)),
            Some(value) => {
                let mut state = cache.lock();
                state.keep_spare(values);
                state.stop_counting(self.key);
                Ok(Block::Uniform(value))
            }
        }
    }

    /// Counts the block, which was read from `read_bytes`, and wakes the threads that wait for it.
    fn finish(mut self, block: Block, read_bytes: u64) -> Arc<Block> {
        let mut state = self.cache.lock();
        if matches!(block, Block::Missing) {
            state.stats.missing += 1;
        } else {
            state.stats.fetched += 1;
            state.stats.decoded += 1;
            state.stats.read_bytes += read_bytes;
            state.stats.repeated += u64::from(state.evicted.contains(&self.key));
        }
        let block = Arc::new(block);
        if let Some(entry) = state.entries.get_mut(&self.key) {
            entry.slot = Slot::Ready(Arc::clone(&block));
        }
        self.is_open = false;
        self.cache.loaded.notify_all();
        block
    }
}

impl Drop for Claim<'_, '_> {
    fn drop(&mut self) {
        if self.is_open {
            self.cache.lock().remove(self.key);
            self.cache.loaded.notify_all();
        }
    }
}

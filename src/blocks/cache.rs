//! The block cache: every block that some window touches is fetched and decoded once, kept while a
//! window still needs it, and dropped after its last use, inside a budget of bytes.
//!
//! The cache knows beforehand which units of work use which block ([`BlockUses`]). A unit asks with
//! [`BlockCache::lookup`]: a block that nobody has becomes the caller's to load, outside of any lock; one
//! that another thread is loading is `Busy`, so that the caller can go on with other blocks first. Where
//! the budget is too small, the block whose next use is farthest away goes first, and is loaded again later.

mod prefetch;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::uses::{BlockKey, BlockUses};
use crate::data_type::Scalar;
use crate::volume::{EncodedBlock, Volume, VolumeError};

/// A decoded block.
#[derive(Debug)]
pub enum Block {
    /// Not stored: it reads as the fill value.
    Missing,
    /// All its values are this one.
    Uniform(Scalar),
    /// Its values, as [`Volume::decode`] makes them.
    Stored(Vec<u8>),
}

/// What the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Blocks that were read from the source.
    pub fetched: u64,
    /// Blocks that were decoded.
    pub decoded: u64,
    /// Blocks that are not stored.
    pub missing: u64,
    /// Of the fetched, those that had been dropped before for want of memory.
    pub repeated: u64,
    /// Stored bytes that were read.
    pub read_bytes: u64,
    /// Most bytes of decoded blocks that were held at once.
    pub peak_bytes: u64,
}

/// Decoded blocks of several volumes.
#[derive(Debug)]
pub struct BlockCache<'a> {
    volumes: &'a [Arc<dyn Volume>],
    uses: BlockUses,
    budget_bytes: u64,
    state: Mutex<State>,
    loaded: Condvar,
}

/// Buffers that are kept for the next blocks, so that their memory is not mapped anew.
const SPARE_BUFFERS: usize = 8;

#[derive(Debug, Default)]
struct State {
    entries: HashMap<BlockKey, Entry>,
    /// How many units are done with a block that others still need.
    released: HashMap<BlockKey, usize>,
    evicted: HashSet<BlockKey>,
    spare: Vec<Vec<u8>>,
    held_bytes: u64,
    latest_unit: u32,
    clock: u64,
    stats: CacheStats,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    bytes: u64,
    touched: u64,
}

/// How far a block is.
#[derive(Debug)]
enum Slot {
    /// Nobody is loading it yet; it may be waiting to be prefetched.
    Queued,
    /// It is being prefetched.
    Prefetching,
    /// It was prefetched: its stored bytes, `None` where it is not stored, or the error.
    Prefetched(Prefetched),
    /// A thread that needs it is fetching or decoding it.
    Loading,
    /// It can be read.
    Ready(Arc<Block>),
}

/// What fetching a block ahead came to.
type Prefetched = Result<Option<EncodedBlock>, VolumeError>;

/// What the cache has for a key.
#[derive(Debug)]
pub enum Lookup<'c, 'a> {
    /// The block.
    Ready(Arc<Block>),
    /// Another thread is loading it.
    Busy,
    /// Nobody has it: it is the caller's to load.
    Claimed(Claim<'c, 'a>),
}

/// The right and duty to load a block. Dropped without loading, another thread may.
#[derive(Debug)]
pub struct Claim<'c, 'a> {
    cache: &'c BlockCache<'a>,
    key: BlockKey,
    /// What was fetched ahead.
    fetched: Option<Prefetched>,
    open: bool,
}

impl<'a> BlockCache<'a> {
    /// An empty cache over `volumes`, which [`BlockKey::volume`] counts.
    pub fn new(volumes: &'a [Arc<dyn Volume>], uses: BlockUses, budget_bytes: u64) -> Self {
        Self {
            volumes,
            uses,
            budget_bytes,
            state: Mutex::default(),
            loaded: Condvar::new(),
        }
    }

    /// Whether any of the volumes is remote, so that it pays to fetch ahead.
    pub fn is_remote(&self) -> bool {
        self.volumes.iter().any(|v| v.is_remote())
    }

    /// What was done so far.
    pub fn stats(&self) -> CacheStats {
        self.lock().stats
    }

    /// Says that work on `unit` begins; units begin in ascending order.
    pub fn begin_unit(&self, unit: u32) {
        let mut state = self.lock();
        state.latest_unit = state.latest_unit.max(unit);
    }

    /// Asks for a block.
    pub fn lookup(&self, key: BlockKey) -> Lookup<'_, 'a> {
        let mut state = self.lock();
        self.lookup_locked(&mut state, key)
    }

    /// Asks for a block, and waits while another thread is loading it: never `Busy`.
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

    /// Says that one of its units needs the block no more. After the last, it is dropped.
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

    fn lookup_locked(&self, state: &mut State, key: BlockKey) -> Lookup<'_, 'a> {
        state.clock += 1;
        let touched = state.clock;
        let entry = state.entries.entry(key).or_insert(Entry {
            slot: Slot::Queued,
            bytes: 0,
            touched,
        });
        entry.touched = touched;
        match &entry.slot {
            Slot::Ready(block) => return Lookup::Ready(Arc::clone(block)),
            Slot::Prefetching | Slot::Loading => return Lookup::Busy,
            Slot::Queued | Slot::Prefetched(_) => {}
        }
        let fetched = match std::mem::replace(&mut entry.slot, Slot::Loading) {
            Slot::Prefetched(prefetched) => Some(prefetched),
            _ => None,
        };
        state.held_bytes -= std::mem::take(&mut entry.bytes);
        Lookup::Claimed(Claim {
            cache: self,
            key,
            fetched,
            open: true,
        })
    }

    /// Makes room for `bytes` more, as far as blocks that nobody is reading allow.
    ///
    /// To find a victim, every block is looked at, while all threads wait. So what is found serves for the next
    /// blocks, too: up to a sixteenth of the budget is freed beyond what is needed now.
    fn make_room(&self, state: &mut State, bytes: u64) {
        let needed = (state.held_bytes + bytes).saturating_sub(self.budget_bytes);
        if needed == 0 {
            return;
        }
        let idle = state.entries.iter().filter(|(_, e)| match &e.slot {
            Slot::Ready(block) => e.bytes > 0 && Arc::strong_count(block) == 1,
            _ => false,
        });
        let farthest_first = idle.map(|(key, e)| {
            let released = state.released.get(key).copied().unwrap_or(0);
            let next = self.uses.next_unit(*key, released, state.latest_unit);
            (next, Reverse(e.touched), *key, e.bytes)
        });
        let mut victims: BinaryHeap<_> = farthest_first.collect();
        let mut freed = 0;
        while let Some((_, _, key, bytes)) = victims.pop() {
            if freed >= needed && freed + bytes > needed + self.budget_bytes / 16 {
                return;
            }
            state.remove(key);
            state.evicted.insert(key);
            freed += bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left no half-made change: every change below the lock is complete.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Claim<'_, '_> {
    /// Fetches and decodes the block and hands it to everyone. `encoded` is the caller's buffer.
    pub fn load(mut self, encoded: &mut EncodedBlock) -> Result<Arc<Block>, VolumeError> {
        let cache = self.cache;
        let volume = &cache.volumes[self.key.volume as usize];
        let grid = &volume.meta().grid;
        let index = grid.block_from_linear(self.key.block);
        let mut prefetched = self.fetched.take().transpose()?;
        let (stored, encoded) = match &mut prefetched {
            Some(Some(fetched)) => (true, fetched),
            Some(None) => (false, encoded),
            None => (volume.fetch(index, encoded)?, encoded),
        };
        let read_bytes = encoded.bytes.len() as u64;
        let block = match stored {
            false => Block::Missing,
            true => {
                let bytes = volume.meta().block_bytes(&grid.block_box(index)) as u64;
                let mut values = {
                    let mut state = cache.lock();
                    cache.make_room(&mut state, bytes);
                    state.held_bytes += bytes;
                    state.stats.peak_bytes = state.stats.peak_bytes.max(state.held_bytes);
                    if let Some(entry) = state.entries.get_mut(&self.key) {
                        entry.bytes = bytes;
                    }
                    let buffer = state.take_spare(bytes);
                    state.drop_spare_over(cache.budget_bytes);
                    buffer
                };
                volume.decode(index, encoded, &mut values)?;
                match Scalar::of_all(volume.meta().data_type.size_bytes(), &values) {
                    None => Block::Stored(values),
                    Some(value) => {
                        let mut state = cache.lock();
                        state.keep_spare(values);
                        state.free(self.key);
                        Block::Uniform(value)
                    }
                }
            }
        };
        let mut state = cache.lock();
        match stored {
            false => state.stats.missing += 1,
            true => {
                state.stats.fetched += 1;
                state.stats.decoded += 1;
                state.stats.read_bytes += read_bytes;
                state.stats.repeated += u64::from(state.evicted.contains(&self.key));
            }
        }
        let block = Arc::new(block);
        if let Some(entry) = state.entries.get_mut(&self.key) {
            entry.slot = Slot::Ready(Arc::clone(&block));
        }
        self.open = false;
        cache.loaded.notify_all();
        Ok(block)
    }
}

impl Drop for Claim<'_, '_> {
    fn drop(&mut self) {
        if self.open {
            self.cache.lock().remove(self.key);
            self.cache.loaded.notify_all();
        }
    }
}

impl State {
    fn remove(&mut self, key: BlockKey) {
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

    /// Counts the block's memory no more.
    fn free(&mut self, key: BlockKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            self.held_bytes -= std::mem::take(&mut entry.bytes);
        }
    }

    fn keep_spare(&mut self, buffer: Vec<u8>) {
        if self.spare.len() == SPARE_BUFFERS {
            self.spare.remove(0);
        }
        self.spare.push(buffer);
    }

    /// A buffer for a block of `bytes`: not a far larger one, whose memory nobody would count.
    fn take_spare(&mut self, bytes: u64) -> Vec<u8> {
        let fits = |b: &Vec<u8>| (bytes..=2 * bytes).contains(&(b.capacity() as u64));
        let fitting = self.spare.iter().rposition(fits);
        fitting.map_or_else(Vec::new, |i| self.spare.remove(i))
    }

    /// Gives memory of spare buffers back until all that is held is within the budget.
    fn drop_spare_over(&mut self, budget_bytes: u64) {
        let bytes_of = |spare: &[Vec<u8>]| spare.iter().map(|b| b.capacity() as u64).sum::<u64>();
        while !self.spare.is_empty() && self.held_bytes + bytes_of(&self.spare) > budget_bytes {
            self.spare.remove(0);
        }
    }
}

#[cfg(test)]
mod tests;

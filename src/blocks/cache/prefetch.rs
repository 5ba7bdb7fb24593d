//! Prefetching into the cache: blocks are queued, sorted by chunk group, split into runs, and each run is fetched with one
//! request.

use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::part::{Entry, Slot};
use super::{BlockCache, EncodedBlock, VolumeError};
use crate::blocks::uses::BlockKey;

impl BlockCache<'_> {
    /// Marks the block as queued for prefetching. `true` where it is new to the cache: the caller should then see to it
    /// that [`BlockCache::prefetch_run`] fetches it.
    pub fn queue(&self, key: BlockKey) -> bool {
        let now = self.clock.load(Ordering::Relaxed);
        let mut state = self.parts.of(key).lock();
        let is_new = !state.entries.contains_key(&key);
        if is_new {
            state.entries.insert(key, Entry::new(Slot::Queued, now));
        }
        is_new
    }

    /// Lets the volume begin to read the block, which a thread will soon fetch.
    pub fn start_reading(&self, key: BlockKey) {
        let volume = &self.volumes[key.volume as usize];
        volume.prefetch(volume.meta().grid.block_from_linear(key.block));
    }

    /// Sorts blocks by chunk group. The blocks of a group can be split into runs. Sends no request.
    pub fn chunk_groups(&self, keys: impl IntoIterator<Item = BlockKey>) -> Vec<Vec<BlockKey>> {
        let mut groups: IndexMap<_, Vec<BlockKey>, RandomState> = IndexMap::default();
        for key in keys {
            let volume = &self.volumes[key.volume as usize];
            let block = volume.meta().grid.block_from_linear(key.block);
            let group = match volume.chunk_groups() {
                Some(chunk_groups) => (key.volume, chunk_groups.group_key(block), None),
                None => (key.volume, [0; 2], Some(key.block)),
            };
            groups.entry(group).or_default().push(key);
        }
        groups.into_values().collect()
    }

    /// Splits blocks of one chunk group into runs, each of which one request reads. May read the group's index.
    pub fn runs(&self, group: Vec<BlockKey>) -> Vec<Vec<BlockKey>> {
        let [first, _, ..] = group[..] else {
            return vec![group];
        };
        let volume = &self.volumes[first.volume as usize];
        let grid = &volume.meta().grid;
        let Some(chunk_groups) = volume.chunk_groups() else {
            return group.into_iter().map(|key| vec![key]).collect();
        };
        let blocks: Vec<_> = group
            .iter()
            .map(|k| grid.block_from_linear(k.block))
            .collect();
        let key = |block| BlockKey {
            block: grid.linear(block),
            ..first
        };
        let runs = chunk_groups.runs(&blocks).into_iter();
        runs.map(|run| run.into_iter().map(key).collect()).collect()
    }

    /// Fetches the queued blocks of a run, except those that a thread needed first. `false` if that failed: the
    /// thread that looks up the run's first block gets the error.
    pub fn prefetch_run(&self, run: &[BlockKey]) -> bool {
        let mut fetch = self.begin_fetch(run);
        let Some((first, _)) = fetch.blocks.first() else {
            return true;
        };
        let volume = &self.volumes[first.volume as usize];
        let blocks = fetch.blocks.iter().map(|(key, _)| key.block);
        let blocks: Vec<_> = blocks
            .map(|b| volume.meta().grid.block_from_linear(b))
            .collect();
        let mut encoded: Vec<_> = blocks.iter().map(|_| EncodedBlock::default()).collect();
        let stored = match (&blocks[..], &mut encoded[..], volume.chunk_groups()) {
            ([block], [encoded], _) => volume.fetch(*block, encoded).map(Some),
            (_, _, None) => Ok(None),
            (_, encoded, Some(chunk_groups)) => {
                let fetched = chunk_groups.fetch_run(&blocks, encoded);
                fetched.map(|stored| stored.then_some(true))
            }
        };
        match stored {
            Ok(Some(stored)) => {
                for ((_, slot), encoded) in fetch.blocks.iter_mut().zip(encoded) {
                    *slot = Slot::Prefetched(Ok(stored.then_some(encoded)));
                }
            }
            Ok(None) => {}
            // One error is enough: it ends the job.
            Err(e) => {
                fetch.blocks[0].1 = Slot::Prefetched(Err(e));
                return false;
            }
        }
        true
    }

    /// Marks the queued blocks of a run as being prefetched.
    fn begin_fetch(&self, run: &[BlockKey]) -> RunFetch<'_, '_> {
        let mut blocks = Vec::with_capacity(run.len());
        for key in run {
            if let Some(entry) = self.parts.of(*key).lock().entries.get_mut(key)
                && matches!(entry.slot, Slot::Queued)
            {
                entry.slot = Slot::Prefetching;
                blocks.push((*key, Slot::Queued));
            }
        }
        RunFetch {
            cache: self,
            blocks,
        }
    }

    /// Takes an error of prefetching that no thread got: the position of its volume, and the error.
    pub fn take_prefetch_failure(&self) -> Option<(usize, VolumeError)> {
        let failed = |slot: &Slot| matches!(slot, Slot::Prefetched(Err(e)) if !e.is_stopped());
        self.parts.iter().find_map(|part| {
            let mut state = part.lock();
            let mut entries = state.entries.iter_mut();
            let (key, entry) = entries.find(|(_, entry)| failed(&entry.slot))?;
            match std::mem::replace(&mut entry.slot, Slot::Queued) {
                Slot::Prefetched(Err(e)) => Some((key.volume as usize, e)),
                _ => None,
            }
        })
    }
}

/// Blocks that are being prefetched, each with the slot that it gets when this is dropped. A fetch that came to nothing
/// leaves them queued, so that no thread waits for them forever.
struct RunFetch<'c, 'a> {
    cache: &'c BlockCache<'a>,
    blocks: Vec<(BlockKey, Slot)>,
}

impl Drop for RunFetch<'_, '_> {
    fn drop(&mut self) {
        for (key, slot) in self.blocks.drain(..) {
            let bytes = match &slot {
                Slot::Prefetched(Ok(Some(encoded))) => encoded.bytes.len() as u64,
                _ => 0,
            };
            let part = self.cache.parts.of(key);
            if let Some(entry) = part.lock().entries.get_mut(&key) {
                entry.slot = slot;
                entry.bytes = bytes;
                self.cache.memory.hold(bytes);
            }
            part.loaded.notify_all();
        }
        self.cache.memory.drop_spare_over_budget();
    }
}

#[cfg(test)]
mod tests;

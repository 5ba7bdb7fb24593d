//! Fetching blocks before they are needed: announced, sorted into chunk_groups and runs, fetched.

use indexmap::IndexMap;

use super::{BlockCache, Entry, Slot};
use crate::blocks::BlockKey;
use crate::volume::{EncodedBlock, VolumeError};

impl BlockCache<'_> {
    /// Says that the block will be needed soon. Whether it is to be fetched ahead: somebody should then call
    /// [`BlockCache::prefetch_run`].
    pub fn queue_prefetch(&self, key: BlockKey) -> bool {
        let mut state = self.lock();
        let new = !state.entries.contains_key(&key);
        if new {
            let touched = state.clock;
            state.entries.insert(
                key,
                Entry {
                    slot: Slot::Queued,
                    bytes: 0,
                    touched,
                },
            );
        }
        new
    }

    /// Says to its volume that the block will be fetched soon, by whoever needs it first.
    pub fn prefetch(&self, key: BlockKey) {
        let volume = &self.volumes[key.volume as usize];
        volume.prefetch(volume.meta().grid.block_from_linear(key.block));
    }

    /// Sorts blocks into chunk_groups: those of one can be split into runs. Asks nobody.
    pub fn chunk_groups(&self, keys: impl IntoIterator<Item = BlockKey>) -> Vec<Vec<BlockKey>> {
        let mut chunk_groups: IndexMap<_, Vec<BlockKey>> = IndexMap::new();
        for key in keys {
            let volume = &self.volumes[key.volume as usize];
            let block = volume.meta().grid.block_from_linear(key.block);
            let group = match volume.chunk_groups() {
                Some(chunk_groups) => (key.volume, chunk_groups.group_key(block), None),
                None => (key.volume, [0; 2], Some(key.block)),
            };
            chunk_groups.entry(group).or_default().push(key);
        }
        chunk_groups.into_values().collect()
    }

    /// Splits blocks of one group into runs, each of which one request reads. May read the group's index.
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

    /// Fetches the announced blocks of a run, except those that somebody needed first; `false` where that failed. The
    /// failure is told to whoever needs the run's first block.
    pub fn prefetch_run(&self, run: &[BlockKey]) -> bool {
        let mut fetch = Fetching {
            cache: self,
            blocks: Vec::with_capacity(run.len()),
        };
        {
            let mut state = self.lock();
            for key in run {
                if let Some(entry) = state.entries.get_mut(key)
                    && matches!(entry.slot, Slot::Queued)
                {
                    entry.slot = Slot::Prefetching;
                    fetch.blocks.push((*key, Slot::Queued));
                }
            }
        }
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
            // One is enough: it ends the run.
            Err(e) => {
                fetch.blocks[0].1 = Slot::Prefetched(Err(e));
                return false;
            }
        }
        true
    }

    /// Takes a failure to fetch a block ahead that nobody was told: which volume's, and why.
    pub fn take_prefetch_failure(&self) -> Option<(usize, VolumeError)> {
        let mut state = self.lock();
        let failed = |slot: &Slot| matches!(slot, Slot::Prefetched(Err(e)) if !e.is_stopped());
        let mut entries = state.entries.iter_mut();
        let (key, entry) = entries.find(|(_, entry)| failed(&entry.slot))?;
        match std::mem::replace(&mut entry.slot, Slot::Queued) {
            Slot::Prefetched(Err(e)) => Some((key.volume as usize, e)),
            _ => None,
        }
    }
}

/// Blocks that are being fetched ahead, and what becomes of each: announced again unless the fetch comes to
/// something, so that nobody waits for it in vain.
struct Fetching<'c, 'a> {
    cache: &'c BlockCache<'a>,
    blocks: Vec<(BlockKey, Slot)>,
}

impl Drop for Fetching<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        for (key, slot) in self.blocks.drain(..) {
            let bytes = match &slot {
                Slot::Prefetched(Ok(Some(encoded))) => encoded.bytes.len() as u64,
                _ => 0,
            };
            if let Some(entry) = state.entries.get_mut(&key) {
                entry.slot = slot;
                entry.bytes = bytes;
                state.held_bytes += bytes;
            }
        }
        state.drop_spare_over(self.cache.budget_bytes);
        drop(state);
        self.cache.loaded.notify_all();
    }
}

#[cfg(test)]
mod tests;

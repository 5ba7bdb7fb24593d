//! Eviction: where the budget is too small, the blocks whose next use is farthest away are dropped first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use super::BlockCache;
use crate::blocks::uses::BlockKey;

impl BlockCache<'_> {
    /// Holds `bytes` for the block, which is about to be decoded, and returns a buffer for it.
    pub(super) fn reserve(&self, key: BlockKey, bytes: u64) -> Vec<u8> {
        self.memory.hold(bytes);
        if let Some(entry) = self.parts.of(key).lock().entries.get_mut(&key) {
            entry.bytes = bytes;
        }
        self.evict_excess();
        self.memory.note_peak();
        let buffer = self.memory.take_spare(bytes);
        self.memory.drop_spare_over_budget();
        buffer
    }

    /// Evicts what is over the budget, as far as blocks that no thread reads allow.
    ///
    /// To find a victim, every block is looked at. That is why this frees up to a sixteenth of the budget more than it needs
    /// now: the next blocks find room without another search.
    fn evict_excess(&self) {
        if self.memory.excess_bytes() == 0 {
            return;
        }
        // One search at a time: the others find room when it ends.
        let _search = self.eviction.lock().unwrap_or_else(|e| e.into_inner());
        let needed = self.memory.excess_bytes();
        if needed == 0 {
            return;
        }
        let mut victims = self.idle_blocks();
        let mut freed = 0;
        while let Some((_, _, key, bytes)) = victims.pop() {
            let enough = needed + self.memory.budget_bytes() / 16;
            if freed >= needed && freed + bytes > enough {
                return;
            }
            freed += self.evict(key);
        }
    }

    /// The blocks that take memory and that no thread reads: the unit of their next use, when they were last used, their
    /// keys and bytes. The first one is to be evicted first.
    fn idle_blocks(&self) -> BinaryHeap<(u32, Reverse<u64>, BlockKey, u64)> {
        let latest = self.latest_unit.load(Ordering::Relaxed);
        let mut idle = Vec::new();
        for part in self.parts.iter() {
            let state = part.lock();
            let entries = state.entries.iter().filter(|(_, entry)| entry.is_idle());
            idle.extend(entries.map(|(key, entry)| {
                let released = state.released.get(key).copied().unwrap_or(0);
                let next = self.uses.next_unit(*key, released, latest);
                (next, Reverse(entry.touched), *key, entry.bytes)
            }));
        }
        idle.into()
    }

    /// Drops the block unless a thread began to read it. Returns the bytes that this freed.
    fn evict(&self, key: BlockKey) -> u64 {
        let mut state = self.parts.of(key).lock();
        if !state.entries.get(&key).is_some_and(|entry| entry.is_idle()) {
            return 0;
        }
        let entry = state.entries.remove(&key);
        state.evicted.insert(key);
        drop(state);
        let bytes = entry.as_ref().map_or(0, |entry| entry.bytes);
        self.recycle(entry);
        bytes
    }
}

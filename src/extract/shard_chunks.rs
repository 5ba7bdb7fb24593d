//! The chunks that the windows of one shard use. Several threads cut windows of a shard at the same time.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use foldhash::fast::RandomState;

use crate::blocks::BlockKey;
use crate::dataset::SourceUse;

/// Chunks in the order of first use, and which of them each window uses.
pub(super) struct ShardChunks {
    keys: Vec<BlockKey>,
    states: Vec<ChunkState>,
    /// Positions of chunks, window by window.
    of_windows: Vec<u32>,
    /// Where those of each window end.
    ends: Vec<usize>,
}

struct ChunkState {
    /// Windows that use it and are not finished.
    windows_left: AtomicU32,
    is_missing: AtomicBool,
}

impl ShardChunks {
    /// The chunks of windows, each given by the chunks that it touches.
    pub fn of<B: Iterator<Item = BlockKey>>(windows: impl Iterator<Item = B>) -> Self {
        let mut positions: HashMap<BlockKey, u32, RandomState> = HashMap::default();
        let (mut keys, mut windows_left) = (Vec::new(), Vec::new());
        let (mut of_windows, mut ends) = (Vec::new(), Vec::new());
        for window in windows {
            for key in window {
                let position = *positions.entry(key).or_insert_with(|| {
                    keys.push(key);
                    windows_left.push(0);
                    keys.len() as u32 - 1
                });
                windows_left[position as usize] += 1;
                of_windows.push(position);
            }
            ends.push(of_windows.len());
        }
        let state = |windows_left| ChunkState {
            windows_left: AtomicU32::new(windows_left),
            is_missing: AtomicBool::new(false),
        };
        Self {
            keys,
            states: windows_left.into_iter().map(state).collect(),
            of_windows,
            ends,
        }
    }

    /// The chunks, in the order of first use.
    pub fn in_order_of_use(&self) -> &[BlockKey] {
        &self.keys
    }

    /// How many chunks are used when all those of the window are.
    pub fn used_with(&self, window: usize) -> usize {
        let last = self.positions(window).iter().max();
        last.map_or(0, |last| *last as usize + 1)
    }

    /// Notes that a chunk of the window is missing.
    pub fn note_missing(&self, window: usize, key: BlockKey) {
        let mut positions = self.positions(window).iter().map(|p| *p as usize);
        if let Some(position) = positions.find(|p| self.keys[*p] == key) {
            let is_missing = &self.states[position].is_missing;
            is_missing.store(true, Ordering::Relaxed);
        }
    }

    /// Finishes windows. Calls `release` with each chunk that no other window of the shard uses.
    pub fn finish(&self, windows: Range<usize>, release: impl Fn(BlockKey)) {
        for position in windows.flat_map(|window| self.positions(window)) {
            let position = *position as usize;
            let windows_left = &self.states[position].windows_left;
            if windows_left.fetch_sub(1, Ordering::Relaxed) == 1 {
                release(self.keys[position]);
            }
        }
    }

    /// How many chunks of each source there are.
    pub fn source_uses(&self) -> Vec<SourceUse> {
        let mut uses: Vec<SourceUse> = Vec::new();
        for (key, state) in self.keys.iter().zip(&self.states) {
            let source = key.volume as usize;
            let known = uses.iter().position(|u| u.source == source);
            let at = known.unwrap_or_else(|| {
                uses.push(SourceUse {
                    source,
                    touched: 0,
                    missing: 0,
                });
                uses.len() - 1
            });
            uses[at].touched += 1;
            uses[at].missing += u64::from(state.is_missing.load(Ordering::Relaxed));
        }
        uses.sort_by_key(|u| u.source);
        uses
    }

    fn positions(&self, window: usize) -> &[u32] {
        let start = window.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.of_windows[start..self.ends[window]]
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn key(block: u64) -> BlockKey {
        BlockKey { volume: 0, block }
    }

    fn chunks() -> ShardChunks {
        let windows = [vec![7, 3], vec![3, 5], vec![], vec![7]];
        ShardChunks::of(windows.into_iter().map(|w| w.into_iter().map(key)))
    }

    #[test]
    fn chunks_are_in_the_order_of_first_use() {
        let chunks = chunks();
        assert_eq!(chunks.in_order_of_use(), [7, 3, 5].map(key));
        let used = [0, 1, 2, 3].map(|window| chunks.used_with(window));
        assert_eq!(used, [2, 3, 0, 1]);
    }

    #[test]
    fn a_chunk_is_released_once_when_all_its_windows_are_finished_in_any_order() {
        let chunks = chunks();
        let released = RefCell::new(Vec::new());
        let finish = |windows| {
            chunks.finish(windows, |key| released.borrow_mut().push(key.block));
            released.take()
        };
        assert!(finish(3..4).is_empty());
        assert!(finish(0..1) == [7]);
        assert_eq!(finish(1..3), [3, 5]);
    }

    #[test]
    fn missing_chunks_are_counted_once_per_source() {
        let windows = [vec![(1, 4), (0, 4)], vec![(1, 4), (1, 5)]];
        let key = |(volume, block)| BlockKey { volume, block };
        let chunks = ShardChunks::of(windows.into_iter().map(|w| w.into_iter().map(key)));
        chunks.note_missing(0, key((1, 4)));
        chunks.note_missing(1, key((1, 4)));
        let of_source = |source, touched, missing| SourceUse {
            source,
            touched,
            missing,
        };
        assert_eq!(
            chunks.source_uses(),
            [of_source(0, 1, 0), of_source(1, 2, 1)]
        );
    }
}

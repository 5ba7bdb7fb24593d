//! The chunks that the windows of one unit of work use.

use indexmap::IndexMap;

use crate::blocks::BlockKey;
use crate::dataset::SourceUse;

/// Chunks in the order of first use.
pub(super) struct UnitChunks(IndexMap<BlockKey, ChunkUse>);

struct ChunkUse {
    /// The last window that touches it.
    last: usize,
    /// Whether it is missing.
    is_missing: bool,
}

impl UnitChunks {
    /// The chunks of windows, each given by the chunks that it touches.
    pub fn of<B: Iterator<Item = BlockKey>>(windows: impl Iterator<Item = B>) -> Self {
        let mut chunks = IndexMap::new();
        for (window, keys) in windows.enumerate() {
            for key in keys {
                let chunk = chunks.entry(key).or_insert(ChunkUse {
                    last: window,
                    is_missing: false,
                });
                chunk.last = window;
            }
        }
        Self(chunks)
    }

    /// The chunks.
    pub fn in_order_of_use(&self) -> Vec<BlockKey> {
        self.0.keys().copied().collect()
    }

    /// How many chunks are used when all of `keys` are.
    pub fn used_with(&self, keys: impl Iterator<Item = BlockKey>) -> usize {
        let used = keys.filter_map(|key| Some(self.0.get_index_of(&key)? + 1));
        used.max().unwrap_or(0)
    }

    /// Whether this window is the last one that uses the chunk.
    pub fn is_last_use(&self, window: usize, key: BlockKey) -> bool {
        self.0.get(&key).is_some_and(|chunk| chunk.last == window)
    }

    /// Notes that the chunk is missing.
    pub fn note_missing(&mut self, key: BlockKey) {
        if let Some(chunk) = self.0.get_mut(&key) {
            chunk.is_missing = true;
        }
    }

    /// How many chunks of each source there are.
    pub fn source_uses(&self) -> Vec<SourceUse> {
        let mut uses: Vec<SourceUse> = Vec::new();
        for (key, chunk) in &self.0 {
            let source = key.volume as usize;
            let at = uses
                .iter()
                .position(|u| u.source == source)
                .unwrap_or_else(|| {
                    uses.push(SourceUse {
                        source,
                        touched: 0,
                        missing: 0,
                    });
                    uses.len() - 1
                });
            uses[at].touched += 1;
            uses[at].missing += u64::from(chunk.is_missing);
        }
        uses.sort_by_key(|u| u.source);
        uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_ordered_by_first_use_and_know_their_last_window() {
        let key = |block| BlockKey { volume: 0, block };
        let windows = [vec![7, 3], vec![3, 5], vec![7]];
        let keys = |w: &Vec<u64>| w.clone().into_iter().map(key);
        let chunks = UnitChunks::of(windows.iter().map(keys));
        assert_eq!(chunks.in_order_of_use(), [7, 3, 5].map(key));
        let used = windows.each_ref().map(|w| chunks.used_with(keys(w)));
        assert_eq!(used, [2, 3, 1]);
        let last = |w| [3, 5, 7, 9].map(|block| chunks.is_last_use(w, key(block)));
        assert_eq!(last(0), [false; 4]);
        assert_eq!(last(1), [true, true, false, false]);
        assert_eq!(last(2), [false, false, true, false]);
    }
}

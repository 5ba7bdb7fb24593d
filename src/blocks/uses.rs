//! Which unit of work uses which block.

use std::ops::RangeInclusive;

/// A block of one of several volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockKey {
    /// Position of the volume in the cache's list.
    pub volume: u32,
    /// The block's number in the volume's grid.
    pub block: u64,
}

/// The units that use each block. Units are numbered in the order in which work on them begins.
#[derive(Clone, Debug, Default)]
pub struct BlockUses {
    /// Sorted, each pair once.
    pairs: Vec<(BlockKey, u32)>,
}

impl BlockUses {
    /// From (block, unit) pairs in any order, repeats allowed.
    pub fn new(mut pairs: Vec<(BlockKey, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        pairs.shrink_to_fit();
        Self { pairs }
    }

    /// The different blocks.
    pub fn keys(&self) -> impl Iterator<Item = BlockKey> {
        self.pairs.chunk_by(|a, b| a.0 == b.0).map(|uses| uses[0].0)
    }

    /// The different blocks, each with the first and the last unit that uses it.
    pub fn by_block(&self) -> impl Iterator<Item = (BlockKey, RangeInclusive<u32>)> {
        let blocks = self.pairs.chunk_by(|a, b| a.0 == b.0);
        blocks.map(|uses| (uses[0].0, uses[0].1..=uses[uses.len() - 1].1))
    }

    /// Memory that it takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        size_of_val(self.pairs.as_slice()) as u64
    }

    /// Number of different blocks.
    pub fn blocks(&self) -> usize {
        self.keys().count()
    }

    /// The pairs of `key`, ascending by unit.
    pub(super) fn units(&self, key: BlockKey) -> &[(BlockKey, u32)] {
        let start = self.pairs.partition_point(|p| p.0 < key);
        let n = self.pairs[start..].partition_point(|p| p.0 == key);
        &self.pairs[start..start + n]
    }

    /// The next unit that needs `key`, when `released` of its units no longer need it and work on all units up to `latest`
    /// has begun. 0 where one of those still uses it, `u32::MAX` where no unit is left.
    pub(super) fn next_unit(&self, key: BlockKey, released: usize, latest: u32) -> u32 {
        let units = self.units(key);
        let begun = units.partition_point(|p| p.1 <= latest);
        if released < begun {
            0
        } else {
            units.get(begun).map_or(u32::MAX, |p| p.1)
        }
    }
}

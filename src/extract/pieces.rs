//! Pieces of a shard: runs of consecutive samples, each of which one thread cuts and encodes. They are written in order.

use std::ops::Range;

use crate::dataset::{Layout, ShardId};

/// Most bytes of the windows of a piece that has more than one sample. Large enough that the work between two pieces does not
/// count, and small enough that a thread's buffers stay in its core's cache, and that one shard has pieces for many threads.
const PIECE_BYTES: u64 = 512 << 10;

/// How the samples of a shard are divided into pieces. It depends on the layout alone, so that sums of floating point
/// numbers are equal for any number of threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces {
    samples: usize,
    per_piece: usize,
}

impl Pieces {
    /// The pieces of a shard.
    pub fn of(layout: &Layout, id: ShardId) -> Self {
        let samples = layout.samples(id);
        Self {
            samples: (samples.end - samples.start) as usize,
            per_piece: samples_per_piece(layout.sample_bytes(id.array)) as usize,
        }
    }

    /// Number of pieces.
    pub fn count(self) -> usize {
        self.samples.div_ceil(self.per_piece)
    }

    /// The samples of a piece, by position in the shard.
    pub fn samples(self, piece: usize) -> Range<usize> {
        let start = piece * self.per_piece;
        start..self.samples.min(start + self.per_piece)
    }
}

/// Most bytes of a piece of the array, with what aligns its samples.
pub(super) fn piece_bytes(layout: &Layout, array: usize) -> u64 {
    let sample_bytes = layout.sample_bytes(array);
    let gap = layout.arrays[array].codec.align_bytes.unwrap_or(0);
    let aligned = sample_bytes.saturating_add(u64::from(gap));
    let of_shards = layout.splits.iter().map(|split| split.shard_samples);
    let of_shard = of_shards.max().unwrap_or(0);
    let samples = samples_per_piece(sample_bytes).min(of_shard);
    samples.saturating_mul(aligned)
}

fn samples_per_piece(sample_bytes: u64) -> u64 {
    (PIECE_BYTES / sample_bytes.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_every_sample_once_and_the_last_one_may_be_shorter() {
        let pieces = Pieces {
            samples: 10,
            per_piece: 4,
        };
        assert_eq!(pieces.count(), 3);
        let samples: Vec<_> = (0..3).map(|piece| pieces.samples(piece)).collect();
        assert_eq!(samples, [0..4, 4..8, 8..10]);
    }

    #[test]
    fn a_large_window_is_a_piece_and_small_ones_share_one() {
        assert_eq!(samples_per_piece(10 * PIECE_BYTES), 1);
        assert_eq!(samples_per_piece(PIECE_BYTES / 2), 2);
        assert_eq!(samples_per_piece(u64::MAX), 1);
        let small = samples_per_piece(1000) * 1000;
        assert!(small <= PIECE_BYTES && small > PIECE_BYTES - 1000);
    }
}

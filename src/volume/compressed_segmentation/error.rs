//! Errors of the decoder.

use crate::fault::{Fault, FaultKind};

/// Why a chunk cannot be decoded. The caller adds the chunk's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressedSegmentationError {
    /// Labels have 4 or 8 bytes.
    #[error("found labels of {found} bytes, expected 4 or 8")]
    LabelBytes {
        /// Bytes per label.
        found: usize,
    },
    /// The shape or block size is invalid.
    #[error(
        "a chunk of {shape:?} voxels and {channels} channels in blocks of {block:?} is invalid: {why}"
    )]
    Shape {
        /// Voxels along x, y, z.
        shape: [usize; 3],
        /// Number of channels.
        channels: usize,
        /// Voxels of a block along x, y, z.
        block: [usize; 3],
        /// What is wrong with it.
        why: &'static str,
    },
    /// The length is not a multiple of 4.
    #[error("found {found_bytes} bytes, expected a multiple of 4")]
    NotWords {
        /// Length of the data.
        found_bytes: usize,
    },
    /// The data is shorter than its headers.
    #[error(
        "found {found_bytes} bytes, but the headers of channel {channel} end at byte {expected_bytes}: \
         the chunk is truncated, or its shape or block size differs from the info file"
    )]
    Headers {
        /// Channel, from 0.
        channel: usize,
        /// Length of the data.
        found_bytes: usize,
        /// Where the headers end.
        expected_bytes: u64,
    },
    /// No such width exists.
    #[error(
        "block {block:?} of channel {channel} has indices of {found} bits, expected 0, 1, 2, 4, 8, 16 or 32"
    )]
    Bits {
        /// Channel, from 0.
        channel: usize,
        /// Position in the grid of blocks, x, y, z.
        block: [usize; 3],
        /// Bits per index.
        found: u32,
    },
    /// A block's indices extend past the end of the data.
    #[error(
        "the indices of block {block:?} of channel {channel} end at byte {expected_bytes}, but the chunk has {found_bytes}"
    )]
    Indices {
        /// Channel, from 0.
        channel: usize,
        /// Position in the grid of blocks, x, y, z.
        block: [usize; 3],
        /// Length of the data.
        found_bytes: usize,
        /// Where the indices end.
        expected_bytes: u64,
    },
    /// An index points past the end of the data.
    #[error(
        "block {block:?} of channel {channel} uses entry {index} of its table at byte {table_byte}, \
         but at most {entries} entries fit before the end of the chunk"
    )]
    Table {
        /// Channel, from 0.
        channel: usize,
        /// Position in the grid of blocks, x, y, z.
        block: [usize; 3],
        /// The index.
        index: u32,
        /// Offset of the table.
        table_byte: u64,
        /// Number of entries that fit before the end.
        entries: usize,
    },
}

impl Fault for CompressedSegmentationError {
    fn kind(&self) -> FaultKind {
        FaultKind::Data
    }
}

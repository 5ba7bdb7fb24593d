//! What can be wrong with a volume.

use super::compressed_segmentation::CompressedSegmentationError;
use crate::neuroglancer::ShardError;
use crate::storage::{DocumentError, StorageError};

/// Why a volume cannot be opened or a block of it cannot be had. Every message names the file or URL.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The format is not read.
    #[error(
        "the volume at {location} has the format `{format}`, which is not read; expected Neuroglancer `precomputed`"
    )]
    Format {
        /// Where it lies.
        location: String,
        /// The format that its URL names.
        format: String,
    },
    /// The info file could not be had.
    #[error(transparent)]
    Info(#[from] DocumentError),
    /// The info file says something that cannot be or is not read.
    #[error("{object}: at `{path}`: {problem}")]
    BadInfo {
        /// The info file.
        object: String,
        /// The field.
        path: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// No scale has the wanted resolution.
    #[error(
        "{object} has no scale of {wanted}; its scales are {available}: change `resolution` in the config, or the layer"
    )]
    NoScale {
        /// The info file.
        object: String,
        /// The resolution asked for.
        wanted: String,
        /// Those that there are.
        available: String,
    },
    /// A chunk could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A chunk could not be had from its shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A chunk is damaged.
    #[error("the chunk {object} cannot be decoded: {problem}")]
    Chunk {
        /// Path or URL of the chunk.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A compressed_segmentation chunk is damaged.
    #[error("the chunk {object} cannot be decoded")]
    CompressedSegmentation {
        /// Path or URL of the chunk.
        object: String,
        /// What was found and what was expected.
        source: CompressedSegmentationError,
    },
}

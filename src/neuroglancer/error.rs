//! Errors of shards. Every message names the shard file.

use std::sync::Arc;

use crate::fault::{Fault, FaultKind};
use crate::storage::StorageError;

/// Why a chunk cannot be read from a shard.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The shard file cannot be read, or is shorter than its index says.
    #[error("{what} cannot be read{hint}")]
    Read {
        /// What was read: an index or a chunk, and its shard file.
        what: String,
        /// A likely cause, or nothing.
        hint: &'static str,
        /// The cause.
        source: StorageError,
    },
    /// An index is invalid.
    #[error("{what} is damaged: {problem}{hint}")]
    Index {
        /// The index, and its shard file.
        what: String,
        /// What was found and what was expected.
        problem: String,
        /// A likely cause, or nothing.
        hint: &'static str,
    },
    /// The error of an earlier read. An index that cannot be read is not requested again.
    #[error(transparent)]
    Known(Arc<ShardError>),
    /// A chunk is larger than the limit.
    #[error(
        "{what} has {found_bytes} bytes according to the shard's index, expected at most {limit_bytes}"
    )]
    TooLarge {
        /// The chunk, and its shard file.
        what: String,
        /// Its size.
        found_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}

impl ShardError {
    /// The size of the chunk, if it is larger than the limit.
    pub(crate) fn too_large(&self) -> Option<u64> {
        match self {
            Self::TooLarge { found_bytes, .. } => Some(*found_bytes),
            _ => None,
        }
    }

    /// Whether the read was cancelled because of an error elsewhere.
    pub(crate) fn is_stopped(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.is_stopped(),
            Self::Known(known) => known.is_stopped(),
            _ => false,
        }
    }
}

impl Fault for ShardError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } => source.kind(),
            Self::Known(known) => known.kind(),
            Self::Index { .. } | Self::TooLarge { .. } => FaultKind::Data,
        }
    }
}

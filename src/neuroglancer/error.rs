//! Why a chunk cannot be had from a shard. Every message names the shard file.

use std::sync::Arc;

use crate::fault::{Fault, FaultKind};
use crate::storage::StorageError;

/// Why a chunk cannot be had from a shard.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The shard file could not be read, or ends before what its index says is in it.
    #[error("{what} cannot be read{hint}")]
    Read {
        /// What was read: an index or a chunk, and the shard file that it is in.
        what: String,
        /// What may be behind it, or nothing.
        hint: &'static str,
        /// What is wrong.
        source: StorageError,
    },
    /// An index says what cannot be.
    #[error("{what} is damaged: {problem}{hint}")]
    Index {
        /// The index, and the shard file that it is in.
        what: String,
        /// What was found and what was expected.
        problem: String,
        /// What may be behind it, or nothing.
        hint: &'static str,
    },
    /// What was told before: an index that could not be read is not asked for again.
    #[error(transparent)]
    Known(Arc<ShardError>),
    /// A chunk is larger than what can be right.
    #[error(
        "{what} has {found_bytes} bytes by the shard's index, more than the {limit_bytes} that it may have"
    )]
    TooLarge {
        /// The chunk, and the shard file that it is in.
        what: String,
        /// Its size.
        found_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}

impl ShardError {
    /// The size of a chunk that is larger than it may be.
    pub(crate) fn too_large(&self) -> Option<u64> {
        match self {
            Self::TooLarge { found_bytes, .. } => Some(*found_bytes),
            _ => None,
        }
    }

    /// Whether it follows from a failure elsewhere.
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

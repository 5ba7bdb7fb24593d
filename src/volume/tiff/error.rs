//! Errors of TIFF files.

use crate::fault::{Fault, FaultKind};
use crate::storage::StorageError;

/// Why a TIFF file, or a folder of them, cannot be read. Every message names the file or the folder.
#[derive(Debug, thiserror::Error)]
pub enum TiffError {
    /// It does not exist.
    #[error("{object} does not exist; expected a TIFF file, or a folder of them: check the path")]
    Missing {
        /// The file or folder.
        object: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not a TIFF file, or it is damaged.
    #[error("{object} cannot be read as TIFF: {problem}")]
    Damaged {
        /// The file, and the page in it.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// It has something that is not supported.
    #[error("{object}: {problem}")]
    Unsupported {
        /// The file, and the page in it.
        object: String,
        /// What was found, and what to do.
        problem: String,
    },
    /// The files or pages are no stack of sections.
    #[error("{object}: {problem}")]
    NoStack {
        /// The folder or file.
        object: String,
        /// What was found, what was expected, and what to do.
        problem: String,
    },
}

impl TiffError {
    /// Whether the read was cancelled because of an error elsewhere.
    pub(in crate::volume) fn is_stopped(&self) -> bool {
        matches!(self, Self::Storage(e) if e.is_stopped())
    }
}

impl Fault for TiffError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Storage(e) => e.kind(),
            Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Unsupported { .. }
            | Self::NoStack { .. } => FaultKind::Data,
        }
    }
}

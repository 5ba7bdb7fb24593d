//! Why the demo could not be written.

use std::path::PathBuf;

use crate::fault::{Fault, FaultKind};

/// Why the demo could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A folder could not be created.
    #[error("cannot create the folder {}", path.display())]
    CreateDir {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The folder contains other files.
    #[error("{} is not empty, and its {} is not the file of this demo; nothing was changed. Choose another folder, or move {} away to write the demo again", folder.display(), file.display(), folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The first file, relative to it, that is missing or different.
        file: PathBuf,
    },
    /// A chunk could not be compressed.
    #[error("cannot compress {}", path.display())]
    Compress {
        /// The chunk's file.
        path: PathBuf,
        /// The error of the compressor.
        source: libdeflater::CompressionError,
    },
}

impl Fault for DemoError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::CreateDir { source, .. } | Self::Write { source, .. } => {
                FaultKind::of_write(source)
            }
            Self::Read { source, .. } => FaultKind::of_read(source),
            Self::Foreign { .. } => FaultKind::Usage,
            Self::Compress { .. } => FaultKind::Data,
        }
    }
}

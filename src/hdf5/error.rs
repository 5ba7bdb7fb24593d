//! Errors of HDF5 files.

use hdf5_reader::error::Error as LibraryError;

use crate::fault::{Fault, FaultKind};
use crate::storage::StorageError;

/// HDF5's number of the layout of virtual datasets.
const VIRTUAL_LAYOUT: u8 = 3;

/// Why an HDF5 file cannot be read. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum Hdf5Error {
    /// It does not exist.
    #[error("{object} does not exist; expected an HDF5 file: check the path")]
    Missing {
        /// The file.
        object: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not an HDF5 file, or it is damaged.
    #[error("{object} cannot be read as HDF5: {problem}")]
    Damaged {
        /// The file, and the object in it.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// It has something that is not supported.
    #[error("{object}: {problem}")]
    Unsupported {
        /// The file, and the object in it.
        object: String,
        /// What was found, and what to do.
        problem: String,
    },
    /// The file has no such dataset.
    #[error("{file} has no dataset {path}{known}")]
    NoDataset {
        /// The file.
        file: String,
        /// The path of the dataset.
        path: String,
        /// The datasets that it has.
        known: String,
    },
    /// The dataset is in another file.
    #[error(
        "{object} is a link to the file {file:?}, and links to files are not followed; use the dataset in that file as the source"
    )]
    ExternalLink {
        /// The link.
        object: String,
        /// The file, as the link names it.
        file: String,
    },
    /// The file has several volumes, and the source names none of them.
    #[error("{file} has several volumes; expected one of them as the source: {choices}")]
    SeveralVolumes {
        /// The file.
        file: String,
        /// Their sources.
        choices: String,
    },
    /// The file has no volume.
    #[error(
        "{file} has no volume: found no dataset of numbers with 3 or 4 dimensions; check the path"
    )]
    NoVolume {
        /// The file.
        file: String,
    },
    /// The index of a dataset's chunks needs too much memory.
    #[error(
        "{object} has up to {chunks} chunks, whose index needs {needed_bytes} bytes of memory, more than {limit}: write it with larger chunks (`h5repack -l`), or use a larger --memory"
    )]
    TooManyChunks {
        /// The dataset.
        object: String,
        /// The number of chunks.
        chunks: u64,
        /// Memory for their index.
        needed_bytes: u64,
        /// The limit.
        limit: String,
    },
}

impl Hdf5Error {
    /// The error of the library about `object`.
    pub(super) fn of_library(object: &str, error: LibraryError) -> Self {
        let object = object.to_owned();
        match error {
            LibraryError::Context { source, .. } => Self::of_library(&object, *source),
            // The errors of our own storage.
            LibraryError::Io(io) => match io.downcast::<StorageError>() {
                Ok(storage) => Self::Storage(storage),
                Err(other) => Self::Damaged {
                    object,
                    problem: other.to_string(),
                },
            },
            LibraryError::UnsupportedLayoutClass(VIRTUAL_LAYOUT) => Self::Unsupported {
                object,
                problem: "it is a virtual dataset, whose values are in other datasets; use those as sources, or copy its values into a new dataset (`f[\"copy\"] = f[\"virtual\"][...]` in h5py)"
                    .to_owned(),
            },
            LibraryError::InvalidMagic => Self::Damaged {
                object,
                problem: "found no HDF5 signature; check the path, and that the file is complete".to_owned(),
            },
            other => Self::Damaged {
                object,
                problem: other.to_string(),
            },
        }
    }

    /// Whether the problem is one of a dataset, not of its file or of the machine.
    pub(crate) fn is_of_dataset(&self) -> bool {
        !matches!(self, Self::Storage(_) | Self::Missing { .. })
    }

    /// Whether the read was cancelled because of an error elsewhere.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Storage(e) if e.is_stopped())
    }
}

impl Fault for Hdf5Error {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Storage(e) => e.kind(),
            Self::SeveralVolumes { .. } | Self::NoDataset { .. } | Self::ExternalLink { .. } => {
                FaultKind::Usage
            }
            Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Unsupported { .. }
            | Self::NoVolume { .. }
            | Self::TooManyChunks { .. } => FaultKind::Data,
        }
    }
}

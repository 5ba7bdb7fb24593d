//! Why no config can be drafted.

use crate::collection::CollectionError;
use crate::fault::{Fault, FaultKind};
use crate::hdf5::Hdf5Error;
use crate::neuroglancer::viewer_state::StateError;
use crate::storage::{LocationError, StorageError};

/// Why no config can be drafted.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The collection cannot be read.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// The viewer state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A source is not understood.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A folder cannot be listed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An HDF5 file cannot be read.
    #[error(transparent)]
    Hdf5(#[from] Hdf5Error),
    /// The source does not exist.
    #[error(
        "{source_name} does not exist; expected a viewer state, a collection file, a layer, or a folder of layers: check the path"
    )]
    Missing {
        /// The source.
        source_name: String,
    },
    /// A file is neither a viewer state nor a collection.
    #[error(
        "{file} is neither a viewer state nor a collection\n  as a viewer state: {state}\n  as a collection: {collection}"
    )]
    Neither {
        /// The file.
        file: String,
        /// Why it is not a viewer state.
        state: String,
        /// Why it is not a collection.
        collection: String,
    },
    /// A folder holds nothing that can be used.
    #[error(
        "{folder} holds no collection.json and no layer; expected subfolders with info, zarr.json, .zarray, .zgroup or attributes.json, or tables (*.csv, *.tsv, *.parquet, *.feather, *.arrow): check the path"
    )]
    NoLayer {
        /// The folder.
        folder: String,
    },
    /// A folder on a server cannot be listed.
    #[error(
        "{folder} is neither a layer nor a collection, and folders on http(s) servers cannot be listed; give its layers one by one: `pointshard init URL/img URL/seg URL/points`"
    )]
    NoListing {
        /// The folder.
        folder: String,
    },
    /// The bounds of the volumes are not numbers.
    #[error(
        "no boxes were found, and the volumes have no finite bounds to invent one; give a collection"
    )]
    NoExtent,
    /// No layer is a volume.
    #[error(
        "none of the layers of {source_name} is a volume that can be read; if a volume only lacks its voxel size, give it with --resolution X Y Z (nm):{}",
        lines(problems)
    )]
    NoVolume {
        /// The source.
        source_name: String,
        /// Each layer, and why.
        problems: Vec<String>,
    },
}

fn lines(problems: &[String]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

impl Fault for InitError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Collection(e) => e.kind(),
            Self::State(e) => e.kind(),
            Self::Location(e) => e.kind(),
            Self::Storage(e) => e.kind(),
            Self::Hdf5(e) => e.kind(),
            Self::Missing { .. } | Self::NoLayer { .. } | Self::NoListing { .. } => {
                FaultKind::Usage
            }
            Self::Neither { .. } | Self::NoExtent | Self::NoVolume { .. } => FaultKind::Data,
        }
    }
}

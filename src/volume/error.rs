//! Errors of volumes.

use std::error::Error;

use super::compressed_segmentation::CompressedSegmentationError;
use super::tiff::TiffError;
use crate::data_type::DataType;
use crate::fault::{Fault, FaultKind};
use crate::geometry::{Resolution, TransformError};
use crate::hdf5::Hdf5Error;
use crate::neuroglancer::ShardError;
use crate::storage::{DocumentError, StorageError, redacted_source};

/// Why a volume cannot be opened, or a block cannot be read. Every message names the file or URL.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The format is not supported.
    #[error(
        "the volume at {location} has the format `{format}`, which is not supported; expected `precomputed`, `zarr` (or `zarr2`, `zarr3`), `n5`, `hdf5` or `tiff`"
    )]
    Format {
        /// The volume's location.
        location: String,
        /// The format in its URL.
        format: String,
    },
    /// The segmentation of a PyChunkedGraph has no table of roots.
    #[error(
        "the layer at {location} is the segmentation of a PyChunkedGraph (`graphene`), whose voxels are supervoxels{}: add a table of the \
         supervoxels and their roots to the config, \"layers\": {{ NAME: {{ \"roots\": {{ \"file\": PATH }} }} }}",
        in_data_dir(data_dir.as_deref())
    )]
    GrapheneWithoutRoots {
        /// The layer's location.
        location: String,
        /// The supervoxels' layer, if the info can be read.
        data_dir: Option<String>,
    },
    /// The info of a PyChunkedGraph cannot be read.
    #[error(
        "the layer at {location} is the segmentation of a PyChunkedGraph (`graphene`), and its info, which names the layer of \
         supervoxels, cannot be read: {problem}; set `layers.NAME.roots.data_dir` in the config to the `data_dir` in the info"
    )]
    GrapheneInfo {
        /// The layer's location.
        location: String,
        /// Why it cannot be read.
        problem: Box<VolumeError>,
    },
    /// There is no info of a PyChunkedGraph.
    #[error("{object} does not exist")]
    NoGrapheneInfo {
        /// The info.
        object: String,
    },
    /// Only volumes of `uint64` have roots.
    #[error(
        "{location} has the type {data_type}, and the config's `layers` sets `roots` for it, which expects supervoxels of type uint64"
    )]
    RootsOfType {
        /// The volume.
        location: String,
        /// The type of its values.
        data_type: DataType,
    },
    /// A supervoxel has no root.
    #[error(
        "the supervoxel {supervoxel} in {place} has no row in {table}: add its root to the table, or set `layers.NAME.roots.missing` in \
         the config to \"keep\" or \"zero\""
    )]
    NoRoot {
        /// The supervoxel.
        supervoxel: u64,
        /// The chunk.
        place: String,
        /// The table.
        table: String,
    },
    /// The table of roots cannot be read.
    #[error(
        "the table in `layers.NAME.roots` of the config, with the roots of the supervoxels of {location}, cannot be read"
    )]
    Roots {
        /// The layer.
        location: String,
        /// Why the table cannot be read.
        source: Box<dyn Error + Send + Sync>,
        /// What is at fault.
        kind: FaultKind,
    },
    /// The source is a viewer state with annotations.
    #[error(
        "{location} is a layer of annotations inside a viewer state; `arrays.NAME.layer` expects a volume (image or \
         labels); use annotations in `points.layer` or as the layer of boxes"
    )]
    Annotations {
        /// The viewer state.
        location: String,
    },
    /// The folder contains no known metadata document.
    #[error(
        "{location} contains no supported volume: found none of info (precomputed), zarr.json, .zarray, .zgroup, .zattrs or .zmetadata (Zarr), attributes.json (N5), it has no TIFF files, and it is not an HDF5 file; check the path{hint}"
    )]
    NoVolume {
        /// The folder or URL.
        location: String,
        /// What may be meant.
        hint: String,
    },
    /// The config sets what the info file defines.
    #[error(
        "the config's `layers` sets `resolution`, `voxel_offset` or `axes` for the precomputed volume at {location}, whose info file defines them; remove them from the config"
    )]
    RedundantLayerConfig {
        /// The volume's location.
        location: String,
    },
    /// The metadata does not define enough.
    #[error(
        "{object} {missing}; set it in the config's `layers`, under the layer's name: {example}"
    )]
    Incomplete {
        /// The array.
        object: String,
        /// What is not defined.
        missing: String,
        /// What to add to the config.
        example: String,
    },
    /// The metadata of a layer with a known name does not define enough.
    #[error("{object} {missing}; set it in the config: \"layers\": {{ {layer:?}: {example} }}")]
    LayerIncomplete {
        /// The array.
        object: String,
        /// What is not defined.
        missing: String,
        /// The layer's name in the config.
        layer: String,
        /// What to add to the config.
        example: String,
    },
    /// The metadata document cannot be read.
    #[error(transparent)]
    Info(#[from] DocumentError),
    /// The metadata is invalid or not supported.
    #[error("{object}: at `{path}`: {problem}")]
    InvalidMetadata {
        /// The metadata document.
        object: String,
        /// The field.
        path: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The info file describes something other than a volume.
    #[error("{object}: at `{path}`: {problem}")]
    NotAVolume {
        /// The info file.
        object: String,
        /// The field that defines the kind.
        path: &'static str,
        /// What it is.
        problem: String,
    },
    /// No scale has the wanted resolution.
    #[error(
        "{object} has no scale of {wanted}; its scales are {}: {}",
        list(available),
        describe_choice(wanted, available, *config_may_set)
    )]
    NoScale {
        /// The metadata document.
        object: String,
        /// The requested resolution.
        wanted: Resolution,
        /// The existing resolutions.
        available: Vec<Resolution>,
        /// Whether `layers.NAME.resolution` in the config may set the resolution.
        config_may_set: bool,
    },
    /// The viewer state's transform cannot be applied to voxels.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// A chunk could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An HDF5 file cannot be read.
    #[error(transparent)]
    Hdf5(#[from] Hdf5Error),
    /// A TIFF file cannot be read.
    #[error(transparent)]
    Tiff(#[from] TiffError),
    /// A chunk cannot be read from its shard.
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
    /// A `compressed_segmentation` chunk is damaged.
    #[error("the chunk {object} cannot be decoded")]
    CompressedSegmentation {
        /// Path or URL of the chunk.
        object: String,
        /// What was found and what was expected.
        source: CompressedSegmentationError,
    },
}

impl VolumeError {
    /// Adds the name of the layer to the message.
    pub(crate) fn of_layer(self, name: &str) -> Self {
        match self {
            Self::Incomplete {
                object,
                missing,
                example,
            } => Self::LayerIncomplete {
                object,
                missing,
                layer: name.to_owned(),
                example,
            },
            other => other,
        }
    }

    /// Whether the read was cancelled because of an error elsewhere.
    pub(crate) fn is_stopped(&self) -> bool {
        match self {
            Self::Storage(e) => e.is_stopped(),
            Self::Info(e) => e.is_stopped(),
            Self::Shard(e) => e.is_stopped(),
            Self::Hdf5(e) => e.is_stopped(),
            Self::Tiff(e) => e.is_stopped(),
            _ => false,
        }
    }

    /// Whether the server denies access with these credentials.
    pub(crate) fn is_access_denied(&self) -> bool {
        matches!(self, Self::Storage(e) if matches!(e.status(), Some(401 | 403)))
    }

    /// The requested resolution and the existing ones, if no scale has the requested one, and whether `layers.NAME.resolution`
    /// in the config may set it.
    pub(crate) fn missing_scale(&self) -> Option<(Resolution, &[Resolution], bool)> {
        match self {
            Self::NoScale {
                wanted,
                available,
                config_may_set,
                ..
            } => Some((*wanted, available, *config_may_set)),
            _ => None,
        }
    }

    /// Whether the info file describes something other than a volume.
    pub(crate) fn is_not_a_volume(&self) -> bool {
        matches!(self, Self::NotAVolume { .. })
    }
}

/// Where the supervoxels are, for a message.
fn in_data_dir(data_dir: Option<&str>) -> String {
    data_dir.map_or_else(String::new, |data_dir| {
        format!(" (in {})", redacted_source(data_dir))
    })
}

/// What to do about a missing scale.
fn describe_choice(wanted: &Resolution, available: &[Resolution], config_may_set: bool) -> String {
    let Some(reordered) = available.iter().find(|scale| scale.is_reordered(wanted)) else {
        return "use one of these in the config, or change the layer".to_owned();
    };
    let metadata = if config_may_set {
        "set `layers.NAME.resolution` in the config if those of the layer are wrong"
    } else {
        "correct the layer if its metadata are wrong"
    };
    format!(
        "{:?} are the same numbers in another order. Resolutions in the config are x y z: correct the config if it has another order, or {metadata}",
        reordered.nm()
    )
}

fn list(resolutions: &[Resolution]) -> String {
    // In the config's syntax.
    let texts: Vec<_> = resolutions
        .iter()
        .map(|r| format!("{:?}", r.nm()))
        .collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(", ")
    }
}

impl Fault for VolumeError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Info(e) => e.kind(),
            Self::Transform(e) => e.kind(),
            Self::Storage(e) => e.kind(),
            Self::Shard(e) => e.kind(),
            Self::Hdf5(e) => e.kind(),
            Self::Tiff(e) => e.kind(),
            Self::CompressedSegmentation { source, .. } => source.kind(),
            Self::Roots { kind, .. } => *kind,
            Self::GrapheneInfo { problem, .. } => problem.kind(),
            Self::GrapheneWithoutRoots { .. } | Self::RootsOfType { .. } => FaultKind::Usage,
            Self::RedundantLayerConfig { .. } | Self::LayerIncomplete { .. } => FaultKind::Usage,
            Self::Format { .. }
            | Self::Annotations { .. }
            | Self::NoVolume { .. }
            | Self::Incomplete { .. }
            | Self::InvalidMetadata { .. }
            | Self::NotAVolume { .. }
            | Self::NoScale { .. }
            | Self::NoGrapheneInfo { .. }
            | Self::NoRoot { .. }
            | Self::Chunk { .. } => FaultKind::Data,
        }
    }
}

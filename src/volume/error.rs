//! What can be wrong with a volume.

use super::compressed_segmentation::CompressedSegmentationError;
use crate::fault::{Fault, FaultKind};
use crate::geometry::{Resolution, TransformError};
use crate::neuroglancer::ShardError;
use crate::storage::{DocumentError, StorageError};

/// Why a volume cannot be opened or a block of it cannot be had. Every message names the file or URL.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The format is not read.
    #[error(
        "the volume at {location} has the format `{format}`, which is not read; expected `precomputed`, `zarr` (or `zarr2`, `zarr3`) or `n5`"
    )]
    Format {
        /// Where it lies.
        location: String,
        /// The format that its URL names.
        format: String,
    },
    /// What is named are annotations of a viewer state.
    #[error(
        "{location} holds annotations, which a viewer state itself stores; `arrays.NAME.layer` expects a volume (image or \
         labels), `points.layer` and the layer of boxes annotations"
    )]
    Annotations {
        /// The state.
        location: String,
    },
    /// Nothing there says which format it is.
    #[error(
        "{location} holds no volume that is read: found none of info (precomputed), zarr.json, .zarray, .zgroup, .zattrs or .zmetadata (Zarr), attributes.json (N5); check the path"
    )]
    NoVolume {
        /// The folder or URL.
        location: String,
    },
    /// The config says of a layer what its source says itself.
    #[error(
        "the config's `layers` has `resolution`, `voxel_offset` or `axes` for the precomputed volume at {location}, whose info file says them; remove them there"
    )]
    RedundantLayerConfig {
        /// Where it lies.
        location: String,
    },
    /// The source says too little about itself.
    #[error("{object} {lacks}; say it in the config's `layers`, under the layer's name: {example}")]
    Incomplete {
        /// The array.
        object: String,
        /// What is not known.
        lacks: String,
        /// What to add to the config.
        example: &'static str,
    },
    /// The source of a layer, whose name is known here, says too little about itself.
    #[error("{object} {lacks}; say it in the config: \"layers\": {{ {layer:?}: {example} }}")]
    LayerIncomplete {
        /// The array.
        object: String,
        /// What is not known.
        lacks: String,
        /// The layer's name in the config.
        layer: String,
        /// What to add to the config.
        example: &'static str,
    },
    /// The info file could not be had.
    #[error(transparent)]
    Info(#[from] DocumentError),
    /// The info file says something that cannot be or is not read.
    #[error("{object}: at `{path}`: {problem}")]
    InvalidMetadata {
        /// The info file.
        object: String,
        /// The field.
        path: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// It is no volume, but something else that has an info file.
    #[error("{object}: at `{path}`: {problem}")]
    NotAVolume {
        /// The info file.
        object: String,
        /// The field that says what it is.
        path: &'static str,
        /// What it is.
        problem: String,
    },
    /// No scale has the wanted resolution.
    #[error(
        "{object} has no scale of {wanted}; its scales are {}: name one of these in the config, or change the layer",
        list(available)
    )]
    NoScale {
        /// The info file.
        object: String,
        /// The resolution asked for.
        wanted: Resolution,
        /// Those that there are.
        available: Vec<Resolution>,
    },
    /// What a viewer state does to the layer cannot be done to voxels.
    #[error(transparent)]
    Transform(#[from] TransformError),
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

impl VolumeError {
    /// The error, which is one of the layer of that name.
    pub(crate) fn of_layer(self, name: &str) -> Self {
        match self {
            Self::Incomplete {
                object,
                lacks,
                example,
            } => Self::LayerIncomplete {
                object,
                lacks,
                layer: name.to_owned(),
                example,
            },
            other => other,
        }
    }

    /// Whether it follows from a failure elsewhere.
    pub(crate) fn is_stopped(&self) -> bool {
        match self {
            Self::Storage(e) => e.is_stopped(),
            Self::Info(e) => e.is_stopped(),
            Self::Shard(e) => e.is_stopped(),
            _ => false,
        }
    }

    /// Whether a server does not let us read it with these credentials.
    pub(crate) fn is_access_denied(&self) -> bool {
        matches!(self, Self::Storage(e) if matches!(e.status(), Some(401 | 403)))
    }

    /// The resolution that no scale has, and those that the scales have.
    pub(crate) fn missing_scale(&self) -> Option<(Resolution, &[Resolution])> {
        match self {
            Self::NoScale {
                wanted, available, ..
            } => Some((*wanted, available)),
            _ => None,
        }
    }

    /// Whether it is no volume, but something else that has an info file.
    pub(crate) fn is_not_a_volume(&self) -> bool {
        matches!(self, Self::NotAVolume { .. })
    }
}

fn list(resolutions: &[Resolution]) -> String {
    // As a config would write them.
    let texts = resolutions.iter().map(|r| format!("{:?}", r.nm()));
    let texts: Vec<_> = texts.collect();
    match texts.is_empty() {
        true => "none".to_owned(),
        false => texts.join(", "),
    }
}

impl Fault for VolumeError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Info(e) => e.kind(),
            Self::Transform(e) => e.kind(),
            Self::Storage(e) => e.kind(),
            Self::Shard(e) => e.kind(),
            Self::CompressedSegmentation { source, .. } => source.kind(),
            Self::RedundantLayerConfig { .. } | Self::LayerIncomplete { .. } => FaultKind::Usage,
            Self::Format { .. }
            | Self::Annotations { .. }
            | Self::NoVolume { .. }
            | Self::Incomplete { .. }
            | Self::InvalidMetadata { .. }
            | Self::NotAVolume { .. }
            | Self::NoScale { .. }
            | Self::Chunk { .. } => FaultKind::Data,
        }
    }
}

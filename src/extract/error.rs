//! Why shards cannot be written.

use crate::dataset::DatasetError;
use crate::fault::{Fault, FaultKind};
use crate::geometry::Resolution;
use crate::volume::VolumeError;

/// Why shards could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// A layer could not be opened or read.
    #[error("cannot read the layer `{layer}`")]
    Layer {
        /// Its name in the config.
        layer: String,
        /// Why.
        source: VolumeError,
    },
    /// A layer has no scale of the config's resolution.
    #[error("at `{path}` of the config: the layer `{layer}` has no scale of {wanted}: {remedy}")]
    NoScale {
        /// JSON path of the resolution in the config.
        path: String,
        /// Its name in the config.
        layer: String,
        /// That resolution.
        wanted: Resolution,
        /// What to write.
        remedy: String,
        /// Which scales there are.
        source: VolumeError,
    },
    /// The boxes' layers do not fit in one array.
    #[error(
        "the array `{array}` would mix {first} with {second}: use layer groups with layers of one kind, or another collection"
    )]
    MixedTypes {
        /// The array.
        array: String,
        /// A volume, its type and channels.
        first: String,
        /// Another one.
        second: String,
    },
    /// An array's transform does not fit the layer.
    #[error("at `arrays.{array}` of the config: it cannot be made of {volume}: {problem}")]
    Transform {
        /// The array.
        array: String,
        /// The volume, its type and channels.
        volume: String,
        /// What was found and expected.
        problem: String,
    },
    /// A value that the array's type cannot hold.
    #[error(
        "the window of annotation {annotation_id} in the array `{array}`, layer `{layer}`: {problem}: choose another `dtype` or `transform`"
    )]
    Value {
        /// The array.
        array: String,
        /// The sample's annotation.
        annotation_id: u64,
        /// The layer's name in the config.
        layer: String,
        /// The value and the type.
        problem: String,
    },
    /// A chunk is not stored, and the config says that this is an error.
    #[error(
        "the chunk {chunk} of the layer `{layer}` is not stored, and the config has \"missing\": \"error\"; with \"zeros\" it would read as the fill value"
    )]
    MissingChunk {
        /// The layer's name in the config.
        layer: String,
        /// Path or URL of the chunk.
        chunk: String,
    },
    /// No chunk is stored at any point in which an object is looked for.
    #[error(
        "the layer `{layer}`: none of the chunks at the points of {samples} sample(s), where `arrays.{array}.transform.object_at` looks for objects, is stored in {location}, for example {chunk}: the path or the resolution is probably wrong, or the layer is empty there. All of these samples would have been dropped as no_object; correct the layer, keep them with \"missing\": \"keep\", or allow it with `layers.{layer}.empty`: \"allow\""
    )]
    NoChunkAtPoints {
        /// The array.
        array: String,
        /// The layer's name in the config.
        layer: String,
        /// Where the volume lies.
        location: String,
        /// Samples whose object was looked for there.
        samples: u64,
        /// Path or URL of a chunk.
        chunk: String,
    },
    /// The memory limit is too small for the job.
    #[error("--memory {limit} is too little: with {threads} thread(s) this job needs at least {needed}; use fewer --threads, smaller windows or a smaller `radius_nm`, or allow more", limit = bytesize::ByteSize(*limit_bytes), needed = bytesize::ByteSize(*needed_bytes))]
    Memory {
        /// The limit.
        limit_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
        /// Number of threads.
        threads: usize,
    },
    /// The system gave no thread.
    #[error(
        "the system refuses another thread: allow more processes (`ulimit -u`), or use fewer --threads"
    )]
    Thread(#[source] std::io::Error),
    /// The output could not be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl ExtractError {
    /// Whether it follows from a failure elsewhere.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Layer { source, .. } if source.is_stopped())
    }
}

impl Fault for ExtractError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Layer { source, .. } => source.kind(),
            Self::Dataset(e) => e.kind(),
            Self::NoScale { .. } | Self::Transform { .. } | Self::Memory { .. } => FaultKind::Usage,
            Self::Thread(_) => FaultKind::Environment,
            Self::MixedTypes { .. }
            | Self::Value { .. }
            | Self::MissingChunk { .. }
            | Self::NoChunkAtPoints { .. } => FaultKind::Data,
        }
    }
}

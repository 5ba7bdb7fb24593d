//! Why shards cannot be written.

use crate::dataset::DatasetError;
use crate::fault::{Fault, FaultKind};
use crate::geometry::Resolution;
use crate::storage::enough;
use crate::volume::VolumeError;

/// Why shards could not be written.
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
    /// A shard that is written again would have other bytes.
    #[error(
        "{shard}{}, or its receipt, is missing or damaged, and would have other values than before if it was written again: the source of the layer `{layer}` has changed since, or another version of pointshard wrote the dataset. It stays as it is. Restore the source, or write a new dataset: to another folder, or with --force",
        match others { 0 => String::new(), n => format!(" (and {n} more)") }
    )]
    OtherBytes {
        /// Path of the shard in the dataset.
        shard: String,
        /// How many others there are.
        others: usize,
        /// The layer of its array.
        layer: String,
    },
    /// The URL of a layer was stored without its query.
    #[error(
        "the layer `{layer}`: its URL {location} has a query, which may be a secret, so that the stored plan does not have it: give the config again (`pointshard preprocess CONFIG --out OUT`)"
    )]
    RedactedSource {
        /// Its name in the config.
        layer: String,
        /// The URL as it is stored.
        location: String,
    },
    /// A layer has no scale of the config's resolution.
    #[error("at `{path}` of the config: the layer `{layer}` has no scale of {wanted}: {remedy}")]
    NoScale {
        /// JSON path of the resolution in the config.
        path: String,
        /// Its name in the config.
        layer: String,
        /// The resolution that the config names.
        wanted: Resolution,
        /// What to write instead.
        remedy: String,
        /// The scales that the layer has.
        source: VolumeError,
    },
    /// The boxes' layers do not fit in one array.
    #[error(
        "the array `{array}` would mix {first} with {second}: use layer groups whose layers have one type and number of channels, or another collection"
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
    #[error("at `arrays.{array}` of the config: it cannot be made from {volume}: {problem}")]
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
    /// A chunk is missing, and the config makes that an error.
    #[error(
        "the chunk {chunk} of the layer `{layer}` is missing, and the config has \"missing\": \"error\"; with \"zeros\" it reads as the fill value"
    )]
    MissingChunk {
        /// The layer's name in the config.
        layer: String,
        /// Path or URL of the chunk.
        chunk: String,
    },
    /// The chunks at all points where an object is looked up are missing.
    #[error(
        "the layer `{layer}`: `arrays.{array}.transform.object_at` looks up the objects of {samples} sample(s), but all chunks at their points are missing in {location}, for example {chunk}. The path or the resolution is probably wrong, or the layer is empty there. All of these samples would have been dropped as no_object. Correct the layer, keep the samples with \"missing\": \"keep\", or allow an empty layer with `layers.{layer}.empty`: \"allow\""
    )]
    NoChunkAtPoints {
        /// The array.
        array: String,
        /// The layer's name in the config.
        layer: String,
        /// Where the volume lies.
        location: String,
        /// Samples whose object was looked up there.
        samples: u64,
        /// Path or URL of a chunk.
        chunk: String,
    },
    /// The memory limit is too small for the job.
    #[error("--memory {limit} is too low: with {threads} thread(s) this job needs at least {needed}, {plan} of it for the plan; use fewer --threads, smaller windows, a smaller `radius_nm`, or more --memory", limit = bytesize::ByteSize(*limit_bytes), needed = enough(*needed_bytes), plan = bytesize::ByteSize(*plan_bytes))]
    Memory {
        /// The limit.
        limit_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
        /// What the samples, and the list of the chunks that they use, need of it.
        plan_bytes: u64,
        /// Number of threads.
        threads: usize,
    },
    /// The system could not start a thread.
    #[error(
        "the system cannot start another thread: allow more processes (`ulimit -u`), or use fewer --threads"
    )]
    Thread(#[source] std::io::Error),
    /// The process was asked to end.
    #[error(
        "the run was interrupted; finished shards are kept: run the same command again to continue"
    )]
    Interrupted,
    /// The output could not be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl ExtractError {
    /// Whether the work was stopped because other work failed.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Layer { source, .. } if source.is_stopped())
    }
}

impl Fault for ExtractError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Layer { source, .. } => source.kind(),
            Self::Dataset(e) => e.kind(),
            Self::NoScale { .. }
            | Self::RedactedSource { .. }
            | Self::Transform { .. }
            | Self::Memory { .. } => FaultKind::Usage,
            Self::Thread(_) | Self::Interrupted => FaultKind::Environment,
            Self::MixedTypes { .. }
            | Self::Value { .. }
            | Self::OtherBytes { .. }
            | Self::MissingChunk { .. }
            | Self::NoChunkAtPoints { .. } => FaultKind::Data,
        }
    }
}

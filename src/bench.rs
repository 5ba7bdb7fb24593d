//! Internals that the benchmarks of this package measure (feature `bench`). Not part of the public interface.

use crate::extract::Sources;
use crate::job::Job;
use crate::plan::Plan;

pub use crate::config::LayerConfig;
pub use crate::data_type::{DataType, Scalar};
pub use crate::dataset::{
    ArrayLayout, ArrayProvenance, BloscName, BloscShuffle, Codec, Layout, Output, Provenance,
    Receipt, SampleDecoder, SampleEncoder, SampleIndex, ShardFiles, ShardId, ShardWriter,
    WrittenShard, seal,
};
pub use crate::demo::write_collection;
pub use crate::geometry::{AxisOrder, Resolution, WindowSize};
pub use crate::loader::{ArrayNames, Augmentation, Flip, Loader, LoaderOptions};
pub use crate::select::map_windows;
pub use crate::storage::{Location, SourceUrl, Storage};
pub use crate::volume::{EncodedBlock, Volume, compressed_segmentation, open_layer, resolutions};
pub use crate::voxels::Statistics;

/// The plan, the volumes and the layout of a job.
pub fn parts(job: &Job) -> (&Plan, &Sources, &Layout) {
    (&job.plan, &job.sources, &job.layout)
}

//! Internals that the benchmarks of this package measure (feature `bench`). Not part of the public interface.

use std::path::Path;

use crate::dataset::{Claim, DatasetError, PresentShards, Trust, Unsealed};
use crate::extract::Sources;
use crate::job::Job;
use crate::plan::Plan;

pub use crate::config::LayerConfig;
pub use crate::data_type::{DataType, Scalar};
pub use crate::dataset::{
    ArrayLayout, ArrayProvenance, BloscName, BloscShuffle, Codec, EncodedSamples, Layout, Output,
    Provenance, Receipt, SampleDecoder, SampleEncoder, SampleEncoding, SampleIndex, ShardFiles,
    ShardId, ShardWriter, WrittenShard,
};
pub use crate::demo::write_collection;
pub use crate::geometry::{AxisOrder, Resolution, WindowSize};
pub use crate::loader::{ArrayNames, Augmentation, Flip, InputArray, Loader, LoaderOptions};
pub use crate::select::map_windows;
pub use crate::storage::{Location, SourceUrl, Storage};
pub use crate::volume::{EncodedBlock, Volume, compressed_segmentation, open_layer, resolutions};
pub use crate::voxels::Statistics;

/// Digest of the plan of datasets that benchmarks write.
pub const PLAN_DIGEST: &str = "benchmark";

/// Claims the local folder `root` for a dataset with this layout.
pub fn claim(root: &Path, layout: &Layout) -> Result<Output, DatasetError> {
    let splits = layout.splits.iter().map(|s| s.name.as_str());
    let arrays = layout.arrays.iter().map(|a| a.name.as_str());
    let claim = Claim::new(blake3::hash(PLAN_DIGEST.as_bytes()), splits, arrays);
    Output::at(&root.into(), &Storage::default())?.claim(&claim, false)
}

/// Seals a dataset whose shards are written. `index` has the columns of each split.
pub fn seal(
    output: &Output,
    layout: &Layout,
    provenance: Provenance,
    index: Vec<SampleIndex>,
) -> Result<(), DatasetError> {
    let unsealed = Unsealed {
        output,
        layout,
        plan_digest: PLAN_DIGEST,
        present: PresentShards::find(output, layout, PLAN_DIGEST, Trust::Size)?,
    };
    unsealed
        .seal(provenance, index.into_iter(), std::iter::empty())
        .map(|_| ())
}

/// The plan, the volumes and the layout of a job.
pub fn parts(job: &Job) -> (&Plan, &Sources, &Layout) {
    (&job.plan, &job.sources, &job.layout)
}

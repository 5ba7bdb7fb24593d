//! The output: Zarr v3 groups of shards, index columns, receipts, and the manifest.
//!
//! ```text
//! OUT/manifest.json            written last: where it exists, the dataset is complete
//! OUT/<split>.zarr/            a Zarr v3 group, consolidated metadata; written when all shards are present
//!     <array>/c.<shard>.0.0.0.0     shards, each written under a temporary name, then renamed
//!     annotation_id, box, center_nm, ...    index columns over `sample`
//! OUT/.pointshard/claim.json   which job the output belongs to; written first
//! OUT/.pointshard/plan.json    the plan, with its columns in `plan/`; written before the first shard
//! OUT/.pointshard/receipts/<split>/<array>/<shard>.json   written after its shard
//! ```
//! This is the only writer and the only reader of this format. Nothing here knows where samples come from.

mod any_column;
mod checksummed;
mod chunk_key;
mod codec;
mod column_reader;
mod columns;
mod copied_shard;
mod decode;
mod dropped_table;
mod encoded_samples;
mod encoder;
mod error;
mod group;
mod layout;
mod manifest;
mod metadata;
mod not_a_dataset;
mod object;
mod output;
mod reader;
mod receipt;
mod samples;
mod seal;
mod shard;
mod stored;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use any_column::{AnyColumn, ColumnNumber};
pub(crate) use checksummed::{from_checksummed, to_checksummed};
#[cfg(feature = "bench")]
pub use codec::{BloscName, BloscShuffle};
pub use codec::{Codec, CodecChoice, CodecTrial};
pub(crate) use column_reader::ColumnReader;
pub use columns::{Column, ColumnValues, SampleIndex};
pub(crate) use copied_shard::EarlierShards;
pub(crate) use dropped_table::{DroppedTable, UnreadableColumn};
pub use encoded_samples::{EncodedSamples, SampleEncoding};
pub use encoder::SampleEncoder;
pub use error::DatasetError;
pub(crate) use layout::group_path;
pub(crate) use layout::receipt_key;
pub use layout::{ArrayLayout, Layout, ShardId, SplitLayout};
pub(crate) use manifest::GROUPS_VERSION;
pub use manifest::{
    ArrayEntry, BoxEntry, FileEntry, GroupEntry, MANIFEST, Manifest, SCHEMA_VERSION, ShardEntry,
    SourceEntry, SplitEntry,
};
#[cfg(feature = "tch")]
pub use metadata::group_metadata;
pub(crate) use output::{
    CLAIM as CLAIM_FILE, PLAN as PLAN_FILE, PLAN_COLUMNS, is_plan_copy, plan_copy_key, plan_folder,
};
pub use output::{Claim, ClaimState, Output};
pub use reader::{Dataset, SampleArray, SplitReader};
pub use receipt::{PresentShards, Receipt, SourceUse, Trust};
pub use samples::{SampleDecoder, SampleReader, ShardFiles};
pub use seal::{ArrayProvenance, Provenance, Unsealed};
pub use shard::{ShardReader, ShardWriter, WrittenShard};
pub(crate) use stored::{MAX_COLUMN_WIDTH, MAX_METADATA_BYTES};

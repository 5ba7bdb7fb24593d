//! Parts of Neuroglancer's formats that several rooms use.
//!
//! Volumes and annotations in the precomputed format share the info file and the shard files; collections and points
//! share viewer states. A *sharded* source stores its chunks, each under a 64-bit id, in shard files with two levels of
//! indexes (`neuroglancer_uint64_sharded_v1`, google/neuroglancer `src/datasource/precomputed/sharded.md`). Everything
//! in a file is checked before it is used: a damaged index is an error with the name of the file.

mod error;
mod geometry_kind;
mod info_document;
mod json_integer;
mod minishard;
mod morton;
mod murmur;
mod sharding;
mod shards;
#[cfg(test)]
pub(crate) mod testing;
pub mod viewer_state;

pub use error::ShardError;
pub use geometry_kind::GeometryKind;
pub(crate) use info_document::{
    ANNOTATIONS, InfoDocument, InfoError, VOLUME, info_kind, read_info,
};
pub(crate) use json_integer::JsonInteger;
pub(crate) use morton::MortonGrid;
pub(crate) use sharding::ShardingSpec;
pub(crate) use shards::Shards;

//! What Neuroglancer's formats share, whichever room reads them.
//!
//! Annotation kinds and coordinate spaces occur in precomputed annotations and in viewer states alike; a
//! viewer state holds both boxes for `collection` and annotations for `points`. A *sharded* source of volumes
//! or annotations keeps its chunks, each under a 64-bit id, in shard files of two-level indices
//! (`neuroglancer_uint64_sharded_v1`, google/neuroglancer `src/datasource/precomputed/sharded.md`): in go the
//! `sharding` member of an info and a chunk's place in its grid, out come the chunk's stored bytes. Nothing
//! that a file says is believed before it is checked: a damaged index is an error that names the file.

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

//! What Neuroglancer's formats of volumes and annotations share: chunks by the thousand in few files.
//!
//! A *sharded* source keeps its chunks, each under a 64-bit id, in shard files of two-level indices
//! (`neuroglancer_uint64_sharded_v1`, google/neuroglancer `src/datasource/precomputed/sharded.md`). In go
//! the `sharding` member of an info (`sharding`) and a chunk's place in its grid, from which its id is
//! made (`morton`); out come the chunk's stored bytes (`shards`). Nothing that a file says is believed
//! before it is checked: a damaged index is an error that names the file, never a wrong chunk.

mod error;
mod minishard;
mod morton;
mod murmur;
mod sharding;
mod shards;
#[cfg(test)]
pub(crate) mod testing;

pub use error::ShardError;
pub(crate) use morton::MortonGrid;
pub(crate) use sharding::ShardingSpec;
pub(crate) use shards::Shards;

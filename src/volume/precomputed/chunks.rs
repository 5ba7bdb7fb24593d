//! Finds the stored chunks of a scale.
//!
//! In an unsharded scale, a chunk is an object below the scale's key ([`ChunkFiles`]). Its name contains `voxel_offset`,
//! and the last chunk along an axis is named after its clipped range. In a sharded scale, a chunk's id is the compressed
//! Morton code of its position in the grid, without `voxel_offset`.

use std::sync::Arc;

use super::chunk_files::ChunkFiles;
use crate::neuroglancer::{MortonGrid, ShardError, ShardingSpec, Shards};
use crate::storage::{Compression, Store};
use crate::volume::{BlockGrid, BlockIndex, EncodedBlock, VolumeError};

/// The chunks of a scale.
#[derive(Debug)]
pub(super) enum ChunkStorage {
    Files(ChunkFiles),
    Shards(ShardedChunks),
}

/// Chunks in shards.
#[derive(Debug)]
pub(super) struct ShardedChunks {
    shards: Shards,
    ids: MortonGrid,
}

impl ShardedChunks {
    /// Key of the group of a chunk: its shard and minishard.
    pub(super) fn group_key(&self, block: BlockIndex) -> [u64; 2] {
        self.shards
            .group_key(self.ids.code(&block).unwrap_or_default())
    }

    /// Splits chunks into runs. Each run is read with one request.
    pub(super) fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        let with_ids = blocks.iter().filter_map(|b| Some((*b, self.ids.code(b)?)));
        self.shards.runs(with_ids)
    }

    /// Reads chunks of at most `limit_bytes` each with one request.
    pub(super) fn fetch_run(
        &self,
        run: &[BlockIndex],
        limit_bytes: impl Fn(BlockIndex) -> u64,
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, ShardError> {
        let id = |b: &BlockIndex| Some((self.ids.code(b)?, limit_bytes(*b)));
        let Some(ids) = run.iter().map(id).collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        let into = encoded.iter_mut().map(|e| {
            e.compression = self.shards.data_encoding();
            &mut e.bytes
        });
        self.shards.read_run(&ids, &mut into.collect::<Vec<_>>())
    }
}

impl ChunkStorage {
    /// The chunks below `store`, the scale's key.
    pub(super) fn new(store: Arc<dyn Store>, sharding: Option<(ShardingSpec, MortonGrid)>) -> Self {
        match sharding {
            None => Self::Files(ChunkFiles::new(store)),
            Some((spec, ids)) => Self::Shards(ShardedChunks {
                shards: Shards::new(store, spec),
                ids,
            }),
        }
    }

    /// Whether the chunks are on a server.
    pub(super) fn round_trips(&self) -> usize {
        match self {
            Self::Files(files) => files.store().round_trips(),
            Self::Shards(ShardedChunks { shards, .. }) => shards.round_trips(),
        }
    }

    /// The folder, for messages.
    pub(super) fn describe_all(&self) -> String {
        match self {
            Self::Files(files) => files.store().describe(""),
            Self::Shards(ShardedChunks { shards, .. }) => shards.describe_all(),
        }
    }

    /// The path or URL of a chunk with this compression, for messages.
    pub(super) fn describe(
        &self,
        grid: &BlockGrid,
        block: BlockIndex,
        compression: Compression,
    ) -> String {
        let name = name(grid, block);
        match self {
            Self::Files(files) => files.store().describe(&(name + compression.suffix())),
            Self::Shards(ShardedChunks { shards, ids }) => {
                let id = ids.code(&block).unwrap_or_default();
                format!("{name} in {}", shards.describe(id))
            }
        }
    }

    /// Prefetches a chunk.
    pub(super) fn prefetch(&self, grid: &BlockGrid, block: BlockIndex) {
        match self {
            Self::Files(files) => files.prefetch(&name(grid, block)),
            Self::Shards(ShardedChunks { shards, ids }) => {
                if let Some(id) = ids.code(&block) {
                    shards.prefetch(id);
                }
            }
        }
    }

    /// Reads the stored bytes of a chunk. Returns `false` if it is missing.
    pub(super) fn fetch(
        &self,
        grid: &BlockGrid,
        block: BlockIndex,
        limit_bytes: u64,
        encoded: &mut EncodedBlock,
    ) -> Result<bool, VolumeError> {
        match self {
            Self::Files(files) => files.read(&name(grid, block), limit_bytes, encoded),
            Self::Shards(ShardedChunks { shards, ids }) => {
                encoded.compression = shards.data_encoding();
                match ids.code(&block) {
                    Some(id) => Ok(shards.read(id, limit_bytes, &mut encoded.bytes)?),
                    None => Ok(false),
                }
            }
        }
    }
}

/// The name of a chunk: the range of its voxels.
fn name(grid: &BlockGrid, block: BlockIndex) -> String {
    let b = grid.block_box(block);
    let [x, y, z] = std::array::from_fn(|d| format!("{}-{}", b.start[d], b.end[d]));
    format!("{x}_{y}_{z}")
}

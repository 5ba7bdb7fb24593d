//! Where the chunks of a scale are stored.
//!
//! Unsharded, a chunk is an object of its own below the scale's key ([`ChunkFiles`]). `voxel_offset` is part of the name,
//! and the last chunk along an axis is named by the truncated range. Sharded, a chunk's id is the compressed Morton
//! code of its place in the grid, of which `voxel_offset` is no part.

use std::sync::Arc;

use super::chunk_files::ChunkFiles;
use crate::neuroglancer::{MortonGrid, ShardError, ShardingSpec, Shards};
use crate::storage::{Compression, Store};
use crate::volume::{BlockGrid, BlockIndex, EncodedBlock, VolumeError};

/// The stored chunks of a scale.
#[derive(Debug)]
pub(super) enum ChunkStorage {
    ChunkFiles(ChunkFiles),
    Shards(ShardedChunks),
}

/// Chunks in shard files.
#[derive(Debug)]
pub(super) struct ShardedChunks {
    shards: Shards,
    ids: MortonGrid,
}

impl ShardedChunks {
    /// The shelf of a chunk: its shard and minishard.
    pub(super) fn group_key(&self, block: BlockIndex) -> [u64; 2] {
        self.shards
            .group_key(self.ids.code(&block).unwrap_or_default())
    }

    /// Splits chunks into runs that one request reads.
    pub(super) fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        let with_ids = blocks.iter().filter_map(|b| Some((*b, self.ids.code(b)?)));
        self.shards.runs(with_ids)
    }

    /// Reads chunks of at most `limit_bytes` with one request.
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
            None => Self::ChunkFiles(ChunkFiles::new(store)),
            Some((spec, ids)) => Self::Shards(ShardedChunks {
                shards: Shards::new(store, spec),
                ids,
            }),
        }
    }

    /// Whether reading takes long compared with decoding.
    pub(super) fn is_remote(&self) -> bool {
        match self {
            Self::ChunkFiles(files) => files.store().is_remote(),
            Self::Shards(ShardedChunks { shards, .. }) => shards.is_remote(),
        }
    }

    /// The folder, for messages.
    pub(super) fn describe_all(&self) -> String {
        match self {
            Self::ChunkFiles(files) => files.store().describe(""),
            Self::Shards(ShardedChunks { shards, .. }) => shards.describe_all(),
        }
    }

    /// The place of a chunk with that compression, for messages.
    pub(super) fn describe(
        &self,
        grid: &BlockGrid,
        block: BlockIndex,
        compression: Compression,
    ) -> String {
        let name = name(grid, block);
        match self {
            Self::ChunkFiles(files) => files.store().describe(&(name + compression.suffix())),
            Self::Shards(ShardedChunks { shards, ids }) => {
                let id = ids.code(&block).unwrap_or_default();
                format!("{name} in {}", shards.describe(id))
            }
        }
    }

    /// Says that a chunk will be fetched soon.
    pub(super) fn prefetch(&self, grid: &BlockGrid, block: BlockIndex) {
        match self {
            Self::ChunkFiles(files) => files.will_read(&name(grid, block)),
            Self::Shards(ShardedChunks { shards, ids }) => {
                if let Some(id) = ids.code(&block) {
                    shards.will_read(id);
                }
            }
        }
    }

    /// Reads the stored bytes of a chunk; `false` where it is not stored.
    pub(super) fn fetch(
        &self,
        grid: &BlockGrid,
        block: BlockIndex,
        limit_bytes: u64,
        encoded: &mut EncodedBlock,
    ) -> Result<bool, VolumeError> {
        match self {
            Self::ChunkFiles(files) => files.read(&name(grid, block), limit_bytes, encoded),
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

/// The name of a chunk: the voxels that it holds.
fn name(grid: &BlockGrid, block: BlockIndex) -> String {
    let b = grid.block_box(block);
    let [x, y, z] = std::array::from_fn(|d| format!("{}-{}", b.start[d], b.end[d]));
    format!("{x}_{y}_{z}")
}

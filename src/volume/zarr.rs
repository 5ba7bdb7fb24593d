//! Zarr v2 and v3 arrays, alone or as a level of an OME-Zarr multiscale image.
//!
//! A block is one chunk, one inner chunk of a sharded array, or several of them if the channels are spread over several
//! chunks. Dimensions are identified by name. The zarrs crate parses the metadata and decodes chunks; bytes are read
//! with our own storage, and decompression is limited to the size of a chunk. A missing chunk reads as the array's fill
//! value. A chunk that cannot be decoded is an error with the name of its file.

mod array;
mod chunk_names;
mod codecs;
mod model_space;
mod node;
mod normalize;
mod ome;
mod position;
mod shard;
mod version;

use std::sync::Arc;

use super::array_description::ArrayDescription;
use super::axes::ArrayAxes;
use super::chunk_store::chunk_store;
use super::strided::{Strided, c_strides, copy_strided};
use super::{BlockIndex, ChunkGroups, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::LayerConfig;
use crate::geometry::Resolution;
use crate::storage::{Location, Storage, Store, gzip_note, runs};
use array::ZarrArray;
use chunk_names::ChunkNameCheck;
use node::{Node, NodeKind};
use ome::OmeLevel;
use position::{position_of_array, position_of_level};

pub(super) use model_space::model_space;
pub(super) use version::ZarrVersion;

/// An open array.
#[derive(Debug)]
pub(super) struct ZarrVolume {
    store: Arc<dyn Store>,
    array: ZarrArray,
    axes: ArrayAxes,
    meta: VolumeMeta,
    names: ChunkNameCheck,
    digest: blake3::Hash,
}

impl ZarrVolume {
    /// Opens the array at `location`, or the level with the resolution `wanted` of the OME-Zarr image there.
    pub(super) fn open(
        location: &Location,
        version: Option<ZarrVersion>,
        wanted: &Resolution,
        layer: &LayerConfig,
        storage: &Storage,
    ) -> Result<Self, VolumeError> {
        let store = storage.open(location);
        let node = node::read(store.as_ref(), "", version)?;
        match &node.kind {
            NodeKind::Array(_) => {
                Self::from_array(store, "", &node, node.digest, None, Some(wanted), layer)
            }
            NodeKind::Group => {
                if layer.resolution.is_some() {
                    return Err(node.invalid(
                        "multiscales".into(),
                        "the image defines the resolution of every level, but the config's `layers` sets `resolution` too: remove it there, or use the array of one level as the source".into(),
                    ));
                }
                let level = ome::level(&node, wanted)?;
                let array = node::read(store.as_ref(), &level.path, Some(node.version))?;
                let mut digest = blake3::Hasher::new();
                digest.update(node.digest.as_bytes());
                digest.update(array.digest.as_bytes());
                let (digest, path) = (digest.finalize(), level.path.clone());
                Self::from_array(store, &path, &array, digest, Some(level), None, layer)
            }
        }
    }

    fn from_array(
        store: Arc<dyn Store>,
        path: &str,
        node: &Node,
        digest: blake3::Hash,
        level: Option<OmeLevel>,
        wanted: Option<&Resolution>,
        layer: &LayerConfig,
    ) -> Result<Self, VolumeError> {
        let array = ZarrArray::new(path, node)?;
        let shape = array.shape();
        let (axes, resolution, first_voxel) = match &level {
            Some(level) => position_of_level(node, shape, level, layer)?,
            None => position_of_array(node, shape, wanted, layer)?,
        };
        let description = ArrayDescription {
            data_type: array.data_type,
            fill_value: array.fill_value,
            channels: axes.channel_of(shape, 1),
            size: axes.xyz_of(shape),
            block: axes.xyz_of(array.block_shape()),
            resolution,
            voxel_offset: first_voxel,
        };
        let meta = description
            .meta()
            .map_err(|e| node.invalid("shape".into(), e))?;
        let store = chunk_store(store, layer);
        Ok(Self {
            names: ChunkNameCheck::new(&node.object, node.version, store.as_ref()),
            store,
            array,
            axes,
            meta,
            digest,
        })
    }

    /// Number of stored parts of a block: one for each chunk along the channels.
    fn parts(&self) -> u64 {
        self.axes
            .parts(self.meta.channels, self.array.block_shape())
    }

    /// Indices of a part of a block, for all dimensions.
    fn part_indices(&self, block: BlockIndex, part: u64) -> Vec<u64> {
        self.axes
            .array_indices(self.array.shape().len(), block, part)
    }
}

impl Volume for ZarrVolume {
    fn describe(&self) -> String {
        self.store.describe(self.array.path())
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.array
            .describe(self.store.as_ref(), &self.part_indices(block, 0))
    }

    fn round_trips(&self) -> usize {
        self.store.round_trips()
    }

    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        // The parts of a block with several parts are read one by one.
        let is_grouped = self.array.is_sharded() && self.parts() == 1;
        is_grouped.then(|| Box::new(ShardedArray(self)) as Box<dyn ChunkGroups>)
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.digest
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        let stored = encoded.read_parts(self.parts(), |part, into| {
            let indices = self.part_indices(block, part);
            self.array.read(self.store.as_ref(), &indices, into)
        })?;
        if stored {
            self.names.record_found();
        } else {
            let indices = self.part_indices(block, 0);
            self.names
                .check_missing(self.store.as_ref(), &self.array, &indices)?;
        }
        Ok(stored)
    }

    fn prefetch(&self, block: BlockIndex) {
        for part in 0..self.parts() {
            let indices = self.part_indices(block, part);
            self.array.prefetch(self.store.as_ref(), &indices);
        }
    }

    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let meta = &self.meta;
        let region = meta.grid.block_box(block);
        let [nx, ny, nz] = region.shape().map(|n| n as usize);
        let value_bytes = meta.data_type.size_bytes();
        let chunk: Vec<usize> = self
            .array
            .block_shape()
            .iter()
            .map(|n| *n as usize)
            .collect();
        let strides = c_strides(&chunk);
        let [sx, sy, sz] = self.axes.xyz_of(&strides);
        let sc = self.axes.channel_of(&strides, 0);
        let per_part = self.axes.channel_of(&chunk, 1);
        values.resize(meta.block_bytes(&region), 0);
        let plane_bytes = nx * ny * nz * value_bytes;
        let of_parts = values.chunks_mut(per_part * plane_bytes);
        for (part, (to, bytes)) in of_parts.zip(encoded.parts()).enumerate() {
            let channels = to.len() / plane_bytes;
            match bytes {
                None => meta.fill_value.fill(value_bytes, to),
                Some(bytes) => {
                    let decoded = self.array.decode(bytes).map_err(|problem| {
                        let indices = self.part_indices(block, part as u64);
                        VolumeError::Chunk {
                            object: self.array.describe(self.store.as_ref(), &indices),
                            problem: problem + gzip_note(bytes),
                        }
                    })?;
                    let from = Strided {
                        values: &decoded,
                        value_bytes,
                        strides: [sc, sz, sy, sx],
                    };
                    copy_strided(&from, [channels, nz, ny, nx], to);
                }
            }
        }
        Ok(())
    }
}

/// A sharded array with a single part per block.
struct ShardedArray<'v>(&'v ZarrVolume);

impl ChunkGroups for ShardedArray<'_> {
    fn group_key(&self, block: BlockIndex) -> [u64; 2] {
        [0, self.0.array.group_key(&self.0.part_indices(block, 0))]
    }

    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        let find = |block: &BlockIndex| {
            let indices = self.0.part_indices(*block, 0);
            let extent = self.0.array.extent(self.0.store.as_ref(), &indices);
            (*block, extent.ok().flatten())
        };
        runs(blocks.iter().map(find).collect())
    }

    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError> {
        let (store, array) = (self.0.store.as_ref(), &self.0.array);
        let indices = run.iter().map(|block| self.0.part_indices(*block, 0));
        let indices: Vec<_> = indices.collect();
        let extents = indices.iter().map(|i| array.extent(store, i));
        let extents = extents.collect::<Result<Option<Vec<_>>, _>>()?;
        let (Some(extents), Some(first)) = (extents, indices.first()) else {
            return Ok(false);
        };
        let mut into: Vec<_> = encoded.iter_mut().map(|e| &mut e.bytes).collect();
        array.read_run(store, first, &extents, &mut into)?;
        self.0.names.record_found();
        for e in encoded {
            e.set_single_part();
        }
        Ok(true)
    }
}

//! N5 datasets, alone or as a level (`s0`, `s1`, ...) of a multiscale group.
//!
//! A block is one N5 block, or several if the channels are spread over several N5 blocks. N5 lists dimensions from
//! the fastest to the slowest, usually x, y, z; values are big-endian. Blocks at the edge may be clipped or whole: each
//! has its own size in its header, which is checked. A missing block reads as 0.

mod attributes;
mod block;
mod model_space;

use std::sync::Arc;

use super::array_description::ArrayDescription;
use super::axes::ArrayAxes;
use super::chunk_store::chunk_store;
use super::strided::{Strided, c_strides, copy_strided};
use super::{BlockIndex, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::LayerConfig;
use crate::data_type::Scalar;
use crate::geometry::Resolution;
use crate::storage::{Location, Storage, Store, gzip_note};
use attributes::N5Dataset;

pub(super) use model_space::model_space;

/// An open N5 dataset.
#[derive(Debug)]
pub(super) struct N5Volume {
    store: Arc<dyn Store>,
    dataset: N5Dataset,
    axes: ArrayAxes,
    meta: VolumeMeta,
}

impl N5Volume {
    /// Opens the dataset at `location`, or the level with the resolution `wanted` if there is a group.
    pub(super) fn open(
        location: &Location,
        wanted: &Resolution,
        layer: &LayerConfig,
        storage: &Storage,
    ) -> Result<Self, VolumeError> {
        let store = storage.open(location);
        let dataset = attributes::read(location, store.as_ref(), wanted, layer, storage)?;
        let invalid = |problem| dataset.invalid("dimensions", problem);
        let axes = dataset.axes.clone();
        let description = ArrayDescription {
            data_type: dataset.data_type,
            fill_value: Scalar::ZERO,
            channels: axes.channel_of(&dataset.dimensions, 1),
            size: axes.xyz_of(&dataset.dimensions),
            block: axes.xyz_of(&dataset.block_size),
            resolution: dataset.resolution,
            voxel_offset: dataset.first_voxel,
        };
        let meta = description.meta().map_err(invalid)?;
        Ok(Self {
            store: chunk_store(store, layer),
            dataset,
            axes,
            meta,
        })
    }

    /// Number of stored parts of a block: one for each N5 block along the channels.
    fn parts(&self) -> u64 {
        self.axes
            .parts(self.meta.channels, &self.dataset.block_size)
    }

    fn key(&self, block: BlockIndex, part: u64) -> String {
        let rank = self.dataset.dimensions.len();
        let indices = self.axes.array_indices(rank, block, part);
        let mut key = self.dataset.path.clone();
        for index in indices {
            if !key.is_empty() {
                key.push('/');
            }
            key.push_str(&index.to_string());
        }
        key
    }
}

impl Volume for N5Volume {
    fn describe(&self) -> String {
        self.store.describe(&self.dataset.path)
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.store.describe(&self.key(block, 0))
    }

    fn round_trips(&self) -> usize {
        self.store.round_trips()
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.dataset.digest
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        let limit_bytes = 2 * self.dataset.block_bytes() as u64 + (1 << 20);
        encoded.read_parts(self.parts(), |part, into| {
            let key = self.key(block, part);
            Ok(self.store.read(&key, limit_bytes, into)?)
        })
    }

    fn prefetch(&self, block: BlockIndex) {
        for part in 0..self.parts() {
            self.store.prefetch(&self.key(block, part), None);
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
        let rank = self.dataset.dimensions.len();
        let per_part = self.axes.channel_of(&self.dataset.block_size, 1) as usize;
        values.resize(meta.block_bytes(&region), 0);
        let plane_bytes = nx * ny * nz * value_bytes;
        let of_parts = values.chunks_mut(per_part * plane_bytes);
        for (part, (to, bytes)) in of_parts.zip(encoded.parts()).enumerate() {
            let channels = to.len() / plane_bytes;
            let Some(bytes) = bytes else {
                to.fill(0);
                continue;
            };
            // The part of the block that is inside the dataset must be present.
            let mut needed = self
                .axes
                .array_indices(rank, region.shape(), channels as u64);
            needed.iter_mut().for_each(|n| *n = (*n).max(1));
            let decoded = block::decode(bytes, &self.dataset, &needed).map_err(|problem| {
                VolumeError::Chunk {
                    object: self.store.describe(&self.key(block, part as u64)),
                    problem: problem + gzip_note(bytes),
                }
            })?;
            // N5 lists the fastest dimension first, the reverse of C order.
            let reversed: Vec<usize> = decoded.shape.iter().rev().copied().collect();
            let mut strides = c_strides(&reversed);
            strides.reverse();
            let [sx, sy, sz] = self.axes.xyz_of(&strides);
            let from = Strided {
                values: &decoded.values,
                value_bytes,
                strides: [self.axes.channel_of(&strides, 0), sz, sy, sx],
            };
            copy_strided(&from, [channels, nz, ny, nx], to);
        }
        Ok(())
    }
}

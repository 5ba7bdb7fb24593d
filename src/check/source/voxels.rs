//! Voxels of a volume, one by one. A block is decoded when its first voxel is needed, and forgotten with the window.

use std::collections::HashMap;

use super::number::Number;
use crate::geometry::VoxelBox;
use crate::volume::{BlockIndex, EncodedBlock, Volume, VolumeError};

/// The voxels of a volume around one window.
pub(super) struct Voxels<'v> {
    volume: &'v dyn Volume,
    /// Decoded blocks; `None` if they are missing.
    blocks: HashMap<BlockIndex, Option<Vec<u8>>>,
}

/// A voxel of a volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Voxel {
    Outside,
    /// Its chunk is not stored.
    Missing,
    Stored(Number),
}

impl<'v> Voxels<'v> {
    pub fn of(volume: &'v dyn Volume) -> Self {
        Self {
            volume,
            blocks: HashMap::new(),
        }
    }

    /// The layer's own fill value.
    pub fn fill_value(&self) -> Number {
        let meta = self.volume.meta();
        let bytes = meta.fill_value.bytes(meta.data_type.size_bytes());
        Number::from_le_bytes(bytes, meta.data_type).unwrap_or(Number::Int(0))
    }

    pub fn bounds(&self) -> &'v VoxelBox {
        self.volume.meta().grid.bounds()
    }

    /// The voxel at x, y, z.
    pub fn voxel(&mut self, channel: u32, [x, y, z]: [i64; 3]) -> Result<Voxel, VolumeError> {
        let meta = self.volume.meta();
        let at = VoxelBox {
            start: [x, y, z],
            end: [x + 1, y + 1, z + 1],
        };
        let Some(index) = meta.grid.blocks_touching(&at).next() else {
            return Ok(Voxel::Outside);
        };
        let Some(values) = self.block(index)? else {
            return Ok(Voxel::Missing);
        };
        let of_block = meta.grid.block_box(index);
        let [nx, ny, nz] = of_block.shape().map(|n| n as usize);
        let [x, y, z] = [0, 1, 2].map(|d| ([x, y, z][d] - of_block.start[d]) as usize);
        let value_bytes = meta.data_type.size_bytes();
        let position = (((channel as usize * nz + z) * ny + y) * nx + x) * value_bytes;
        let bytes = values.get(position..position + value_bytes).unwrap_or(&[]);
        let number = Number::from_le_bytes(bytes, meta.data_type);
        Ok(number.map_or(Voxel::Missing, Voxel::Stored))
    }

    /// Whether any chunk with voxels of `wanted` is stored.
    pub fn any_stored(&mut self, wanted: &VoxelBox) -> Result<bool, VolumeError> {
        let blocks: Vec<_> = self.volume.meta().grid.blocks_touching(wanted).collect();
        for block in blocks {
            if self.block(block)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn block(&mut self, index: BlockIndex) -> Result<Option<&[u8]>, VolumeError> {
        if !self.blocks.contains_key(&index) {
            let mut encoded = EncodedBlock::default();
            let mut values = Vec::new();
            let is_stored = self.volume.fetch(index, &mut encoded)?;
            if is_stored {
                self.volume.decode(index, &mut encoded, &mut values)?;
            }
            self.blocks.insert(index, is_stored.then_some(values));
        }
        Ok(self.blocks.get(&index).and_then(Option::as_deref))
    }
}

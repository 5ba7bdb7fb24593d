//! Metadata of an array in the order x, y, z, checked against the limits of every format.

use super::{BlockGrid, MAX_BLOCK_BYTES, VolumeMeta};
use crate::data_type::{DataType, Scalar};
use crate::geometry::{AXES, MAX_VOXEL, Resolution, VoxelBox};

/// Largest number of channels that is accepted. Protects against sizes in damaged files.
const MAX_CHANNELS: u64 = 1 << 16;

/// The metadata of an array, in the order x, y, z.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrayDescription {
    pub data_type: DataType,
    pub fill_value: Scalar,
    pub channels: u64,
    pub size: [u64; 3],
    pub block: [u64; 3],
    pub resolution: Resolution,
    pub voxel_offset: [i64; 3],
}

impl ArrayDescription {
    /// The volume's metadata, or which limit is exceeded.
    pub(super) fn meta(&self) -> Result<VolumeMeta, String> {
        let Self {
            size,
            block,
            voxel_offset,
            ..
        } = *self;
        if !(1..=MAX_CHANNELS).contains(&self.channels) {
            let found = self.channels;
            return Err(format!(
                "found {found} channels, expected 1 to {MAX_CHANNELS}"
            ));
        }
        for d in 0..3 {
            if !(1..=MAX_VOXEL as u64).contains(&size[d]) {
                let axis = AXES[d];
                return Err(format!(
                    "found {} voxels along {axis}, expected 1 to {MAX_VOXEL}",
                    size[d]
                ));
            }
            if voxel_offset[d].unsigned_abs() > MAX_VOXEL as u64 {
                let axis = AXES[d];
                return Err(format!(
                    "found an offset along {axis} of {} voxels, which is out of range",
                    voxel_offset[d]
                ));
            }
        }
        // A chunk may be larger than the array.
        let block: [u64; 3] = std::array::from_fn(|d| block[d].min(size[d]));
        let factors = [self.channels, self.data_type.size_bytes() as u64];
        let bytes = block
            .into_iter()
            .chain(factors)
            .try_fold(1u64, u64::checked_mul);
        if bytes.is_none_or(|n| n == 0 || n > MAX_BLOCK_BYTES) {
            return Err(format!(
                "found a chunk of {block:?} voxels (x y z) with {} channel(s), expected at least one voxel and at most {MAX_BLOCK_BYTES} bytes",
                self.channels
            ));
        }
        let bounds = VoxelBox {
            start: voxel_offset,
            end: std::array::from_fn(|d| voxel_offset[d] + size[d] as i64),
        };
        // Each edge of a block is at most its number of bytes, which fits into 32 bits.
        let grid = BlockGrid::new(bounds, block.map(|n| n as u32)).ok_or_else(|| {
            format!(
                "found {size:?} voxels (x y z) in chunks of {block:?}, which is more than 2^64 chunks: the shape is damaged"
            )
        })?;
        Ok(VolumeMeta {
            data_type: self.data_type,
            channels: self.channels as u32,
            resolution: self.resolution,
            grid,
            fill_value: self.fill_value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_chunks_than_64_bits_can_number_are_an_error() {
        let volume = |size| ArrayDescription {
            data_type: DataType::UInt8,
            fill_value: Scalar::ZERO,
            channels: 1,
            size,
            block: [1; 3],
            resolution: Resolution::new([1.0; 3]).unwrap(),
            voxel_offset: [0; 3],
        };
        let n = MAX_VOXEL as u64;
        assert!(volume([n, 1 << 11, 1]).meta().is_ok());
        let e = volume([n, 1 << 12, 1]).meta().unwrap_err();
        assert!(e.contains("4096") && e.contains("[1, 1, 1]"), "{e}");
    }
}

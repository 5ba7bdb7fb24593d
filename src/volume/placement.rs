//! The position of an array in world coordinates, and the limits of every array.
//!
//! World coordinates are Neuroglancer's: voxel `i` covers `[i * r, (i + 1) * r)`. OME-Zarr defines the CENTRE of
//! the first voxel. Windows are cut on whole voxels, the same for every layer, so an array is moved to the nearest
//! whole voxel: its first voxel is the voxel of the grid that contains the centre. A corner halfway between two voxels,
//! as in most files, rounds up: a translation of `n * scale` is offset `n`.

use super::{BlockGrid, MAX_BLOCK_BYTES, VolumeMeta};
use crate::data_type::DataType;
use crate::data_type::Scalar;
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

/// Tolerance for a centre that misses its voxel, for rounding errors of decimal numbers.
const TOLERANCE_VOXELS: f64 = 0.01;

/// The voxel of the grid that contains `center_nm`, the centre of an array's first voxel. `None` if it is out of range.
pub(super) fn first_voxel(center_nm: [f64; 3], resolution: &Resolution) -> Option<[i64; 3]> {
    let mut first = [0; 3];
    for d in 0..3 {
        let v = (center_nm[d] / resolution.nm()[d] + TOLERANCE_VOXELS).floor();
        if v.is_nan() || v.abs() > MAX_VOXEL as f64 {
            return None;
        }
        first[d] = v as i64;
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_voxel_is_the_one_that_contains_the_centre() {
        let r = Resolution::new([4.6, 9.2, 45.0]).unwrap();
        // From real files: corner at 3031 - 1/2, at 1288.5 - 1/2, at 100 - 1/2.
        let at = first_voxel([13942.599999999999, 11854.199999999999, 4500.0], &r);
        assert_eq!(at, Some([3031, 1288, 100]));
        // No translation; the first level of an averaged pyramid; a centre for a corner at 0.
        assert_eq!(first_voxel([0.0, 2.3, 22.5], &r), Some([0, 0, 0]));
        assert_eq!(first_voxel([-4.6, -2.3, -45.0], &r), Some([-1, -1, -1]));
        assert_eq!(first_voxel([f64::NAN, 0.0, 0.0], &r), None);
        assert_eq!(first_voxel([0.0, 1e300, 0.0], &r), None);
    }

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

    proptest! {
        #[test]
        fn an_array_is_moved_by_at_most_half_a_voxel(
            center in -1e7f64..1e7, r in 0.5f64..100.0,
        ) {
            let first = first_voxel([center; 3], &Resolution::new([r; 3]).unwrap()).unwrap()[0];
            let corner = center / r - 0.5;
            prop_assert!((first as f64 - corner).abs() <= 0.5 + TOLERANCE_VOXELS + 1e-6);
        }
    }
}

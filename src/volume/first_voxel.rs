//! The first voxel of an array, from the centre in its metadata.
//!
//! World coordinates are Neuroglancer's: voxel `i` covers `[i * r, (i + 1) * r)`. OME-Zarr defines the CENTRE of
//! the first voxel. Windows are cut on whole voxels, the same for every layer, so an array is moved to the nearest
//! whole voxel: its first voxel is the voxel of the grid that contains the centre. A corner halfway between two voxels,
//! as in most files, rounds up: a translation of `n * scale` is offset `n`.

use crate::geometry::{MAX_VOXEL, Resolution};

/// Tolerance for a centre that misses its voxel, for rounding errors of decimal numbers.
const TOLERANCE_VOXELS: f64 = 0.01;

/// The voxel of the grid that contains `center_nm`, the centre of an array's first voxel. `None` if it is out of range.
pub(super) fn first_voxel_of_center(
    center_nm: [f64; 3],
    resolution: &Resolution,
) -> Option<[i64; 3]> {
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
        let at = first_voxel_of_center([13942.599999999999, 11854.199999999999, 4500.0], &r);
        assert_eq!(at, Some([3031, 1288, 100]));
        // No translation; the first level of an averaged pyramid; a centre for a corner at 0.
        assert_eq!(first_voxel_of_center([0.0, 2.3, 22.5], &r), Some([0, 0, 0]));
        assert_eq!(
            first_voxel_of_center([-4.6, -2.3, -45.0], &r),
            Some([-1, -1, -1])
        );
        assert_eq!(first_voxel_of_center([f64::NAN, 0.0, 0.0], &r), None);
        assert_eq!(first_voxel_of_center([0.0, 1e300, 0.0], &r), None);
    }

    proptest! {
        #[test]
        fn an_array_is_moved_by_at_most_half_a_voxel(
            center in -1e7f64..1e7, r in 0.5f64..100.0,
        ) {
            let first = first_voxel_of_center([center; 3], &Resolution::new([r; 3]).unwrap()).unwrap()[0];
            let corner = center / r - 0.5;
            prop_assert!((first as f64 - corner).abs() <= 0.5 + TOLERANCE_VOXELS + 1e-6);
        }
    }
}

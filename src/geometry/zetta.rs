//! Boxes as zetta_utils snaps them: corners are truncated to whole nm, then rounded down to whole voxels.

use super::rounding::floor_of_rounded;
use super::{BoxNm, Resolution};

impl BoxNm {
    /// The box in which zetta_utils searches for points: `BBox3D.from_ng_bbox(annotation, (1, 1, 1))`, then
    /// `.snapped((0, 0, 0), resolution, "floor")`. Both corners go down to whole voxels.
    ///
    /// zetta_utils rounds points to 10 decimals, too, before it compares them with the bounds: 3260 voxels of 4.6 nm are
    /// 14995.999999999998 nm, which is on the face at 14996 nm. The bounds here contain the same points without rounding.
    pub fn snapped_as_zetta(&self, resolution: &Resolution) -> Self {
        let snap = |corner: [f64; 3]| {
            std::array::from_fn(|d| {
                let snapped = snapped_nm(corner[d], resolution.nm()[d]);
                // Out of the range of `f64` there are no voxels to round to.
                if snapped.is_finite() {
                    least_that_rounds_to(snapped)
                } else {
                    corner[d]
                }
            })
        };
        Self {
            min: snap(self.min),
            max: snap(self.max),
        }
    }
}

/// The smallest number that is at least `rounded` after rounding to 10 decimals.
fn least_that_rounds_to(rounded: f64) -> f64 {
    let reaches = |v: f64| ten_decimals(v) >= rounded;
    let mut least = rounded - 0.5e-10;
    while !reaches(least) {
        least = least.next_up();
    }
    while reaches(least.next_down()) {
        least = least.next_down();
    }
    least
}

/// Python's `round(v, 10)`.
fn ten_decimals(v: f64) -> f64 {
    format!("{v:.10}").parse().unwrap_or(v)
}

/// `round(floor(round(int(x) / r, 10)) * r, 10)` with Python's `round`. `x` is rounded to float32 first, because zetta_utils
/// reads it through Neuroglancer's class for boxes.
fn snapped_nm(x: f64, r: f64) -> f64 {
    let whole_nm = f64::from(x as f32).trunc();
    let voxels = match floor_of_rounded(whole_nm / r) {
        Some(voxels) => voxels as f64,
        None => (whole_nm / r).floor(),
    };
    ten_decimals(voxels * r)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PointNm;
    use proptest::prelude::*;

    #[test]
    fn corners_are_snapped_as_in_zetta_utils() {
        // Computed with `BBox3D` of zetta_utils f64f6cde and neuroglancer 2.41.2.
        for (x, r, expected) in [
            (32.0, 6.4, 32.0),
            (320.0, 6.4, 320.0),
            (-32.0, 6.4, -32.0),
            (18.0, 3.6, 18.0),
            (15000.0, 4.6, 14996.0),
            (14996.0, 4.6, 14996.0),
            (1.0, 0.1, 1.0),
            (0.5, 0.1, 0.0),
            (6.0, 0.1, 6.0),
            (-1.0, 0.1, -1.0),
            (-0.3, 0.1, 0.0),
            (-5.0, 0.3, -5.1),
            (-4.6, 4.6, -4.6),
            (-13.0, 4.6, -13.8),
            (4657.0, 45.0, 4635.0),
            (-1.0, 45.0, -45.0),
            (33333.0, 33.3333, 33299.9667),
            (99999.9, 33.3333, 99966.5667),
            (100.0, 33.3333, 99.9999),
            (7.0, 3.3e-9, 6.9999999993),
            (21.0, 7.00000000035, 14.0000000007),
            // Rounded to float32.
            (12345.9999, 1.0, 12346.0),
            (16777217.0, 1.0, 16777216.0),
            (9007199254740992.0, 4.6, 9007199254740990.0),
            (1e30, 4.6, 1.0000000150474661e+30),
        ] {
            assert_eq!(snapped_nm(x, r), expected, "{x} at {r} nm");
        }
    }

    #[test]
    fn a_tie_between_two_decimals_is_rounded_to_the_even_one() {
        assert_eq!(snapped_nm(-1.0, 1.00048828125), -1.0004882812);
        assert_eq!(snapped_nm(-1.0, 1.00146484375), -1.0014648438);
    }

    fn a_box(a: [f64; 3], b: [f64; 3], r: [f64; 3]) -> BoxNm {
        let given = BoxNm::from_corners(PointNm(a), PointNm(b)).unwrap();
        given.snapped_as_zetta(&Resolution::new(r).unwrap())
    }

    #[test]
    fn corners_are_truncated_to_whole_nm_and_then_rounded_down_to_whole_voxels() {
        let snapped = a_box(
            [15000.0, -0.7, 4882.5],
            [14080.9, -7.5, 4657.5],
            [4.6, 4.0, 45.0],
        );
        let (min, max) = ([14076.0, -8.0, 4635.0], [14996.0, 0.0, 4860.0]);
        for d in 0..3 {
            for (face, inside_above) in [(min[d], true), (max[d], false)] {
                for (by, above) in [(-1e-9, false), (-2e-12, true), (0.0, true), (2e-12, true)] {
                    let mut p = min.map(|v| v + 1.0);
                    p[d] = face + by;
                    let expected = above == inside_above;
                    assert_eq!(snapped.contains(&PointNm(p)), expected, "{p:?}");
                }
            }
        }
    }

    #[test]
    fn a_corner_out_of_the_range_of_float32_is_not_moved() {
        let corner = [1e300, 0.0, 0.0];
        assert_eq!(a_box(corner, corner, [4.6; 3]).min()[0], 1e300);
    }

    proptest! {
        #[test]
        fn a_corner_on_a_voxel_is_not_moved(voxel in -2_000i64..2_000, tenths in 1u32..2000) {
            // Ten voxels of a multiple of 0.1 nm are whole nm.
            let r = f64::from(tenths) / 10.0;
            let x = (voxel * i64::from(tenths)) as f64;
            prop_assume!(x.abs() < 16_777_216.0);
            prop_assert!((snapped_nm(x, r) - x).abs() < 1e-6, "{}", snapped_nm(x, r));
        }

        #[test]
        fn points_are_compared_with_a_face_by_ten_decimals(
            voxel in -1_000_000i64..1_000_000, r in 0.5f64..100.0, steps in -40i8..40,
        ) {
            let face = ten_decimals(voxel as f64 * r);
            let mut p = face;
            for _ in 0..steps.unsigned_abs() {
                p = if steps < 0 { p.next_down() } else { p.next_up() };
            }
            prop_assert_eq!(p >= least_that_rounds_to(face), ten_decimals(p) >= face);
        }

        #[test]
        fn a_snapped_corner_is_less_than_a_voxel_below_the_whole_nm(
            x in -1e7f64..1e7, r in 0.5f64..100.0,
        ) {
            let below = f64::from(x as f32).trunc() - snapped_nm(x, r);
            prop_assert!(below > -1e-6 && below < r + 1e-6, "{} is {} below", x, below);
        }
    }
}

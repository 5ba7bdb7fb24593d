//! Which points a box holds, as zetta_utils decides it: corners cut to whole nm, then down to whole voxels.

use super::{BoxNm, Resolution};

impl BoxNm {
    /// The box that zetta_utils makes of this one before it looks for points: each coordinate cut to a whole nm
    /// towards 0, then `x // r * r` with Python's `//`, both corners downwards.
    pub fn snapped_as_zetta(&self, resolution: &Resolution) -> Self {
        let snap = |corner: [f64; 3]| {
            std::array::from_fn(|d| {
                let (x, r) = (corner[d].trunc(), resolution.0[d]);
                let snapped = floor_div(x, r) * r;
                // Beyond what `f64` holds there are no voxels to go down to.
                if snapped.is_finite() { snapped } else { x }
            })
        };
        Self {
            min: snap(self.min),
            max: snap(self.max),
        }
    }
}

/// Python's `x // r` of two floats, for `r` greater than 0: as CPython computes it, by way of `fmod`, because the
/// floor of the rounded quotient is one more where `x` lies just below a multiple of `r`.
fn floor_div(x: f64, r: f64) -> f64 {
    let rest = x % r;
    let mut quotient = (x - rest) / r;
    if rest < 0.0 {
        quotient -= 1.0;
    }
    let whole = quotient.floor();
    match quotient - whole > 0.5 {
        true => whole + 1.0,
        false => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PointNm;
    use proptest::prelude::*;

    #[test]
    fn floor_division_is_pythons() {
        // Computed with CPython: `x // r`.
        for (x, r, expected) in [
            (15000.0, 4.6, 3260.0),
            (14996.0, 4.6, 3260.0),
            (1.0, 0.1, 9.0),
            (0.5, 0.1, 4.0),
            (6.0, 0.1, 59.0),
            (-1.0, 0.1, -10.0),
            (-0.3, 0.1, -3.0),
            (-4.6, 4.6, -1.0),
            (4657.0, 45.0, 103.0),
            (-1.0, 45.0, -1.0),
            (9007199254740992.0, 4.6, 1958086794508911.0),
            (-13.0, 4.6, -3.0),
        ] {
            assert_eq!(floor_div(x, r), expected, "{x} // {r}");
        }
    }

    #[test]
    fn corners_go_to_whole_nm_towards_zero_and_then_down_to_whole_voxels() {
        let r = Resolution::new([4.6, 4.0, 45.0]).unwrap();
        let a = BoxNm::from_corners(
            PointNm([15000.0, -0.7, 4882.5]),
            PointNm([14080.9, -7.5, 4657.5]),
        );
        let snapped = a.unwrap().snapped_as_zetta(&r);
        assert_eq!(snapped.min(), [3060.0 * 4.6, -8.0, 4635.0]);
        assert_eq!(snapped.max(), [3260.0 * 4.6, 0.0, 4860.0]);
    }

    proptest! {
        #[test]
        fn a_snapped_corner_is_a_voxel_corner_at_or_below_the_whole_nm(
            x in -1e7f64..1e7, r in 0.5f64..100.0,
        ) {
            let corner = PointNm([x, 0.0, 0.0]);
            let b = BoxNm::from_corners(corner, corner).unwrap();
            let snapped = b.snapped_as_zetta(&Resolution::new([r, 1.0, 1.0]).unwrap()).min()[0];
            let below = x.trunc() - snapped;
            prop_assert!(below > -1e-6 && below < r + 1e-6, "{} is {} above {}", x, below, snapped);
        }
    }
}

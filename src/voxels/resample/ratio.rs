//! How many voxels of one grid a voxel of another covers, as a ratio of integers.
//!
//! Resolutions are decimals such as 4.6 and 9.2, some of them rounded to float32 by other programs. In floating point the
//! edges of their voxels never coincide. With integers they do, and "exactly between two voxels" is well defined.

use std::ops::Range;

/// A voxel of the one grid is as long as `voxels / per` of the other; both greater than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio {
    pub voxels: i128,
    pub per: i128,
}

/// A ratio is replaced by a nearby one of integers up to the first column if their relative difference is at most the second
/// column. Small numbers: as [`Resolution::matches`](crate::geometry::Resolution::matches), which treats
/// such resolutions as equal. Medium: the error of rounding two resolutions to float32. Large: the error of
/// computing in `f64`.
const SNAP: [(f64, f64); 3] = [(16.0, 1e-5), (300.0, 2e-7), (1e6, 1e-12)];

/// All other ratios are multiples of 1 / this.
const UNSNAPPED_PER: f64 = (1u64 << 40) as f64;

impl Ratio {
    /// Most that voxels of one grid may be longer than those of the other, as a factor.
    pub const MAX: f64 = 4096.0;

    /// The ratio of two voxels' lengths in nm; `None` beyond [`Ratio::MAX`].
    pub fn new(nm: f64, data_nm: f64) -> Option<Self> {
        let ratio = nm / data_nm;
        if !(1.0 / Self::MAX..=Self::MAX).contains(&ratio) {
            return None;
        }
        let whole = |(voxels, per): (f64, f64)| Self {
            voxels: voxels as i128,
            per: per as i128,
        };
        let snapped = SNAP
            .iter()
            .find_map(|(largest, error)| simplest(ratio, *largest, *error));
        let unsnapped = || ((ratio * UNSNAPPED_PER).round(), UNSNAPPED_PER);
        Some(whole(snapped.unwrap_or_else(unsnapped)))
    }

    /// Whether both grids are the same.
    pub fn is_one(&self) -> bool {
        self.voxels == self.per
    }

    /// Whether the centre of `voxel` is in these voxels of the other grid: their lower edge is included, the upper one is not.
    pub fn centre_is_in(&self, voxel: i64, data: &Range<i64>) -> bool {
        let centre = (2 * i128::from(voxel) + 1) * self.voxels;
        let edge = |v: i64| 2 * i128::from(v) * self.per;
        edge(data.start) <= centre && centre < edge(data.end)
    }

    /// The length of a voxel of the one grid in voxels of the other, if it is a power of two.
    pub fn power_of_two(&self) -> Option<u64> {
        let voxels = u64::try_from(self.voxels).ok()?;
        (self.per == 1 && voxels.is_power_of_two()).then_some(voxels)
    }

    /// The voxels of the one grid that overlap those of the other in `data`.
    pub fn covering(&self, data: Range<i64>) -> Range<i64> {
        let Self { voxels, per } = *self;
        let start = (i128::from(data.start) * per).div_euclid(voxels);
        let end = -(-i128::from(data.end) * per).div_euclid(voxels);
        start as i64..end as i64
    }
}

/// The first continued fraction of `ratio` whose relative error is at most `error`, if its integers are at most `largest`.
fn simplest(ratio: f64, largest: f64, error: f64) -> Option<(f64, f64)> {
    let (mut before, mut last) = ((0.0, 1.0), (1.0, 0.0));
    let mut rest = ratio;
    loop {
        let whole = rest.floor();
        let next = (whole * last.0 + before.0, whole * last.1 + before.1);
        // Also ends where `rest` was infinite.
        if !(next.0 <= largest && next.1 <= largest) {
            return None;
        }
        if next.0 > 0.0 && (next.0 / next.1 - ratio).abs() <= error * ratio {
            return Some(next);
        }
        (before, last) = (last, next);
        rest = (rest - whole).recip();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(nm: f64, data_nm: f64) -> (i128, i128) {
        let ratio = Ratio::new(nm, data_nm).unwrap();
        (ratio.voxels, ratio.per)
    }

    #[test]
    fn common_resolutions_have_small_ratios_despite_rounding() {
        assert_eq!(ratio(9.2, 4.6), (2, 1));
        assert_eq!(ratio(4.6, 9.2), (1, 2));
        assert_eq!(ratio(9.2, 4.599999904632568), (2, 1));
        assert_eq!(ratio(f64::from(45.3f32), f64::from(30.2f32)), (3, 2));
        assert_eq!(ratio(4.6, 4.60002), (1, 1));
        assert_eq!(ratio(4.6, 4.61), (460, 461));
        assert_eq!(ratio(45.0, 4.6), (225, 23));
        assert_eq!(ratio(45.0, 30.0), (3, 2));
        assert_eq!(ratio(0.1 + 0.2, 0.1), (3, 1));
    }

    #[test]
    fn voxels_of_very_different_sizes_have_no_ratio() {
        assert_eq!(Ratio::new(1.0, 5000.0), None);
        assert_eq!(Ratio::new(1e300, 1e-300), None);
        assert!(Ratio::new(4096.0, 1.0).is_some() && Ratio::new(1.0, 4096.0).is_some());
    }

    proptest! {
        #[test]
        fn a_centre_on_an_edge_is_in_the_upper_voxel_wherever_it_lies(
            voxel in -100_000_000i64..100_000_000, nm in prop::sample::select(vec![4.6, 6.4, 0.1, 30.3]), half in 1i64..4,
            noisy: bool,
        ) {
            let data_nm = if noisy { f64::from(nm as f32) } else { nm };
            let ratio = Ratio::new(nm * 2.0 * half as f64, data_nm).unwrap();
            let edge = (2 * voxel + 1) * half;
            prop_assert!(ratio.centre_is_in(voxel, &(edge..edge + 1)));
            prop_assert!(!ratio.centre_is_in(voxel, &(edge - 1..edge)));
        }

        #[test]
        fn a_ratio_is_that_of_the_resolutions(nm in 0.5f64..2000.0, data_nm in 0.5f64..2000.0) {
            let (voxels, per) = ratio(nm, data_nm);
            let off = voxels as f64 / per as f64 / (nm / data_nm) - 1.0;
            prop_assert!(off.abs() <= 1e-5, "{} / {}", voxels, per);
        }

        #[test]
        fn a_ratio_of_decimals_is_exact(tenths in 1i128..3000, data_tenths in 1i128..3000) {
            prop_assume!((tenths - data_tenths).abs() * 10_000 > tenths || tenths == data_tenths);
            let (voxels, per) = ratio(tenths as f64 / 10.0, data_tenths as f64 / 10.0);
            let off = (voxels * data_tenths - per * tenths) as f64 / (per * tenths) as f64;
            prop_assert!(off == 0.0 || (off.abs() <= 1e-5 && voxels.max(per) <= 16)
                || (off.abs() <= 2e-7 && voxels.max(per) <= 300), "{} / {}", voxels, per);
        }
    }
}

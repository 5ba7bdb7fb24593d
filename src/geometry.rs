//! World and voxel coordinates, boxes, and the window rule.
//!
//! World coordinates are nanometres as `f64`, axes in the order x, y, z. Voxel `i` at resolution `r`
//! covers `[i*r, (i+1)*r)`. This is the only module that rounds a coordinate.

mod dimensions;
mod source_transform;
mod zetta;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use dimensions::{Dimensions, spatial_axes};
pub(crate) use source_transform::{PlacedAxis, Placement, SourceDimension, is_unmoved};
pub use source_transform::{SourceTransform, TransformError, TransformOrigin};

/// Names of the spatial axes, in the order in which every triple of this crate stores them.
pub const AXES: [&str; 3] = ["x", "y", "z"];

/// The order of an array's axes after `sample`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AxisOrder {
    /// Channel, z, y, x.
    #[default]
    Czyx,
    /// Channel, x, y, z: as zetta_utils has it.
    Cxyz,
}

/// Voxel coordinates stay below this magnitude, so that they are exact in `f64` and sums of them
/// cannot overflow `i64`.
pub const MAX_VOXEL: i64 = 1 << 52;

/// Size of a voxel in nm along x, y, z; finite and greater than 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Resolution([f64; 3]);

impl Resolution {
    /// The resolution, if every component is finite and greater than 0.
    pub fn new(nm: [f64; 3]) -> Option<Self> {
        nm.iter()
            .all(|r| r.is_finite() && *r > 0.0)
            .then_some(Self(nm))
    }

    /// nm per voxel along x, y, z.
    pub fn nm(&self) -> [f64; 3] {
        self.0
    }

    /// The voxel that holds `point`: per axis `floor(round(p / r, 10 decimals))`. `None` where it is out of range
    /// (beyond [`MAX_VOXEL`]).
    pub fn voxel_of(&self, point: &PointNm) -> Option<[i64; 3]> {
        let mut voxel = [0; 3];
        for (d, v) in voxel.iter_mut().enumerate() {
            *v = -ceil_of_rounded(-point.0[d] / self.0[d])?;
        }
        Some(voxel)
    }

    /// Whether both name the same scale: files hold float32-rounded and computed values
    /// (4.6 next to 4.599999904632568), so components are compared to one part in 100,000.
    pub fn matches(&self, other: &Resolution) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .all(|(a, b)| (a - b).abs() <= 1e-5 * a.max(b))
    }
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let nm = <[f64; 3]>::deserialize(deserializer)?;
        Self::new(nm).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "found {nm:?}, expected three finite numbers greater than 0 (nm per voxel along x, y, z)"
            ))
        })
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.0;
        write!(f, "{x} x {y} x {z} nm")
    }
}

/// A point in world coordinates: nm along x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PointNm(pub [f64; 3]);

impl PointNm {
    /// Whether every coordinate is a finite number.
    pub fn is_finite(&self) -> bool {
        self.0.iter().all(|v| v.is_finite())
    }

    /// How far `other` is away.
    pub fn distance_nm(&self, other: &PointNm) -> f64 {
        let squares = (0..3).map(|d| (self.0[d] - other.0[d]).powi(2));
        squares.sum::<f64>().sqrt()
    }

    /// The point half way between `self` and `other`.
    pub fn midpoint(&self, other: &PointNm) -> PointNm {
        PointNm(std::array::from_fn(|d| (self.0[d] + other.0[d]) / 2.0))
    }
}

impl fmt::Display for PointNm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.0;
        write!(f, "({x}, {y}, {z}) nm")
    }
}

/// An axis-aligned box in world coordinates: lower bound included, upper bound not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxNm {
    min: [f64; 3],
    max: [f64; 3],
}

impl BoxNm {
    /// The box between two opposite corners, given in any order. `None` if a coordinate is not finite.
    pub fn from_corners(a: PointNm, b: PointNm) -> Option<Self> {
        (a.is_finite() && b.is_finite()).then(|| Self {
            min: std::array::from_fn(|d| a.0[d].min(b.0[d])),
            max: std::array::from_fn(|d| a.0[d].max(b.0[d])),
        })
    }

    /// Lower corner, nm.
    pub fn min(&self) -> [f64; 3] {
        self.min
    }

    /// Upper corner, nm.
    pub fn max(&self) -> [f64; 3] {
        self.max
    }

    /// `min <= p < max` on every axis.
    pub fn contains(&self, p: &PointNm) -> bool {
        (0..3).all(|d| self.min[d] <= p.0[d] && p.0[d] < self.max[d])
    }

    /// The voxels of `resolution` that share space with the box. A face that lies on the boundary of voxels, but for
    /// noise far below one, brings in none beyond it.
    pub fn covering_voxels(&self, resolution: &Resolution) -> VoxelBox {
        const NOISE_VOXELS: f64 = 1e-4;
        let voxel = |nm: f64, d: usize| nm / resolution.0[d];
        VoxelBox {
            start: std::array::from_fn(|d| (voxel(self.min[d], d) + NOISE_VOXELS).floor() as i64),
            end: std::array::from_fn(|d| (voxel(self.max[d], d) - NOISE_VOXELS).ceil() as i64),
        }
    }
}

/// Size of a window in voxels along x, y, z; every component at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct WindowSize([u32; 3]);

impl WindowSize {
    /// Longest edge that is accepted, in voxels.
    pub const MAX_EDGE_VOXELS: u32 = 1 << 16;

    /// The window, if every edge is at least 1 and at most [`WindowSize::MAX_EDGE_VOXELS`].
    pub fn new(voxels: [u32; 3]) -> Option<Self> {
        voxels
            .iter()
            .all(|w| (1..=Self::MAX_EDGE_VOXELS).contains(w))
            .then_some(Self(voxels))
    }

    /// Voxels along x, y, z.
    pub fn voxels(&self) -> [u32; 3] {
        self.0
    }

    /// Number of voxels in the window.
    pub fn volume_voxels(&self) -> u64 {
        self.0.iter().map(|w| u64::from(*w)).product()
    }

    /// The window's first voxel for a sample centred on `point`: per axis
    /// `ceil(round(p / r - w / 2, 10 decimals))`, the rule of zetta_utils' `VolumetricNGLIndexer`.
    ///
    /// `None` where the voxel is out of range (beyond [`MAX_VOXEL`]).
    pub fn start_around(&self, point: &PointNm, resolution: &Resolution) -> Option<[i64; 3]> {
        let mut start = [0; 3];
        for (d, first) in start.iter_mut().enumerate() {
            let v = point.0[d] / resolution.0[d] - f64::from(self.0[d]) / 2.0;
            *first = ceil_of_rounded(v)?;
        }
        Some(start)
    }

    /// The box of voxels that the window covers from `start` on.
    pub fn at(&self, start: [i64; 3]) -> VoxelBox {
        VoxelBox {
            start,
            end: std::array::from_fn(|d| start[d] + i64::from(self.0[d])),
        }
    }
}

impl<'de> Deserialize<'de> for WindowSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let voxels = <[u32; 3]>::deserialize(deserializer)?;
        Self::new(voxels).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "found {voxels:?}, expected three whole numbers from 1 to {} (voxels along x, y, z)",
                Self::MAX_EDGE_VOXELS
            ))
        })
    }
}

impl fmt::Display for WindowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.0;
        write!(f, "{x} x {y} x {z}")
    }
}

/// `ceil(round(v, 10))` with Python's `round`: correct decimal rounding, not `rint(v * 1e10) / 1e10`.
fn ceil_of_rounded(v: f64) -> Option<i64> {
    let fraction = v - v.floor();
    // Away from whole numbers rounding to ten decimals cannot change the result.
    let near_whole = !(1e-9..=1.0 - 1e-9).contains(&fraction);
    let rounded = if near_whole {
        format!("{v:.10}").parse().ok()?
    } else {
        v
    };
    let ceil = rounded.ceil();
    (ceil.abs() < MAX_VOXEL as f64).then_some(ceil as i64)
}

/// A box of voxels: first voxel included, `end` not. Axes x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoxelBox {
    /// First voxel.
    pub start: [i64; 3],
    /// One past the last voxel.
    pub end: [i64; 3],
}

impl VoxelBox {
    /// The voxels that both boxes hold; `None` where there is none.
    pub fn intersection(&self, other: &VoxelBox) -> Option<VoxelBox> {
        let start: [i64; 3] = std::array::from_fn(|d| self.start[d].max(other.start[d]));
        let end: [i64; 3] = std::array::from_fn(|d| self.end[d].min(other.end[d]));
        (0..3)
            .all(|d| start[d] < end[d])
            .then_some(VoxelBox { start, end })
    }

    /// Whether `other` lies within this box.
    #[cfg(test)]
    pub fn contains_box(&self, other: &VoxelBox) -> bool {
        (0..3).all(|d| self.start[d] <= other.start[d] && other.end[d] <= self.end[d])
    }

    /// Where voxels of `resolution` lie in the world.
    pub fn nm(&self, resolution: &Resolution) -> BoxNm {
        let nm = |voxel: [i64; 3]| std::array::from_fn(|d| voxel[d] as f64 * resolution.0[d]);
        BoxNm {
            min: nm(self.start),
            max: nm(self.end),
        }
    }

    /// Voxels along x, y, z.
    pub fn shape(&self) -> [u64; 3] {
        std::array::from_fn(|d| (self.end[d] - self.start[d]).max(0) as u64)
    }
}

/// A length of `value` units in nm, rounded to twelve significant digits, so that `4.6e-09 m` and
/// `2.9999999999999997e-05 m` become 4.6 and 30000 nm. `None` where `unit` is not a unit of length.
pub fn length_nm(value: f64, unit: &str) -> Option<f64> {
    let nm_per_unit = match unit {
        "m" => 1e9,
        "cm" => 1e7,
        "mm" => 1e6,
        "um" | "µm" | "μm" => 1e3,
        "nm" => 1.0,
        "pm" => 1e-3,
        "Å" | "angstrom" => 0.1,
        _ => return None,
    };
    format!("{:.11e}", value * nm_per_unit).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start_x(p: f64, r: f64, w: u32) -> i64 {
        WindowSize::new([w, 1, 1])
            .unwrap()
            .start_around(
                &PointNm([p, 0.5, 0.5]),
                &Resolution::new([r, 1.0, 1.0]).unwrap(),
            )
            .unwrap()[0]
    }

    #[test]
    fn a_point_on_a_voxel_corner_starts_half_a_window_before_it() {
        assert_eq!(start_x(800.0, 8.0, 64), 100 - 32);
        assert_eq!(start_x(800.0, 8.0, 5), 98); // ceil(97.5)
    }

    #[test]
    fn float_noise_below_ten_decimals_does_not_move_a_window() {
        // 3080 * 4.6 / 4.6 is 3080.0000000000005
        assert_eq!(start_x(14168.0, 4.6, 32), 3064);
        assert_eq!(start_x(100.0 + 4e-11, 1.0, 2), 99);
        assert_eq!(start_x(100.0 + 6e-11, 1.0, 2), 100);
    }

    #[test]
    fn negative_coordinates_round_towards_plus_infinity() {
        assert_eq!(start_x(-2.5, 1.0, 2), -3);
        assert_eq!(start_x(-2.0, 1.0, 2), -3);
    }

    #[test]
    fn a_point_far_out_of_range_has_no_window() {
        let w = WindowSize::new([2, 2, 2]).unwrap();
        let r = Resolution::new([1.0; 3]).unwrap();
        assert_eq!(w.start_around(&PointNm([1e300, 0.0, 0.0]), &r), None);
        assert_eq!(w.start_around(&PointNm([f64::NAN, 0.0, 0.0]), &r), None);
    }

    #[test]
    fn a_box_holds_its_lower_face_but_not_its_upper_one() {
        let b = BoxNm::from_corners(PointNm([10.0, 0.0, 0.0]), PointNm([0.0, 10.0, 10.0])).unwrap();
        assert!(b.contains(&PointNm([0.0, 0.0, 0.0])));
        assert!(!b.contains(&PointNm([10.0, 0.0, 0.0])));
        assert_eq!((b.min(), b.max()), ([0.0; 3], [10.0; 3]));
    }

    #[test]
    fn voxels_of_another_size_cover_a_box_without_those_that_only_touch_it() {
        let r = |nm| Resolution::new([nm; 3]).unwrap();
        let window = VoxelBox {
            start: [2999, 3000, -3],
            end: [3001, 3002, 0],
        };
        let covering = window.nm(&r(4.6)).covering_voxels(&r(9.2));
        assert_eq!(
            (covering.start, covering.end),
            ([1499, 1500, -2], [1501, 1501, 0])
        );
        let same = window.nm(&r(4.6)).covering_voxels(&r(4.6));
        assert_eq!((same.start, same.end), (window.start, window.end));
    }

    #[test]
    fn lengths_are_read_as_the_decimal_that_was_written() {
        assert_eq!(length_nm(4.6e-09, "m"), Some(4.6));
        assert_eq!(length_nm(2.9999999999999997e-05, "m"), Some(30000.0));
        assert_eq!(length_nm(4.5e-08, "m"), Some(45.0));
        assert_eq!(length_nm(0.0046, "um"), Some(4.6));
        assert_eq!(length_nm(1.0, "s"), None);
        assert_eq!(length_nm(1.0, ""), None);
    }

    #[test]
    fn resolutions_match_across_float32_rounding_only() {
        let r = |x| Resolution::new([x, 4.6, 45.0]).unwrap();
        assert!(r(4.6).matches(&r(4.599999904632568)));
        assert!(!r(4.6).matches(&r(4.61)));
        assert!(Resolution::new([0.0, 1.0, 1.0]).is_none());
        assert!(Resolution::new([f64::INFINITY, 1.0, 1.0]).is_none());
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_decimal_rounding(v in -1e7f64..1e7) {
            let exact: f64 = format!("{v:.10}").parse().unwrap();
            prop_assert_eq!(ceil_of_rounded(v), Some(exact.ceil() as i64));
        }

        #[test]
        fn the_fast_path_agrees_next_to_whole_numbers(i in -1_000_000i64..1_000_000, e in -3e-9f64..3e-9) {
            let v = i as f64 + e;
            let exact: f64 = format!("{v:.10}").parse().unwrap();
            prop_assert_eq!(ceil_of_rounded(v), Some(exact.ceil() as i64));
        }

        #[test]
        fn a_window_is_centred_to_within_a_voxel(
            p in prop::array::uniform3(-1e6f64..1e6),
            r in prop::array::uniform3(0.5f64..100.0),
            w in prop::array::uniform3(1u32..300),
        ) {
            let window = WindowSize::new(w).unwrap();
            let cut = window.at(window.start_around(&PointNm(p), &Resolution::new(r).unwrap()).unwrap());
            prop_assert_eq!(cut.shape(), w.map(u64::from));
            for d in 0..3 {
                let late = cut.start[d] as f64 - (p[d] / r[d] - f64::from(w[d]) / 2.0);
                prop_assert!((-1e-9..1.0).contains(&late), "axis {} is {} voxels late", d, late);
            }
        }

        #[test]
        fn an_intersection_is_the_set_of_common_voxels(
            a in prop::array::uniform3(-4i64..4), b in prop::array::uniform3(-4i64..4),
            sa in prop::array::uniform3(1i64..4), sb in prop::array::uniform3(1i64..4),
            v in prop::array::uniform3(-5i64..9),
        ) {
            let make = |s: [i64; 3], n: [i64; 3]| VoxelBox { start: s, end: std::array::from_fn(|d| s[d] + n[d]) };
            let (a, b) = (make(a, sa), make(b, sb));
            let inside = |x: &VoxelBox| (0..3).all(|d| x.start[d] <= v[d] && v[d] < x.end[d]);
            let both = inside(&a) && inside(&b);
            prop_assert_eq!(a.intersection(&b).is_some_and(|i| inside(&i)), both);
        }
    }
}

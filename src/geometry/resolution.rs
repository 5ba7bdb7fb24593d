//! The size of a voxel.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rounding::{ceil_of_rounded, floor_of_rounded};
use super::{BoxNm, PointNm, VoxelBox};

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

    /// The voxel that contains `point`: per axis `floor(round(p / r, 10 decimals))`. `None` where it is out of range
    /// (beyond [`MAX_VOXEL`]).
    pub fn voxel_of(&self, point: &PointNm) -> Option<[i64; 3]> {
        let mut voxel = [0; 3];
        for (d, v) in voxel.iter_mut().enumerate() {
            *v = floor_of_rounded(point.0[d] / self.0[d])?;
        }
        Some(voxel)
    }

    /// The voxels whose first corner is in the box: per axis those from `ceil(round(min / r, 10 decimals))` to the one before
    /// `ceil(round(max / r, 10 decimals))`. `None` where they are out of range.
    pub fn voxels_in(&self, bounds: &BoxNm) -> Option<VoxelBox> {
        let first = |corner: [f64; 3]| {
            let mut voxel = [0; 3];
            for (d, v) in voxel.iter_mut().enumerate() {
                *v = ceil_of_rounded(corner[d] / self.0[d])?;
            }
            Some(voxel)
        };
        let (start, end) = (first(bounds.min())?, first(bounds.max())?);
        Some(VoxelBox { start, end })
    }

    /// Whether both are the same scale. Files contain values that are computed or rounded to float32
    /// (4.6 and 4.599999904632568), so components are compared to one part in 100,000.
    pub fn matches(&self, other: &Resolution) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .all(|(a, b)| (a - b).abs() <= 1e-5 * a.max(b))
    }

    /// Whether both have the same numbers, in another order.
    pub fn is_reordered(&self, other: &Resolution) -> bool {
        let sorted = |resolution: &Resolution| {
            let mut nm = resolution.0;
            nm.sort_by(f64::total_cmp);
            Self(nm)
        };
        !self.matches(other) && sorted(self).matches(&sorted(other))
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

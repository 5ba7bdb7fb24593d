//! A box in the world.

use super::{PointNm, Resolution, VoxelBox};

/// An axis-aligned box in world coordinates: the lower bound is inside, the upper bound is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxNm {
    pub(super) min: [f64; 3],
    pub(super) max: [f64; 3],
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

    /// The box that extends `nm` further to all sides.
    pub(crate) fn inflated(&self, nm: f64) -> Self {
        Self {
            min: self.min.map(|v| v - nm),
            max: self.max.map(|v| v + nm),
        }
    }

    /// The voxels of `resolution` that overlap the box. A face on the boundary between voxels, to within rounding noise,
    /// adds no voxel beyond it.
    pub fn covering_voxels(&self, resolution: &Resolution) -> VoxelBox {
        const NOISE_VOXELS: f64 = 1e-4;
        let voxel = |nm: f64, d: usize| nm / resolution.nm()[d];
        VoxelBox {
            start: std::array::from_fn(|d| (voxel(self.min[d], d) + NOISE_VOXELS).floor() as i64),
            end: std::array::from_fn(|d| (voxel(self.max[d], d) - NOISE_VOXELS).ceil() as i64),
        }
    }
}

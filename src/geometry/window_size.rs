//! The size of a window, and where a window starts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PointNm, Resolution, VoxelBox, WindowRule};

/// Size of a window in voxels along x, y, z; every component at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct WindowSize([u32; 3]);

impl WindowSize {
    /// Maximum length of an edge, in voxels.
    pub const MAX_EDGE_VOXELS: u32 = 1 << 16;

    /// The size, if every edge is at least 1 and at most [`WindowSize::MAX_EDGE_VOXELS`].
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

    /// The window's first voxel for a sample centered on `point`: per axis
    /// `ceil(round(p / r - w / 2, 10 decimals))`, or `floor` of it.
    ///
    /// `None` where the voxel is out of range (beyond [`MAX_VOXEL`]).
    pub fn start_around(
        &self,
        point: &PointNm,
        resolution: &Resolution,
        rule: WindowRule,
    ) -> Option<[i64; 3]> {
        let mut start = [0; 3];
        for (d, first) in start.iter_mut().enumerate() {
            let v = point.0[d] / resolution.nm()[d] - f64::from(self.0[d]) / 2.0;
            *first = rule.first_voxel(v)?;
        }
        Some(start)
    }

    /// The voxels of the window that starts at `start`.
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

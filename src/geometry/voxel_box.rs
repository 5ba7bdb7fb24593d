//! A box of voxels.

use super::{BoxNm, Resolution};

/// A box of voxels: `start` is inside, `end` is not. Axes x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoxelBox {
    /// First voxel.
    pub start: [i64; 3],
    /// One past the last voxel.
    pub end: [i64; 3],
}

impl VoxelBox {
    /// The voxels in both boxes; `None` if there are none.
    pub fn intersection(&self, other: &VoxelBox) -> Option<VoxelBox> {
        let start: [i64; 3] = std::array::from_fn(|d| self.start[d].max(other.start[d]));
        let end: [i64; 3] = std::array::from_fn(|d| self.end[d].min(other.end[d]));
        (0..3)
            .all(|d| start[d] < end[d])
            .then_some(VoxelBox { start, end })
    }

    /// Whether `other` is inside this box.
    #[cfg(test)]
    pub fn contains_box(&self, other: &VoxelBox) -> bool {
        (0..3).all(|d| self.start[d] <= other.start[d] && other.end[d] <= self.end[d])
    }

    /// The space that these voxels of `resolution` cover in the world.
    pub fn nm(&self, resolution: &Resolution) -> BoxNm {
        let nm = |voxel: [i64; 3]| std::array::from_fn(|d| voxel[d] as f64 * resolution.nm()[d]);
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

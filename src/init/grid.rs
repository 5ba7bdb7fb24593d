//! The resolution and the size of windows, chosen from the scales that volumes have.

use super::content::{OpenedLayer, VolumeFacts};
use crate::geometry::Resolution;

/// Windows of anisotropic volumes, x y z, in voxels.
const FLAT: [u32; 3] = [64, 64, 16];

/// Windows of isotropic volumes, x y z, in voxels.
const CUBE: [u32; 3] = [64, 64, 64];

/// Voxels this many times as long along z as along x and y are anisotropic.
const ANISOTROPY: f64 = 2.0;

/// The voxels and the size of windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) resolution: Resolution,
    pub(super) window: [u32; 3],
    /// Whether every volume has the resolution.
    pub(super) is_shared: bool,
}

impl Grid {
    /// The finest resolution that all volumes have, or else that most have; `None` without a volume.
    pub(super) fn choose(layers: &[OpenedLayer]) -> Option<Self> {
        let volumes: Vec<&VolumeFacts> = layers.iter().filter_map(OpenedLayer::volume).collect();
        let owners = |r: &Resolution| volumes.iter().filter(|v| v.has(r)).count();
        let scales = volumes.iter().flat_map(|v| v.scales.iter().copied());
        let resolution = scales.max_by(|a, b| {
            let finer = || voxel_nm3(b).total_cmp(&voxel_nm3(a));
            owners(a).cmp(&owners(b)).then_with(finer)
        })?;
        let [x, y, z] = resolution.nm();
        Some(Self {
            resolution,
            window: if z >= ANISOTROPY * x.max(y) {
                FLAT
            } else {
                CUBE
            },
            is_shared: owners(&resolution) == volumes.len(),
        })
    }

    /// The scale that is read of a volume that does not have the resolution of the windows, and how it is resampled.
    pub(super) fn resampled(&self, volume: &VolumeFacts) -> Option<(Resolution, &'static str)> {
        if volume.has(&self.resolution) {
            return None;
        }
        let wanted = voxel_nm3(&self.resolution);
        let distance = |r: &Resolution| (voxel_nm3(r) / wanted).ln().abs();
        let nearest = |a: &&Resolution, b: &&Resolution| distance(a).total_cmp(&distance(b));
        let scale = *volume.scales.iter().min_by(nearest)?;
        let is_finer = voxel_nm3(&scale) <= wanted;
        Some((
            scale,
            match (volume.is_labels, is_finer) {
                (true, true) => "majority",
                (true, false) => "nearest",
                (false, true) => "area",
                (false, false) => "linear",
            },
        ))
    }

    /// Size of a window in nm.
    pub(super) fn window_nm(&self) -> [f64; 3] {
        let nm = self.resolution.nm();
        std::array::from_fn(|d| nm[d] * f64::from(self.window[d]))
    }
}

fn voxel_nm3(resolution: &Resolution) -> f64 {
    resolution.nm().iter().product()
}

//! Which voxel a window starts at, where its exact start is between two voxels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rounding::{ceil_of_rounded, floor_of_rounded};

/// Which voxel a window starts at, where its exact start is between two voxels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowRule {
    /// The upper one, as in zetta_utils' `VolumetricNGLIndexer`.
    #[default]
    Ceil,
    /// The lower one, as in zetta_utils' script `assign_synapses.py`.
    Floor,
}

impl WindowRule {
    /// Whether it is the default.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The first voxel of a window whose exact start is `start` voxels. `None` where it is out of range (beyond
    /// [`MAX_VOXEL`](super::MAX_VOXEL)).
    pub(super) fn first_voxel(self, start: f64) -> Option<i64> {
        match self {
            Self::Ceil => ceil_of_rounded(start),
            Self::Floor => floor_of_rounded(start),
        }
    }
}

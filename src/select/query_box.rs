//! What a query reads.

use crate::geometry::VoxelBox;

/// A volume, by its position in the plan, and the voxels of it that a query reads.
pub(super) type QueryBox = (usize, Option<VoxelBox>);

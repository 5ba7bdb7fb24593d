//! What a query reads.

use crate::geometry::VoxelBox;

/// A volume, by its position in the plan, and the voxels of it that a query reads.
pub(super) type QueryBox = (usize, Option<VoxelBox>);

/// What a query reads that reads nothing.
pub(super) const NO_BOX: QueryBox = (0, None);

/// Everything that a query reads: from one volume, or from two.
pub(super) type QueryBoxes = [QueryBox; 2];

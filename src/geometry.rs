//! World and voxel coordinates, boxes, and the window rule.
//!
//! World coordinates are nanometres as `f64`, axes in the order x, y, z. Voxel `i` at resolution `r` covers
//! `[i*r, (i+1)*r)`. This is the only module that rounds coordinates.

mod axes;
mod box_nm;
mod dimensions;
mod length;
mod point;
mod resolution;
mod rounding;
mod source_transform;
#[cfg(test)]
mod tests;
mod voxel_box;
mod window_rule;
mod window_size;
mod zetta;

pub use axes::{AXES, AxisOrder};
pub use box_nm::BoxNm;
pub(crate) use dimensions::{Dimensions, spatial_axes};
pub use length::length_nm;
pub use point::PointNm;
pub use resolution::Resolution;
pub use rounding::MAX_VOXEL;
pub(crate) use source_transform::{PlacedAxis, Placement, SourceDimension, is_unmoved};
pub use source_transform::{SourceTransform, TransformError, TransformOrigin};
pub use voxel_box::VoxelBox;
pub use window_rule::WindowRule;
pub use window_size::WindowSize;

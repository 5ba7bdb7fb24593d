//! The size and position of the demo's volume, and the size of its windows.

/// Voxels of the volume, x, y, z; not a multiple of a chunk, so that the last chunks are truncated.
pub(super) const SHAPE: [usize; 3] = [388, 372, 58];
/// The volume's first voxel; even in x and y, for the second scale of the image.
pub(super) const OFFSET: [usize; 3] = [1200, 900, 150];
/// Size of a voxel, nm.
pub(super) const RESOLUTION_NM: [f64; 3] = [8.0, 8.0, 40.0];
/// Size of a window in the demo's config, in voxels.
pub(super) const WINDOW: [u32; 3] = [64, 64, 16];

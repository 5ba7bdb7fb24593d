//! Everything that needs voxels before the plan is final: which object is at a point, how much of a window is nonzero,
//! whether a window extends past its volume, which codec suits an array.
//!
//! A plan and its volumes come in. The plan goes out with fewer samples, and the volumes with a codec for each array.

mod codecs;
mod filter;
mod object_chunks;
mod objects;
mod pass;
#[cfg(test)]
mod tests;

pub(crate) use codecs::choose_codecs;
pub(crate) use filter::filter_by_voxels;
#[cfg(any(test, feature = "bench"))]
pub use pass::map_windows;

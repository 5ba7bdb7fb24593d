//! Everything that needs the volumes before the plan is final: which object is at a point, how much of a window is
//! nonzero, whether a window extends past its volume, which codec suits an array.

mod codecs;
mod filter;
mod object_chunks;
mod pass;

pub(crate) use codecs::choose_codecs;
pub(crate) use filter::filter_by_voxels;
#[cfg(any(test, feature = "bench"))]
pub use pass::map_windows;

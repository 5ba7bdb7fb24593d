//! What Neuroglancer's formats share, whichever room reads them.
//!
//! Annotation kinds and coordinate spaces occur in precomputed annotations and in viewer states alike; a
//! viewer state holds both boxes for `collection` and annotations for `points`.

mod dimensions;
mod geometry_kind;
pub mod viewer_state;

pub(crate) use dimensions::{Dimensions, spatial_axes};
pub use geometry_kind::GeometryKind;

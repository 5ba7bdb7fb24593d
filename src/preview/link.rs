//! Neuroglancer links: the state of a viewer that shows sources, boxes, samples and dropped annotations, and the dataset itself as a
//! volume.
//!
//! The state is JSON as Neuroglancer defines it: <https://github.com/google/neuroglancer/blob/master/src/viewer_state.yml> and the pages
//! that it names. Positions are in voxels of the `dimensions` of the state.

mod annotations;
mod coordinates;
mod layers;
mod state;
mod url;

pub use state::{LinkTarget, Links};
pub use url::{UrlMapping, ViewerUrl};

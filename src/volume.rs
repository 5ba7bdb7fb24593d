//! Volumes: the layers that windows are cut out of, as grids of blocks.
//!
//! Input: a layer's source and the wanted resolution. Output: a [`Volume`], the same interface for every format.
//! Reading a block has two steps, [`Volume::fetch`] (I/O) and [`Volume::decode`] (CPU), so that they can overlap.
//! The block cache (`blocks`) decides which blocks are read and when.

mod array_description;
mod axes;
mod chunk_store;
pub mod compressed_segmentation;
mod encoded;
mod error;
mod first_voxel;
mod format;
mod format_dimensions;
mod graphene;
mod grid;
mod hdf5;
mod interface;
mod json_with_nan;
mod model_space;
mod n5;
mod open;
mod open_format;
mod precomputed;
mod roots;
mod spatial_attributes;
mod strided;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod tiff;
mod transformed;
mod unit_names;
mod zarr;

pub use encoded::EncodedBlock;
pub use error::VolumeError;
pub use grid::{BlockGrid, BlockIndex};
pub use interface::{ChunkGroups, MAX_BLOCK_BYTES, Volume, VolumeMeta};
#[cfg(test)]
pub use open::open;
pub use open::{open_layer, resolutions};
pub(crate) use roots::SupervoxelRoot;
pub use roots::{RootMap, with_roots};
pub(crate) use tiff::{has_sections, is_pattern, may_be_tiff, names_tiff};

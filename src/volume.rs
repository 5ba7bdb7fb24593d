//! Volumes: the layers that windows are cut out of, as grids of blocks.
//!
//! Input: a layer's source and the wanted resolution. Output: a [`Volume`], the same interface for every format.
//! Reading a block has two steps, [`Volume::fetch`] (I/O) and [`Volume::decode`] (CPU), so that they can overlap.
//! The block cache (`blocks`) decides which blocks are read and when.

mod array_description;
mod axes;
pub mod compressed_segmentation;
mod encoded;
mod error;
mod first_voxel;
mod format;
mod format_dimensions;
mod grid;
mod json_with_nan;
mod model_space;
mod n5;
mod precomputed;
mod spatial_attributes;
mod strided;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod transformed;
mod unit_names;
mod zarr;

use std::fmt;
use std::sync::Arc;

use crate::config::{Forbidden, LayerConfig};
use crate::data_type::{DataType, Scalar};
use crate::geometry::{Resolution, VoxelBox};
use crate::storage::{SourceUrl, Storage, Store, forbidden_is_missing};
use format::VolumeFormat;

pub use encoded::EncodedBlock;
pub use error::VolumeError;
pub use grid::{BlockGrid, BlockIndex};

/// Largest decoded block that is accepted, in bytes. Protects against sizes in damaged or hostile files.
pub const MAX_BLOCK_BYTES: u64 = 1 << 30;

/// The type, size and block grid of a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeMeta {
    /// Type of a voxel's value.
    pub data_type: DataType,
    /// Values per voxel.
    pub channels: u32,
    /// nm per voxel, from the source's metadata.
    pub resolution: Resolution,
    /// The grid of blocks, which also defines the volume's bounds.
    pub grid: BlockGrid,
    /// The value of voxels outside the bounds and of voxels in missing chunks.
    pub fill_value: Scalar,
}

impl VolumeMeta {
    /// Bytes of a decoded block: voxels of `region` × channels × bytes per value.
    pub fn block_bytes(&self, region: &VoxelBox) -> usize {
        let voxels: u64 = region.shape().iter().product();
        voxels as usize * self.channels as usize * self.data_type.size_bytes()
    }
}

/// One layer at one resolution.
pub trait Volume: Send + Sync + fmt::Debug {
    /// The folder or URL of the scale, for messages.
    fn describe(&self) -> String;

    /// The path or URL of the block, for messages.
    fn describe_block(&self, block: BlockIndex) -> String;

    /// Where the source's metadata redirects to, if it redirects.
    fn redirected_to(&self) -> Option<String> {
        None
    }

    /// Whether decoding a block needs a second buffer of the block's size.
    fn decode_needs_copy(&self) -> bool {
        false
    }

    /// Whether the volume is on a server. Reading takes long compared with decoding, so prefetching pays off.
    fn is_remote(&self) -> bool {
        false
    }

    /// Groups of blocks that share an object, if the volume is sharded.
    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        None
    }

    /// The type, size and block grid.
    fn meta(&self) -> &VolumeMeta;

    /// Digest of the source's metadata. It changes if the source changes.
    fn digest(&self) -> blake3::Hash;

    /// Reads the stored bytes of `block` into `encoded`. Returns `false` if the block is missing. A stored block that
    /// cannot be read is an error.
    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError>;

    /// Tells the operating system that `block` will be fetched soon, so that a disk can read it in advance. For a
    /// block in a shard, this also reads the shard's index.
    fn prefetch(&self, _block: BlockIndex) {}

    /// Decodes the bytes from [`Volume::fetch`] and replaces the contents of `values`: little-endian, in C order
    /// `[channel, z, y, x]`, with the shape of [`BlockGrid::block_box`]. May modify `encoded`.
    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError>;
}

/// Groups of blocks that are stored in the same shard.
pub trait ChunkGroups {
    /// Key of the group of `block`. All blocks of a group are found with the same index. Does no I/O.
    fn group_key(&self, block: BlockIndex) -> [u64; 2];

    /// Splits the blocks of one group into runs. Each run is read with one request. May read the group's index. A
    /// block that cannot be found is a run of its own.
    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>>;

    /// Reads the stored bytes of a run, one block into each item of `encoded`. Returns `false` if a block is missing.
    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError>;
}

/// Opens the volume at `source` at the scale with the given `resolution`.
#[cfg(test)]
pub fn open(
    source: &SourceUrl,
    resolution: &Resolution,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    open_layer(source, resolution, &LayerConfig::default(), storage)
}

/// The resolutions of the volume at `source`.
pub fn resolutions(
    source: &SourceUrl,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<Vec<Resolution>, VolumeError> {
    // No scale has this resolution, so the error lists those that exist.
    let Some(none) = Resolution::new([f64::MIN_POSITIVE; 3]) else {
        unreachable!("a positive number is a resolution")
    };
    match open_layer(source, &none, layer, storage) {
        Err(VolumeError::NoScale { available, .. }) => Ok(available),
        Err(e) => Err(e),
        Ok(volume) => Ok(vec![volume.meta().resolution]),
    }
}

/// Like [`open`], with the layer's settings from the config.
pub fn open_layer(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    match &source.transform {
        None => open_untransformed(source, resolution, layer, storage),
        Some(transform) => transformed::open(source, transform, resolution, layer, storage),
    }
}

/// Opens the volume at `source` without its transform.
fn open_untransformed(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    let location = &source.location;
    let format = match source.format.as_deref() {
        Some(name) => VolumeFormat::from_name(name),
        None => Some(VolumeFormat::detect(location, storage)?),
    };
    match format {
        Some(VolumeFormat::Precomputed) => {
            if layer.places_voxels() {
                return Err(VolumeError::RedundantLayerConfig {
                    location: location.to_string(),
                });
            }
            let volume =
                precomputed::PrecomputedVolume::open(location, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
        Some(VolumeFormat::Zarr(version)) => {
            let volume = zarr::ZarrVolume::open(location, version, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
        Some(VolumeFormat::N5) => {
            let volume = n5::N5Volume::open(location, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
        None => Err(unknown_format(source)),
    }
}

fn unknown_format(source: &SourceUrl) -> VolumeError {
    let location = source.location.to_string();
    match source.format.as_deref() {
        Some("neuroglancer-state") => VolumeError::Annotations { location },
        format => VolumeError::Format {
            location,
            format: format.unwrap_or_default().to_owned(),
        },
    }
}

/// The store that the chunks of `layer` are read from.
fn chunk_store(store: Arc<dyn Store>, layer: &LayerConfig) -> Arc<dyn Store> {
    match layer.forbidden {
        Forbidden::Error => store,
        Forbidden::Missing => forbidden_is_missing(store),
    }
}

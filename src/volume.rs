//! Volumes: decoded blocks of a layer on its own storage grid.
//!
//! In goes a layer's source and the wanted resolution; out comes a [`Volume`], which is the same thing to
//! everything downstream whatever it was read from. Reading a block has two halves, [`Volume::fetch`]
//! (I/O) and [`Volume::decode`] (CPU), so that the one can overlap the other. The block cache fetches
//! and decodes every block once while it is needed.

mod axes;
pub mod compressed_segmentation;
mod encoded;
mod error;
mod format;
mod grid;
mod json_with_nan;
mod model_space;
mod n5;
mod placement;
mod precomputed;
mod spatial_attributes;
mod strided;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod transformed;
mod zarr;

use std::fmt;
use std::sync::Arc;

use crate::config::{Forbidden, LayerConfig};
use crate::data_type::{DataType, Scalar};
use crate::geometry::{Resolution, VoxelBox};
use crate::storage::{SourceUrl, Store, forbidden_is_missing};
use format::VolumeFormat;

pub use encoded::EncodedBlock;
pub use error::VolumeError;
pub use grid::{BlockGrid, BlockIndex};

/// Largest decoded block that is accepted, in bytes: a guard against sizes that a damaged or hostile
/// file claims.
pub const MAX_BLOCK_BYTES: u64 = 1 << 30;

/// What a volume holds and how it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeMeta {
    /// Type of a voxel's value.
    pub data_type: DataType,
    /// Values per voxel.
    pub channels: u32,
    /// nm per voxel, as the source says.
    pub resolution: Resolution,
    /// The grid of blocks, and with it the volume's bounds.
    pub grid: BlockGrid,
    /// What voxels read as that are not stored or lie outside of the bounds.
    pub fill_value: Scalar,
}

impl VolumeMeta {
    /// Bytes of a decoded block: channels times the voxels of `region` times the value's size.
    pub fn block_bytes(&self, region: &VoxelBox) -> usize {
        let voxels: u64 = region.shape().iter().product();
        voxels as usize * self.channels as usize * self.data_type.size_bytes()
    }
}

/// One layer at one resolution.
pub trait Volume: Send + Sync + fmt::Debug {
    /// Its name for messages: the folder or URL of the scale.
    fn describe(&self) -> String;

    /// The block's name for messages: the path or URL at which it is stored, or would be.
    fn describe_block(&self, block: BlockIndex) -> String;

    /// Where it is stored, if what lies at its source says that it has moved.
    fn redirected_to(&self) -> Option<String> {
        None
    }

    /// Whether decoding a block takes a second copy of its values.
    fn decode_needs_copy(&self) -> bool {
        false
    }

    /// Whether fetching takes long compared with decoding, so that it pays to fetch ahead.
    fn is_remote(&self) -> bool {
        false
    }

    /// How to read neighbouring blocks together, where several are stored in one object.
    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        None
    }

    /// What it holds and how it is stored.
    fn meta(&self) -> &VolumeMeta;

    /// Digest of what the source says about itself: another digest is another source.
    fn digest(&self) -> blake3::Hash;

    /// Reads the stored bytes of `block` into `encoded`. `false` where the block is not stored; a block
    /// that is stored but cannot be read is an error.
    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError>;

    /// Says that `block` will be fetched soon, so that a disk can begin to read. Of blocks in shard files it reads the
    /// index, which fetching needs, too; it waits for nothing else.
    fn prefetch(&self, _block: BlockIndex) {}

    /// Decodes what [`Volume::fetch`] read: replaces the contents of `values` by the block's values,
    /// little-endian, in C order `[channel, z, y, x]`, shape as [`BlockGrid::block_box`] says. The
    /// bytes in `encoded` may be swapped or overwritten.
    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError>;
}

/// Blocks that lie side by side in shard files.
pub trait ChunkGroups {
    /// A number that blocks share whose place the same index says. Asks nobody.
    fn group_key(&self, block: BlockIndex) -> [u64; 2];

    /// Splits blocks of one shelf into runs, each of which one request reads. Reads the shelf's index unless
    /// it is known. A block that cannot be found is a run of its own.
    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>>;

    /// Reads the stored bytes of a run of several blocks, each into its place of `encoded`. `false` where one of
    /// them is not stored after all.
    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError>;
}

/// Opens the volume at `source` at the scale whose resolution matches `resolution`.
#[cfg(test)]
pub fn open(source: &SourceUrl, resolution: &Resolution) -> Result<Arc<dyn Volume>, VolumeError> {
    open_layer(source, resolution, &LayerConfig::default())
}

/// The resolutions at which the volume at `source` can be opened.
pub fn resolutions(
    source: &SourceUrl,
    layer: &LayerConfig,
) -> Result<Vec<Resolution>, VolumeError> {
    // Every format lists what it has when it is asked for what it has not.
    let Some(none) = Resolution::new([f64::MIN_POSITIVE; 3]) else {
        unreachable!("a number greater than 0 is a resolution")
    };
    match open_layer(source, &none, layer) {
        Err(VolumeError::NoScale { available, .. }) => Ok(available),
        Err(e) => Err(e),
        Ok(volume) => Ok(vec![volume.meta().resolution]),
    }
}

/// Opens the volume at `source` as [`open`] does, with what the config says of the layer.
pub fn open_layer(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
) -> Result<Arc<dyn Volume>, VolumeError> {
    match &source.transform {
        None => open_untransformed(source, resolution, layer),
        Some(transform) => {
            transformed::open(source, transform, resolution, layer, open_untransformed)
        }
    }
}

/// Opens the volume at `source` where its source says that it lies.
fn open_untransformed(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
) -> Result<Arc<dyn Volume>, VolumeError> {
    let location = &source.location;
    let format = match source.format.as_deref() {
        Some(name) => VolumeFormat::from_name(name),
        None => Some(VolumeFormat::detect(location)?),
    };
    match format {
        Some(VolumeFormat::Precomputed) => {
            if layer.says_where() {
                return Err(VolumeError::RedundantLayerConfig {
                    location: location.to_string(),
                });
            }
            let volume = precomputed::PrecomputedVolume::open(location, resolution, layer)?;
            Ok(Arc::new(volume))
        }
        Some(VolumeFormat::Zarr(version)) => {
            let volume = zarr::ZarrVolume::open(location, version, resolution, layer)?;
            Ok(Arc::new(volume))
        }
        Some(VolumeFormat::N5) => {
            let volume = n5::N5Volume::open(location, resolution, layer)?;
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

/// `store`, as the chunks of `layer` are read from it.
fn chunk_store(store: Arc<dyn Store>, layer: &LayerConfig) -> Arc<dyn Store> {
    match layer.forbidden {
        Forbidden::Error => store,
        Forbidden::Missing => forbidden_is_missing(store),
    }
}

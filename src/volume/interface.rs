//! The interface that every format implements.

use std::fmt;

use super::encoded::EncodedBlock;
use super::error::VolumeError;
use super::grid::{BlockGrid, BlockIndex};
use super::roots::RootMap;
use crate::data_type::{DataType, Scalar};
use crate::geometry::{Resolution, VoxelBox};

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

    /// Bytes of the largest decoded block.
    pub(crate) fn largest_block_bytes(&self) -> u64 {
        self.block_bytes(&self.grid.block_box([0, 0, 0])) as u64
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

    /// Whether the source's metadata says that it is an image, so that its values are no ids.
    fn is_image(&self) -> bool {
        false
    }

    /// The roots that replace its supervoxels, if they are replaced.
    fn roots(&self) -> Option<&RootMap> {
        None
    }

    /// Most bytes that decoding a block takes, beside the block as it is stored, decompressed and decoded.
    fn decoding_bytes(&self) -> u64 {
        0
    }

    /// Number of operations, one after the other, that wait for a server when a block is read; 0 on a local disk.
    fn round_trips(&self) -> usize {
        0
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

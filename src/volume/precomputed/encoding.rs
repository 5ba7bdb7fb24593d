//! What the bytes of a chunk mean: the encodings of precomputed volumes.

use super::picture::PictureFormat;
use crate::geometry::VoxelBox;
use crate::volume::VolumeMeta;
use crate::volume::compressed_segmentation::{self, CompressedSegmentationError};

/// How a chunk is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encoding {
    Raw,
    CompressedSegmentation { block: [u32; 3] },
    Picture(PictureFormat),
}

/// What is wrong with a chunk. The caller adds its name.
#[derive(Debug)]
pub(super) enum ChunkProblem {
    Text(String),
    CompressedSegmentation(CompressedSegmentationError),
}

impl Encoding {
    /// Most bytes that a chunk of `region` can have in this encoding; just as many if it is raw.
    pub(super) fn limit_bytes(self, meta: &VolumeMeta, region: &VoxelBox) -> usize {
        match self {
            Self::Raw => meta.block_bytes(region),
            // Noise takes more room than its values, but hardly so much.
            Self::Picture(_) => 2 * meta.block_bytes(region) + (1 << 16),
            Self::CompressedSegmentation { block } => {
                let shape = region.shape();
                let padded = |d: usize| shape[d].next_multiple_of(u64::from(block[d]));
                let voxels: u64 = (0..3).map(padded).product();
                // Per voxel at most 32 bits of index, a table entry and, in blocks of one voxel, a header.
                let per_voxel = 4 + meta.data_type.size_bytes() as u64 + 8;
                ((voxels * per_voxel + 4) * u64::from(meta.channels)) as usize
            }
        }
    }

    /// Decodes the chunk `bytes` of `region`: replaces the contents of `values`. `scratch` is a buffer.
    pub(super) fn decode(
        self,
        bytes: &[u8],
        meta: &VolumeMeta,
        region: &VoxelBox,
        scratch: &mut Vec<u8>,
        values: &mut Vec<u8>,
    ) -> Result<(), ChunkProblem> {
        match self {
            Self::Picture(format) => format
                .decode(bytes, meta, region, scratch, values)
                .map_err(ChunkProblem::Text),
            Self::Raw => {
                check_raw(bytes, meta, region)?;
                values.clear();
                values.extend_from_slice(bytes);
                Ok(())
            }
            Self::CompressedSegmentation { block } => compressed_segmentation::decode(
                bytes,
                region.shape().map(|n| n as usize),
                meta.channels as usize,
                block.map(|n| n as usize),
                meta.data_type.size_bytes(),
                values,
            )
            .map_err(ChunkProblem::CompressedSegmentation),
        }
    }
}

/// A raw chunk has just the bytes of its values.
pub(super) fn check_raw(
    values: &[u8],
    meta: &VolumeMeta,
    region: &VoxelBox,
) -> Result<(), ChunkProblem> {
    let expected = meta.block_bytes(region);
    let [x, y, z] = region.shape();
    match values.len() == expected {
        true => Ok(()),
        false => Err(ChunkProblem::Text(format!(
            "it has {} bytes, expected {expected}: {x} x {y} x {z} voxels, {} channel(s) of {}",
            values.len(),
            meta.channels,
            meta.data_type,
        ))),
    }
}

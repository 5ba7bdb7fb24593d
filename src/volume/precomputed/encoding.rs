//! The encodings of chunks in precomputed volumes.

use super::picture::PictureFormat;
use super::segmentation::SegmentationFormat;
use crate::geometry::VoxelBox;
use crate::volume::VolumeMeta;
use crate::volume::compressed_segmentation::{self, CompressedSegmentationError};

/// The encoding of a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encoding {
    Raw,
    CompressedSegmentation { block: [u32; 3] },
    Picture(PictureFormat),
    Segmentation(SegmentationFormat),
}

/// Why a chunk cannot be decoded. The caller adds the chunk's name.
#[derive(Debug)]
pub(super) enum ChunkProblem {
    Text(String),
    CompressedSegmentation(CompressedSegmentationError),
}

impl Encoding {
    /// Largest number of bytes of a chunk of `region` in this encoding. Exact for raw chunks.
    pub(super) fn limit_bytes(self, meta: &VolumeMeta, region: &VoxelBox) -> usize {
        match self {
            Self::Raw => meta.block_bytes(region),
            // Noise needs more bytes than its raw values, but hardly twice as many.
            Self::Picture(_) => 2 * meta.block_bytes(region) + (1 << 16),
            Self::Segmentation(format) => format.limit_bytes(region),
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

    /// Decodes the chunk `bytes` of `region` and replaces the contents of `values`. `scratch` is a reusable buffer.
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
            Self::Segmentation(format) => format
                .decode(bytes, meta, region, values)
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

/// Checks the length of a raw chunk.
pub(super) fn check_raw(
    values: &[u8],
    meta: &VolumeMeta,
    region: &VoxelBox,
) -> Result<(), ChunkProblem> {
    let expected = meta.block_bytes(region);
    let [x, y, z] = region.shape();
    if values.len() == expected {
        return Ok(());
    }
    Err(ChunkProblem::Text(format!(
        "found {} bytes, expected {expected}: {x} x {y} x {z} voxels, {} channel(s) of {}",
        values.len(),
        meta.channels,
        meta.data_type,
    )))
}

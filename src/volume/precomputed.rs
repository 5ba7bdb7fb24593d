//! Neuroglancer precomputed volumes, one file per chunk.
//!
//! Format: google/neuroglancer `src/datasource/precomputed/volume.md`. A chunk is the file `NAME` below
//! the scale's key, or, as CloudVolume writes on file systems, `NAME.gz`. `voxel_offset` is part of the
//! name, and the last chunk along an axis is named by and holds the truncated range.

mod info;

use super::compression::{gunzip, looks_like_gzip};
use super::{
    BlockIndex, Compression, Encoded, Volume, VolumeError, VolumeMeta, compressed_segmentation,
};
use crate::geometry::Resolution;
use crate::storage::{Location, Store};
use info::Encoding;
use std::sync::Arc;

/// One scale of a precomputed volume.
#[derive(Debug)]
pub(super) struct PrecomputedVolume {
    store: Arc<dyn Store>,
    meta: VolumeMeta,
    encoding: Encoding,
    digest: blake3::Hash,
}

impl PrecomputedVolume {
    /// Opens the scale that matches `resolution` of the volume whose info file is in `location`.
    pub(super) fn open(location: &Location, resolution: &Resolution) -> Result<Self, VolumeError> {
        let scale = info::read(location, resolution)?;
        Ok(Self {
            store: scale.location.open(),
            meta: scale.meta,
            encoding: scale.encoding,
            digest: scale.digest,
        })
    }

    fn chunk_name(&self, block: BlockIndex) -> String {
        let b = self.meta.grid.block_box(block);
        let [x, y, z] = std::array::from_fn(|d| format!("{}-{}", b.start[d], b.end[d]));
        format!("{x}_{y}_{z}")
    }

    fn stored_name(&self, block: BlockIndex, compression: Compression) -> String {
        let name = self.chunk_name(block);
        match compression {
            Compression::None => name,
            Compression::Gzip => name + ".gz",
        }
    }

    /// Most bytes that the block can have in its own encoding.
    fn encoded_limit_bytes(&self, block: BlockIndex) -> usize {
        let region = self.meta.grid.block_box(block);
        match self.encoding {
            Encoding::Raw => self.meta.block_bytes(&region),
            Encoding::CompressedSegmentation { block: inner } => {
                let voxels = std::array::from_fn::<u64, 3, _>(|d| {
                    region.shape()[d].next_multiple_of(u64::from(inner[d]))
                });
                let voxels: u64 = voxels.iter().product();
                // Per voxel at most 32 bits of index, a table entry and, in blocks of one voxel, a header.
                let per_voxel = 4 + self.meta.data_type.size_bytes() as u64 + 8;
                ((voxels * per_voxel + 4) * u64::from(self.meta.channels)) as usize
            }
        }
    }
}

impl Volume for PrecomputedVolume {
    fn describe(&self) -> String {
        self.store.describe("")
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.store.describe(&self.chunk_name(block))
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.digest
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut Encoded) -> Result<bool, VolumeError> {
        // Compressed and otherwise wrong files may be longer; decoding says what is wrong with them.
        let limit_bytes = 2 * self.encoded_limit_bytes(block) as u64 + (1 << 20);
        for compression in [Compression::None, Compression::Gzip] {
            let name = self.stored_name(block, compression);
            if self.store.read(&name, limit_bytes, &mut encoded.bytes)? {
                encoded.compression = compression;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut Encoded,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let object = || {
            self.store
                .describe(&self.stored_name(block, encoded.compression))
        };
        let damaged = |problem| VolumeError::Chunk {
            object: object(),
            problem,
        };
        let region = self.meta.grid.block_box(block);
        let limit_bytes = self.encoded_limit_bytes(block);
        let gzipped = encoded.compression == Compression::Gzip
            || (looks_like_gzip(&encoded.bytes)
                && !matches!(self.encoding, Encoding::Raw if encoded.bytes.len() == limit_bytes));
        match self.encoding {
            Encoding::Raw => {
                match gzipped {
                    true => gunzip(&encoded.bytes, limit_bytes, values).map_err(damaged)?,
                    false => std::mem::swap(&mut encoded.bytes, values),
                }
                if values.len() != limit_bytes {
                    let problem = format!(
                        "it has {} bytes, expected {limit_bytes}: {} x {} x {} voxels, {} channel(s) of {}",
                        values.len(),
                        region.shape()[0],
                        region.shape()[1],
                        region.shape()[2],
                        self.meta.channels,
                        self.meta.data_type,
                    );
                    return Err(damaged(problem));
                }
                Ok(())
            }
            Encoding::CompressedSegmentation { block: inner } => {
                if gzipped {
                    gunzip(&encoded.bytes, limit_bytes, &mut encoded.inflated).map_err(damaged)?;
                }
                let bytes = match gzipped {
                    true => &encoded.inflated,
                    false => &encoded.bytes,
                };
                compressed_segmentation::decode(
                    bytes,
                    region.shape().map(|n| n as usize),
                    self.meta.channels as usize,
                    inner.map(|n| n as usize),
                    self.meta.data_type.size_bytes(),
                    values,
                )
                .map_err(|source| VolumeError::CompressedSegmentation {
                    object: object(),
                    source,
                })
            }
        }
    }
}

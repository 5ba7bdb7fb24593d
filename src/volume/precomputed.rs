//! Neuroglancer precomputed volumes.
//!
//! Format: google/neuroglancer `src/datasource/precomputed/volume.md`. `chunks` finds the bytes of a chunk, in a file of
//! its own or in a shard. `encoding` decodes them.

mod chunk_files;
mod chunks;
mod encoding;
mod info;
mod picture;
mod scale;
mod segmentation;
mod suffixes;

use super::chunk_store::chunk_store;
use super::format_dimensions::FormatDimensions;
use super::{BlockIndex, ChunkGroups, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::LayerConfig;
use crate::geometry::{AXES, Resolution};
use crate::storage::{Compression, Location, Storage, looks_like_gzip};
use chunks::{ChunkStorage, ShardedChunks};
use encoding::{ChunkProblem, Encoding, check_raw};
pub(super) use picture::{ExpectedPicture, JpegColours, decode_jpeg};

/// One scale of a precomputed volume.
#[derive(Debug)]
pub(super) struct PrecomputedVolume {
    chunks: ChunkStorage,
    meta: VolumeMeta,
    encoding: Encoding,
    digest: blake3::Hash,
    redirected_to: Option<Location>,
    is_image: bool,
}

/// The dimensions of the volume in `location` in Neuroglancer, and the resolution of its first scale.
pub(super) fn model_space(
    location: &Location,
    storage: &Storage,
) -> Result<(FormatDimensions, [f64; 3]), VolumeError> {
    let (resolution, channels) = info::first_scale(location, storage)?;
    let mut names = AXES.map(str::to_owned).to_vec();
    if channels != 1 {
        names.push("c^".to_owned());
    }
    let named = FormatDimensions {
        names,
        is_named: true,
        begins_at_zero: false,
        factors: [1.0; 3],
    };
    Ok((named, resolution.nm()))
}

impl PrecomputedVolume {
    /// Opens the scale with the given `resolution` of the volume with its info file in `location`.
    pub(super) fn open(
        location: &Location,
        resolution: &Resolution,
        layer: &LayerConfig,
        storage: &Storage,
    ) -> Result<Self, VolumeError> {
        let scale = info::read(location, resolution, storage)?;
        let store = chunk_store(storage.open(&scale.location), layer);
        Ok(Self {
            chunks: ChunkStorage::new(store, scale.sharding),
            meta: scale.meta,
            encoding: scale.encoding,
            digest: scale.digest,
            redirected_to: scale.redirected_to,
            is_image: scale.is_image,
        })
    }
}

impl Volume for PrecomputedVolume {
    fn describe(&self) -> String {
        self.chunks.describe_all()
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.chunks
            .describe(&self.meta.grid, block, Compression::None)
    }

    fn redirected_to(&self) -> Option<String> {
        self.redirected_to.as_ref().map(Location::to_string)
    }

    fn decoding_bytes(&self) -> u64 {
        match self.encoding {
            Encoding::Segmentation(format) => format.decoding_bytes(&self.meta),
            _ => 0,
        }
    }

    fn round_trips(&self) -> usize {
        self.chunks.round_trips()
    }

    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        match &self.chunks {
            ChunkStorage::Files(_) => None,
            ChunkStorage::Shards(sharded) => Some(Box::new(ShardedVolume {
                volume: self,
                sharded,
            })),
        }
    }

    fn is_image(&self) -> bool {
        self.is_image
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.digest
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        self.chunks
            .fetch(&self.meta.grid, block, self.limit_bytes(block), encoded)
    }

    fn prefetch(&self, block: BlockIndex) {
        self.chunks.prefetch(&self.meta.grid, block);
    }

    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let region = self.meta.grid.block_box(block);
        let limit_bytes = self.encoding.limit_bytes(&self.meta, &region);
        let stored = encoded.compression;
        let compression = match stored {
            Compression::None if self.is_undeclared_gzip(&encoded.bytes, limit_bytes) => {
                Compression::Gzip
            }
            other => other,
        };
        // Raw values need no second step.
        let (bytes, inflated) = (&mut encoded.bytes, &mut encoded.inflated);
        let result = match self.encoding {
            Encoding::Raw => compression
                .undo(bytes, limit_bytes, values)
                .map_err(|e| ChunkProblem::Text(e.into()))
                .and_then(|()| check_raw(values, &self.meta, &region)),
            _ => compression
                .undo(bytes, limit_bytes, inflated)
                .map_err(|e| ChunkProblem::Text(e.into()))
                .and_then(|()| {
                    self.encoding
                        .decode(inflated, &self.meta, &region, bytes, values)
                }),
        };
        result.map_err(|problem| {
            let object = self.chunks.describe(&self.meta.grid, block, stored);
            match problem {
                ChunkProblem::Text(problem) => VolumeError::Chunk { object, problem },
                ChunkProblem::CompressedSegmentation(source) => {
                    VolumeError::CompressedSegmentation { object, source }
                }
            }
        })
    }
}

/// A volume whose chunks are in shards.
struct ShardedVolume<'v> {
    volume: &'v PrecomputedVolume,
    sharded: &'v ShardedChunks,
}

impl ChunkGroups for ShardedVolume<'_> {
    fn group_key(&self, block: BlockIndex) -> [u64; 2] {
        self.sharded.group_key(block)
    }

    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        self.sharded.runs(blocks)
    }

    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError> {
        let limit_bytes = |block| self.volume.limit_bytes(block);
        Ok(self.sharded.fetch_run(run, limit_bytes, encoded)?)
    }
}

impl PrecomputedVolume {
    /// Largest number of stored bytes of a block. Compressed and invalid chunks may be longer than raw ones, so that
    /// decoding can report what is wrong with them.
    fn limit_bytes(&self, block: BlockIndex) -> u64 {
        let region = self.meta.grid.block_box(block);
        2 * self.encoding.limit_bytes(&self.meta, &region) as u64 + (1 << 20)
    }

    /// Whether bytes are gzip although nothing declares it, and cannot be raw values.
    fn is_undeclared_gzip(&self, bytes: &[u8], raw_bytes: usize) -> bool {
        looks_like_gzip(bytes) && !(self.encoding == Encoding::Raw && bytes.len() == raw_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Forbidden;
    use crate::storage::loopback::{Request, Server, reply, serve};

    const INFO: &str = r#"{"@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8",
        "num_channels": 1, "scales": [{"key": "s", "size": [4, 4, 4], "resolution": [8, 8, 8],
        "chunk_sizes": [[4, 4, 4]], "encoding": "raw"}]}"#;

    fn open(server: &Server, forbidden: Forbidden) -> Result<PrecomputedVolume, VolumeError> {
        let here = Location::Local("".into());
        let location = here.resolve(&format!("{}/img", server.url)).unwrap();
        let layer = LayerConfig {
            forbidden,
            ..LayerConfig::default()
        };
        let resolution = Resolution::new([8.0; 3]).unwrap();
        PrecomputedVolume::open(&location, &resolution, &layer, &Storage::default())
    }

    #[test]
    fn status_403_for_a_chunk_means_missing_if_the_config_says_so() {
        let server = serve(|_, request: &Request| match request.first.as_str() {
            "GET /img/info HTTP/1.1" => reply("200 OK", "", INFO.as_bytes()),
            _ => reply("403 Forbidden", "", b""),
        });
        let mut encoded = EncodedBlock::default();
        let volume = open(&server, Forbidden::Missing).unwrap();
        assert!(!volume.fetch([0; 3], &mut encoded).unwrap());
        let volume = open(&server, Forbidden::Error).unwrap();
        let e = volume.fetch([0; 3], &mut encoded).unwrap_err().to_string();
        assert!(
            e.contains("0-4_0-4_0-4") && e.contains("`forbidden`"),
            "{e}"
        );
    }

    #[test]
    fn status_403_for_metadata_is_always_an_error() {
        let server = serve(|_, _| reply("403 Forbidden", "", b""));
        let e = open(&server, Forbidden::Missing).unwrap_err().to_string();
        assert!(e.contains("/img/info") && e.contains("403"), "{e}");
    }
}

//! Writes a volume in Neuroglancer's precomputed format: an `info` and one file per chunk.

use std::path::Path;

use libdeflater::{CompressionLvl, Compressor};
use rayon::prelude::*;
use serde_json::json;

use super::DemoError;
use super::files::{create_dir, write, write_json};
use super::volume_shape::{OFFSET, RESOLUTION_NM, SHAPE};
use crate::volume::compressed_segmentation;

/// How chunks are encoded, and how their files are named.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    /// Raw bytes in gzip files `NAME.gz`, as CloudVolume writes them to a file system.
    RawGzip,
    /// compressed_segmentation in plain files.
    CompressedSegmentation,
}

/// Block size of the compressed segmentation, in voxels.
const BLOCK: [usize; 3] = [8, 8, 8];
/// A fast level of zlib.
const GZIP_LEVEL: i32 = 3;

/// The data type of a voxel.
#[derive(Clone, Copy)]
pub(super) enum DataType {
    Uint8,
    Uint64,
}

impl DataType {
    fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Uint64 => "uint64",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Uint8 => 1,
            Self::Uint64 => 8,
        }
    }
}

/// A volume to be written.
pub(super) struct Volume<'a> {
    /// `image` or `segmentation`.
    pub(super) kind: &'a str,
    pub(super) data_type: DataType,
    pub(super) encoding: Encoding,
    /// Voxels of a chunk, x, y, z.
    pub(super) chunk: [usize; 3],
    pub(super) scales: Vec<Scale<'a>>,
}

/// One resolution of a volume.
pub(super) struct Scale<'a> {
    /// Voxels of the demo's full resolution that one voxel covers, x, y, z.
    pub(super) factor: [usize; 3],
    /// Voxels, x, y, z.
    pub(super) shape: [usize; 3],
    /// Value of the voxel at an index, arrays in the order z, y, x.
    pub(super) value: &'a (dyn Fn(usize) -> u64 + Sync),
}

impl<'a> Scale<'a> {
    /// The demo's full resolution.
    pub(super) fn full(value: &'a (dyn Fn(usize) -> u64 + Sync)) -> Self {
        Self {
            factor: [1; 3],
            shape: SHAPE,
            value,
        }
    }

    fn resolution(&self) -> [f64; 3] {
        [0, 1, 2].map(|d| RESOLUTION_NM[d] * self.factor[d] as f64)
    }

    fn key(&self) -> String {
        let [x, y, z] = self.resolution();
        format!("{x}_{y}_{z}")
    }

    fn offset(&self) -> [usize; 3] {
        [0, 1, 2].map(|d| OFFSET[d] / self.factor[d])
    }
}

impl Volume<'_> {
    /// Writes the volume into the folder `dir`.
    pub(super) fn write(&self, dir: &Path) -> Result<(), DemoError> {
        create_dir(dir)?;
        for scale in &self.scales {
            self.write_scale(scale, &dir.join(scale.key()))?;
        }
        let scales: Vec<_> = self.scales.iter().map(|s| self.scale_info(s)).collect();
        let info = json!({
            "@type": "neuroglancer_multiscale_volume",
            "type": self.kind,
            "data_type": self.data_type.name(),
            "num_channels": 1,
            "scales": scales,
        });
        write_json(&dir.join("info"), &info)
    }

    fn scale_info(&self, scale: &Scale<'_>) -> serde_json::Value {
        let mut info = json!({
            "key": scale.key(),
            "size": scale.shape,
            "resolution": scale.resolution(),
            "voxel_offset": scale.offset(),
            "chunk_sizes": [self.chunk],
        });
        match self.encoding {
            Encoding::RawGzip => info["encoding"] = json!("raw"),
            Encoding::CompressedSegmentation => {
                info["encoding"] = json!("compressed_segmentation");
                info["compressed_segmentation_block_size"] = json!(BLOCK);
            }
        }
        info
    }

    fn write_scale(&self, scale: &Scale<'_>, dir: &Path) -> Result<(), DemoError> {
        create_dir(dir)?;
        let count = [0, 1, 2].map(|d| scale.shape[d].div_ceil(self.chunk[d]));
        (0..count.iter().product::<usize>())
            .into_par_iter()
            .try_for_each(|i| {
                let cell = [
                    i % count[0],
                    i / count[0] % count[1],
                    i / (count[0] * count[1]),
                ];
                self.write_chunk(scale, dir, cell)
            })
    }

    fn write_chunk(
        &self,
        scale: &Scale<'_>,
        dir: &Path,
        cell: [usize; 3],
    ) -> Result<(), DemoError> {
        let start = [0, 1, 2].map(|d| cell[d] * self.chunk[d]);
        let end = [0, 1, 2].map(|d| (start[d] + self.chunk[d]).min(scale.shape[d]));
        let count: usize = [0, 1, 2].map(|d| end[d] - start[d]).iter().product();
        let mut voxels = Vec::with_capacity(count * self.data_type.bytes());
        for z in start[2]..end[2] {
            for y in start[1]..end[1] {
                let row = (z * scale.shape[1] + y) * scale.shape[0];
                let values = (start[0]..end[0]).map(|x| (scale.value)(row + x));
                match self.data_type {
                    DataType::Uint8 => voxels.extend(values.map(|v| v as u8)),
                    DataType::Uint64 => voxels.extend(values.flat_map(u64::to_le_bytes)),
                }
            }
        }
        let offset = scale.offset();
        let [x, y, z] =
            [0, 1, 2].map(|d| format!("{}-{}", offset[d] + start[d], offset[d] + end[d]));
        let name = format!("{x}_{y}_{z}");
        match self.encoding {
            Encoding::RawGzip => {
                let path = dir.join(format!("{name}.gz"));
                write(&path, &gzip(&voxels, &path)?)
            }
            Encoding::CompressedSegmentation => {
                let shape = [0, 1, 2].map(|d| end[d] - start[d]);
                let bytes = compressed_segmentation::encode(
                    &voxels,
                    shape,
                    1,
                    BLOCK,
                    self.data_type.bytes(),
                );
                write(&dir.join(name), &bytes)
            }
        }
    }
}

fn gzip(bytes: &[u8], path: &Path) -> Result<Vec<u8>, DemoError> {
    let mut compressor = Compressor::new(CompressionLvl::new(GZIP_LEVEL).unwrap_or_default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor
        .gzip_compress(bytes, &mut out)
        .map_err(|source| DemoError::Compress {
            path: path.to_owned(),
            source,
        })?;
    out.truncate(length);
    Ok(out)
}

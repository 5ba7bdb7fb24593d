//! The same voxels in every supported format.

mod n5;
mod zarr;

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::LayerConfig;
use crate::geometry::Resolution;
use serde_json::json;

/// Voxels along x, y, z.
pub const SIZE: [usize; 3] = [37, 29, 11];
pub const BLOCK: [usize; 3] = [16, 8, 4];
pub const OFFSET: [i64; 3] = [-5, 100, 7];
pub const RESOLUTION: [f64; 3] = [4.0, 4.0, 40.0];

/// A written volume and its expected contents.
pub struct Source {
    pub name: String,
    pub url: String,
    pub folder: PathBuf,
    pub layer: LayerConfig,
    pub channels: usize,
    pub fill: u16,
    /// Whether a checksum covers every byte of its chunks.
    pub checksummed: bool,
}

/// The value of the voxel `at`. One block is missing.
pub fn value(channel: usize, at: [usize; 3], fill: u16) -> u16 {
    let [x, y, z] = at;
    match [x / BLOCK[0], y / BLOCK[1], z / BLOCK[2]] {
        [1, 1, 1] => fill,
        _ => (1000 + x + 40 * y + 1200 * z + 20_000 * channel) as u16,
    }
}

/// Writes every kind of source below `dir`.
pub fn sources(dir: &Path) -> Vec<Source> {
    let mut all = vec![precomputed(&dir.join("precomputed"))];
    all.extend(zarr::v2_arrays(dir));
    all.extend(zarr::v3_arrays(dir));
    all.extend(zarr::sharded_arrays(dir));
    all.push(zarr::ome_zarr(dir, "ome-zarr 0.4", false));
    all.push(zarr::ome_zarr(dir, "ome-zarr 0.5", true));
    for compression in ["raw", "gzip", "bzip2", "zstd", "blosc"] {
        all.push(n5::n5(dir, compression, 1));
    }
    all.push(n5::n5(dir, "gzip", 3));
    all
}

fn layer(axes: Option<&str>) -> LayerConfig {
    LayerConfig {
        resolution: Resolution::new(RESOLUTION),
        voxel_offset: Some(OFFSET),
        axes: axes.map(str::to_owned),
        ..LayerConfig::default()
    }
}

/// Length of the dimension `axis`, and of a block along it.
fn lengths(axis: char, channels: usize) -> (usize, usize) {
    match axis {
        'x' => (SIZE[0], BLOCK[0]),
        'y' => (SIZE[1], BLOCK[1]),
        'z' => (SIZE[2], BLOCK[2]),
        'c' => (channels, channels.min(2)),
        _ => (1, 1),
    }
}

/// Every stored block of the grid: its indices, first voxel and clipped size.
fn blocks() -> Vec<([usize; 3], [usize; 3], [usize; 3])> {
    let mut all = Vec::new();
    for i in 0..SIZE[0].div_ceil(BLOCK[0]) {
        for j in 0..SIZE[1].div_ceil(BLOCK[1]) {
            for k in 0..SIZE[2].div_ceil(BLOCK[2]) {
                let index = [i, j, k];
                let start: [usize; 3] = std::array::from_fn(|d| index[d] * BLOCK[d]);
                let size = std::array::from_fn(|d| BLOCK[d].min(SIZE[d] - start[d]));
                if index != [1, 1, 1] {
                    all.push((index, start, size));
                }
            }
        }
    }
    all
}

/// The values of a block, x fastest, channels slowest.
fn block_values(channels: std::ops::Range<usize>, start: [usize; 3], size: [usize; 3]) -> Vec<u16> {
    let mut all = Vec::new();
    for c in channels {
        for z in 0..size[2] {
            for y in 0..size[1] {
                for x in 0..size[0] {
                    all.push(value(c, [start[0] + x, start[1] + y, start[2] + z], 0));
                }
            }
        }
    }
    all
}

fn precomputed(folder: &Path) -> Source {
    let scale = folder.join("4_4_40");
    fs::create_dir_all(&scale).unwrap();
    let info = json!({"@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint16",
        "num_channels": 1, "scales": [{"key": "4_4_40", "resolution": RESOLUTION, "size": SIZE,
            "voxel_offset": OFFSET, "chunk_sizes": [BLOCK], "encoding": "raw"}]});
    fs::write(folder.join("info"), info.to_string()).unwrap();
    for (_, start, size) in blocks() {
        let name: Vec<String> = (0..3)
            .map(|d| {
                (
                    OFFSET[d] + start[d] as i64,
                    OFFSET[d] + (start[d] + size[d]) as i64,
                )
            })
            .map(|(a, b)| format!("{a}-{b}"))
            .collect();
        let values = block_values(0..1, start, size);
        let bytes: Vec<u8> = values.into_iter().flat_map(u16::to_le_bytes).collect();
        fs::write(scale.join(name.join("_")), bytes).unwrap();
    }
    Source {
        name: "precomputed".into(),
        url: folder.display().to_string(),
        folder: folder.to_owned(),
        layer: LayerConfig::default(),
        channels: 1,
        fill: 0,
        checksummed: false,
    }
}

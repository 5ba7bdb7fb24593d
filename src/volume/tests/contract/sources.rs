//! The same voxels in every format that is read.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::LayerConfig;
use crate::geometry::Resolution;
use serde_json::{Value, json};
use zarrs::array::codec::BloscCodec;
use zarrs::array::{Array, BytesToBytesCodecTraits, CodecOptions};
use zarrs::filesystem::FilesystemStore;

/// Voxels along x, y, z.
pub const SIZE: [usize; 3] = [37, 29, 11];
pub const BLOCK: [usize; 3] = [16, 8, 4];
pub const OFFSET: [i64; 3] = [-5, 100, 7];
pub const RESOLUTION: [f64; 3] = [4.0, 4.0, 40.0];

/// A volume that was written, and what must be read of it.
pub struct Source {
    pub name: String,
    pub url: String,
    pub folder: PathBuf,
    pub layer: LayerConfig,
    pub channels: usize,
    pub fill: u16,
    /// Whether every byte of its chunks is under a checksum.
    pub checksummed: bool,
}

/// The value of the voxel `at`; one block is a hole.
pub fn value(channel: usize, at: [usize; 3], fill: u16) -> u16 {
    let [x, y, z] = at;
    match [x / BLOCK[0], y / BLOCK[1], z / BLOCK[2]] {
        [1, 1, 1] => fill,
        _ => (1000 + x + 40 * y + 1200 * z + 20_000 * channel) as u16,
    }
}

/// Writes every kind of source below `dir`.
pub fn sources(dir: &Path) -> Vec<Source> {
    let named = |axes: &str| axes.chars().map(String::from).collect::<Vec<_>>();
    let bytes = |endian: &str| json!({"name": "bytes", "configuration": {"endian": endian}});
    let (crc32c, gzip) = (
        json!({"name": "crc32c"}),
        json!({"name": "gzip", "configuration": {"level": 1}}),
    );
    let zstd = json!({"name": "zstd", "configuration": {"level": 1, "checksum": false}});
    let blosc = json!({"name": "blosc", "configuration": {
        "cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0}});
    let mut all = vec![precomputed(&dir.join("precomputed"))];
    let mut add = |name: &str, axes: &str, channels: usize, fill: u16, metadata: Metadata| {
        all.push(zarr(dir, name, axes, channels, fill, metadata));
    };
    let v2 = |order: &str, dtype: &str, separator: &str, compressor: Value| {
        Metadata::V2(
            json!({"order": order, "dtype": dtype, "dimension_separator": separator,
            "compressor": compressor, "filters": null}),
        )
    };
    add(
        "zarr v2, C order",
        "zyx",
        1,
        0,
        v2("C", "<u2", ".", json!({"id": "zlib", "level": 1})),
    );
    add(
        "zarr v2, F order, big-endian",
        "zyx",
        1,
        0,
        v2("F", ">u2", "/", Value::Null),
    );
    add(
        "zarr v2, xyz, blosc",
        "xyz",
        1,
        0,
        v2(
            "C",
            "<u2",
            ".",
            json!({"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}),
        ),
    );
    add(
        "zarr v2, channels last, bz2",
        "zyxc",
        3,
        0,
        v2("C", ">u2", "/", json!({"id": "bz2", "level": 1})),
    );
    add(
        "zarr v2, fill value",
        "czyx",
        2,
        7,
        v2("F", "<u2", ".", json!({"id": "gzip", "level": 1})),
    );
    let v3 = |separator: &str, codecs: Value, names: Option<Vec<String>>| {
        Metadata::V3(
            json!({
            "chunk_key_encoding": {"name": if separator == "." { "v2" } else { "default" },
                "configuration": {"separator": separator}},
            "codecs": codecs, "dimension_names": names}),
            None,
        )
    };
    add(
        "zarr v3, zstd",
        "zyx",
        1,
        0,
        v3("/", json!([bytes("little"), zstd]), None),
    );
    add(
        "zarr v3, transposed, named",
        "yxz",
        1,
        0,
        v3(
            ".",
            json!([
        {"name": "transpose", "configuration": {"order": [2, 0, 1]}}, bytes("big"), blosc, crc32c.clone()]),
            Some(named("yxz")),
        ),
    );
    add(
        "zarr v3, fill value, time",
        "tczyx",
        3,
        65_535,
        v3("/", json!([bytes("big"), gzip]), Some(named("tczyx"))),
    );
    let sharding = |location: &str, inner: Value| {
        json!([{"name": "sharding_indexed", "configuration": {
            "chunk_shape": null, "codecs": inner, "index_location": location,
            "index_codecs": [bytes("little"), crc32c.clone()]}}])
    };
    let sharded = |location: &str, inner: Value, axes: &str, in_shard: usize| match v3(
        "/",
        sharding(location, inner),
        Some(named(axes)),
    ) {
        Metadata::V3(metadata, _) => Metadata::V3(metadata, Some(in_shard)),
        other => other,
    };
    add(
        "zarr v3, sharded",
        "zyx",
        1,
        0,
        sharded(
            "end",
            json!([bytes("little"), zstd, crc32c.clone()]),
            "zyx",
            2,
        ),
    );
    add(
        "zarr v3, sharded, index first, fill value, channels",
        "xyzc",
        3,
        9,
        sharded(
            "start",
            json!([bytes("big"), gzip, crc32c.clone()]),
            "xyzc",
            3,
        ),
    );
    all.push(ome_zarr(dir, "ome-zarr 0.4", false));
    all.push(ome_zarr(dir, "ome-zarr 0.5", true));
    for compression in ["raw", "gzip", "bzip2", "zstd", "blosc"] {
        all.push(n5(dir, compression, 1));
    }
    all.push(n5(dir, "gzip", 3));
    all
}

pub enum Metadata {
    V2(Value),
    /// And how many inner chunks a shard has along each dimension, if it is sharded.
    V3(Value, Option<usize>),
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

fn zarr(
    dir: &Path,
    name: &str,
    axes: &str,
    channels: usize,
    fill: u16,
    metadata: Metadata,
) -> Source {
    let folder = dir.join(name.replace([' ', ','], "_"));
    let (mut url, mut named) = (format!("zarr://file://{}", folder.display()), false);
    let (file, mut document) = match &metadata {
        Metadata::V2(_) => (".zarray", json!({"zarr_format": 2})),
        Metadata::V3(..) => (
            "zarr.json",
            json!({"zarr_format": 3, "node_type": "array", "data_type": "uint16"}),
        ),
    };
    let (shape, block): (Vec<_>, Vec<_>) = axes.chars().map(|a| lengths(a, channels)).unzip();
    document["shape"] = json!(shape);
    document["fill_value"] = json!(fill);
    let mut checksummed = false;
    match metadata {
        Metadata::V2(rest) => {
            url = format!("file://{}/|zarr2:", folder.display());
            document["chunks"] = json!(block);
            merge(&mut document, rest);
        }
        Metadata::V3(mut rest, in_shard) => {
            let chunk: Vec<_> = block.iter().map(|n| n * in_shard.unwrap_or(1)).collect();
            document["chunk_grid"] =
                json!({"name": "regular", "configuration": {"chunk_shape": chunk}});
            if in_shard.is_some() {
                rest["codecs"][0]["configuration"]["chunk_shape"] = json!(block);
                url = folder.display().to_string();
            }
            checksummed = rest.to_string().contains("crc32c");
            named = rest["dimension_names"].is_array();
            if !named {
                rest.as_object_mut().unwrap().remove("dimension_names");
            }
            merge(&mut document, rest);
        }
    }
    write_zarr(&folder, file, &document, axes, channels, fill);
    Source {
        name: name.to_owned(),
        url,
        folder,
        layer: layer((!named).then_some(axes)),
        channels,
        fill,
        checksummed,
    }
}

fn merge(document: &mut Value, rest: Value) {
    let Value::Object(rest) = rest else {
        panic!("an object")
    };
    document.as_object_mut().unwrap().extend(rest);
}

/// Writes the array through zarrs.
fn write_zarr(folder: &Path, file: &str, metadata: &Value, axes: &str, channels: usize, fill: u16) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(file), metadata.to_string()).unwrap();
    let store = Arc::new(FilesystemStore::new(folder).unwrap());
    let array = Array::open(store, "/").unwrap();
    array
        .store_array_subset(&array.subset_all(), values(axes, channels, fill))
        .unwrap();
}

/// All values in C order of the dimensions `axes`.
fn values(axes: &str, channels: usize, fill: u16) -> Vec<u16> {
    let shape: Vec<usize> = axes.chars().map(|a| lengths(a, channels).0).collect();
    let mut all = Vec::new();
    for n in 0..shape.iter().product::<usize>() {
        let (mut rest, mut at, mut channel) = (n, [0; 3], 0);
        for (axis, length) in axes
            .chars()
            .zip(&shape)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let i = rest % length;
            rest /= length;
            match axis {
                'x' => at[0] = i,
                'y' => at[1] = i,
                'z' => at[2] = i,
                'c' => channel = i,
                _ => {}
            }
        }
        all.push(value(channel, at, fill));
    }
    all
}

fn ome_zarr(dir: &Path, name: &str, v3: bool) -> Source {
    let folder = dir.join(name.replace(' ', "_"));
    let axis = |name: &str| json!({"name": name, "type": "space", "unit": "nanometer"});
    let level = |path: &str, s: f64| {
        // Centres of the first voxel of each level of an averaged pyramid.
        let t: [f64; 3] =
            std::array::from_fn(|d| RESOLUTION[d] * (OFFSET[d] as f64 + s / 2.0) - 0.0);
        json!({"path": path, "coordinateTransformations": [
            {"type": "scale", "scale": [1.0, 40.0 * s, 4.0 * s, 4.0 * s]},
            {"type": "translation", "translation": [0.0, t[2], t[1], t[0]]}]})
    };
    let multiscales = json!([{"version": "0.4", "name": "img",
        "axes": [{"name": "c", "type": "channel"}, axis("z"), axis("y"), axis("x")],
        "datasets": [level("0", 1.0), level("1", 2.0)]}]);
    fs::create_dir_all(folder.join("0")).unwrap();
    let (shape, block): (Vec<_>, Vec<_>) = "czyx".chars().map(|a| lengths(a, 2)).unzip();
    match v3 {
        true => {
            let group = json!({"zarr_format": 3, "node_type": "group",
                "attributes": {"ome": {"version": "0.5", "multiscales": multiscales}}});
            fs::write(folder.join("zarr.json"), group.to_string()).unwrap();
            let array = json!({"zarr_format": 3, "node_type": "array", "data_type": "uint16",
                "shape": shape, "fill_value": 0, "dimension_names": ["c", "z", "y", "x"],
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": block}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]});
            write_zarr(&folder.join("0"), "zarr.json", &array, "czyx", 2, 0);
        }
        false => {
            fs::write(folder.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
            let attributes = json!({"multiscales": multiscales});
            fs::write(folder.join(".zattrs"), attributes.to_string()).unwrap();
            let array = json!({"zarr_format": 2, "shape": shape, "chunks": block, "dtype": "<u2",
                "fill_value": 0, "order": "C", "filters": null, "dimension_separator": "/",
                "compressor": {"id": "zstd", "level": 1}});
            write_zarr(&folder.join("0"), ".zarray", &array, "czyx", 2, 0);
        }
    }
    Source {
        name: name.to_owned(),
        url: folder.display().to_string(),
        folder,
        layer: LayerConfig::default(),
        channels: 2,
        fill: 0,
        checksummed: false,
    }
}

/// Every block of the grid: its indices, its first voxel, its clipped size.
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

/// An N5 group with its level s1 of the wanted resolution, or, with channels, a dataset of its own.
fn n5(dir: &Path, compression: &str, channels: usize) -> Source {
    let folder = dir.join(format!("n5_{compression}_{channels}"));
    let attributes = |shape: &[usize], block: &[usize]| {
        json!({"dimensions": shape, "blockSize": block, "dataType": "uint16",
            "compression": {"type": compression, "level": 1}})
    };
    let (dataset, layer, url) = match channels {
        1 => {
            for level in ["s0", "s1"] {
                fs::create_dir_all(folder.join(level)).unwrap();
                fs::write(
                    folder.join(level).join("attributes.json"),
                    attributes(&SIZE, &BLOCK).to_string(),
                )
                .unwrap();
            }
            let group = json!({"n5": "2.0.0", "resolution": [2, 2, 40], "units": ["nm", "nm", "nm"],
                "scales": [[1, 1, 1], [2, 2, 1]]});
            fs::write(folder.join("attributes.json"), group.to_string()).unwrap();
            let layer = LayerConfig {
                resolution: None,
                voxel_offset: Some(OFFSET),
                axes: None,
                ..LayerConfig::default()
            };
            (
                folder.join("s1"),
                layer,
                format!("n5://{}", folder.display()),
            )
        }
        _ => {
            fs::create_dir_all(&folder).unwrap();
            let (shape, block): (Vec<_>, Vec<_>) =
                "xyzc".chars().map(|a| lengths(a, channels)).unzip();
            fs::write(
                folder.join("attributes.json"),
                attributes(&shape, &block).to_string(),
            )
            .unwrap();
            (
                folder.clone(),
                layer(Some("xyzc")),
                folder.display().to_string(),
            )
        }
    };
    for (index, start, size) in blocks() {
        for part in 0..channels.div_ceil(2) {
            let of_part = part * 2..channels.min(part * 2 + 2);
            let mut file = dataset.clone();
            file.extend(index.iter().map(usize::to_string));
            let mut shape: Vec<u32> = size.iter().map(|n| *n as u32).collect();
            if channels > 1 {
                file.push(part.to_string());
                shape.push(of_part.len() as u32);
            }
            let mut bytes = vec![0, 0, 0, shape.len() as u8];
            bytes.extend(shape.iter().flat_map(|n| n.to_be_bytes()));
            let values = block_values(of_part, start, size);
            let values: Vec<u8> = values.into_iter().flat_map(u16::to_be_bytes).collect();
            bytes.extend(pack(compression, &values));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
    }
    Source {
        name: format!("n5, {compression}, {channels} channel(s)"),
        url,
        folder,
        layer,
        channels,
        fill: 0,
        checksummed: false,
    }
}

fn pack(compression: &str, bytes: &[u8]) -> Vec<u8> {
    match compression {
        "raw" => bytes.to_vec(),
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        "blosc" => {
            let json = json!({"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 2, "blocksize": 0});
            let codec = BloscCodec::new_with_configuration(&serde_json::from_value(json).unwrap());
            let codec = codec.unwrap();
            codec
                .encode(bytes.into(), &CodecOptions::default())
                .unwrap()
                .into_owned()
        }
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let level = libdeflater::CompressionLvl::new(1).unwrap();
            let mut c = libdeflater::Compressor::new(level);
            let mut out = vec![0; c.gzip_compress_bound(bytes.len())];
            let n = c.gzip_compress(bytes, &mut out).unwrap();
            out.truncate(n);
            out
        }
    }
}

//! Zarr arrays and OME-Zarr images.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use zarrs::array::Array;
use zarrs::filesystem::FilesystemStore;

use super::{OFFSET, RESOLUTION, Source, layer, lengths, value};
use crate::config::LayerConfig;

/// Writes v2 arrays.
pub fn v2_arrays(dir: &Path) -> Vec<Source> {
    let mut all = Vec::new();
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
    all
}

/// Writes unsharded v3 arrays.
pub fn v3_arrays(dir: &Path) -> Vec<Source> {
    let mut all = Vec::new();
    let mut add = |name: &str, axes: &str, channels: usize, fill: u16, metadata: Metadata| {
        all.push(zarr(dir, name, axes, channels, fill, metadata));
    };
    let blosc = json!({"name": "blosc", "configuration": {
        "cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0}});
    add(
        "zarr v3, zstd",
        "zyx",
        1,
        0,
        v3("/", json!([bytes("little"), zstd()]), None),
    );
    add(
        "zarr v3, transposed, named",
        "yxz",
        1,
        0,
        v3(
            ".",
            json!([
        {"name": "transpose", "configuration": {"order": [2, 0, 1]}}, bytes("big"), blosc, crc32c()]),
            Some(named("yxz")),
        ),
    );
    add(
        "zarr v3, fill value, time",
        "tczyx",
        3,
        65_535,
        v3("/", json!([bytes("big"), gzip()]), Some(named("tczyx"))),
    );
    all
}

/// Writes sharded v3 arrays.
pub fn sharded_arrays(dir: &Path) -> Vec<Source> {
    let mut all = Vec::new();
    let mut add = |name: &str, axes: &str, channels: usize, fill: u16, metadata: Metadata| {
        all.push(zarr(dir, name, axes, channels, fill, metadata));
    };
    let sharding = |location: &str, inner: Value| {
        json!([{"name": "sharding_indexed", "configuration": {
            "chunk_shape": null, "codecs": inner, "index_location": location,
            "index_codecs": [bytes("little"), crc32c()]}}])
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
        sharded("end", json!([bytes("little"), zstd(), crc32c()]), "zyx", 2),
    );
    add(
        "zarr v3, sharded, index first, fill value, channels",
        "xyzc",
        3,
        9,
        sharded("start", json!([bytes("big"), gzip(), crc32c()]), "xyzc", 3),
    );
    all
}

/// Metadata of an unsharded v3 array.
fn v3(separator: &str, codecs: Value, names: Option<Vec<String>>) -> Metadata {
    Metadata::V3(
        json!({
            "chunk_key_encoding": {"name": if separator == "." { "v2" } else { "default" },
                "configuration": {"separator": separator}},
            "codecs": codecs, "dimension_names": names}),
        None,
    )
}

fn named(axes: &str) -> Vec<String> {
    axes.chars().map(String::from).collect()
}

fn bytes(endian: &str) -> Value {
    json!({"name": "bytes", "configuration": {"endian": endian}})
}

fn crc32c() -> Value {
    json!({"name": "crc32c"})
}

fn gzip() -> Value {
    json!({"name": "gzip", "configuration": {"level": 1}})
}

fn zstd() -> Value {
    json!({"name": "zstd", "configuration": {"level": 1, "checksum": false}})
}

/// The metadata of an array, without its shape.
enum Metadata {
    V2(Value),
    /// Also has the number of inner chunks per shard along each dimension, if the array is sharded.
    V3(Value, Option<usize>),
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

/// Writes the array with zarrs.
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

/// Writes an OME-Zarr image of version 0.4 (Zarr v2) or 0.5 (Zarr v3).
pub fn ome_zarr(dir: &Path, name: &str, v3: bool) -> Source {
    let folder = dir.join(name.replace(' ', "_"));
    let axis = |name: &str| json!({"name": name, "type": "space", "unit": "nanometer"});
    let level = |path: &str, s: f64| {
        // The centre of the first voxel of each level of an averaged pyramid.
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
    if v3 {
        let group = json!({"zarr_format": 3, "node_type": "group",
                "attributes": {"ome": {"version": "0.5", "multiscales": multiscales}}});
        fs::write(folder.join("zarr.json"), group.to_string()).unwrap();
        let array = json!({"zarr_format": 3, "node_type": "array", "data_type": "uint16",
                "shape": shape, "fill_value": 0, "dimension_names": ["c", "z", "y", "x"],
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": block}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]});
        write_zarr(&folder.join("0"), "zarr.json", &array, "czyx", 2, 0);
    } else {
        fs::write(folder.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
        let attributes = json!({"multiscales": multiscales});
        fs::write(folder.join(".zattrs"), attributes.to_string()).unwrap();
        let array = json!({"zarr_format": 2, "shape": shape, "chunks": block, "dtype": "<u2",
                "fill_value": 0, "order": "C", "filters": null, "dimension_separator": "/",
                "compressor": {"id": "zstd", "level": 1}});
        write_zarr(&folder.join("0"), ".zarray", &array, "czyx", 2, 0);
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

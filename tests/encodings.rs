//! One crop in many encodings, each read equal to what cloud-volume and tensorstore read.

mod support;

use std::path::Path;

use pointshard::config::LayerConfig;
use pointshard::geometry::Resolution;
use pointshard::storage::{Location, SourceUrl};
use pointshard::volume::{self, Encoded, Volume};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{read_json, shared_data};

/// Cases of `encodings/index.json` that are not read yet: each must be refused by a word of this, never misread.
const REFUSED: [(&str, &str); 3] = [
    ("jpeg", "jpeg"),
    ("sharded_raw_identity", "sharded"),
    ("sharded_gzip_murmur", "sharded"),
];

#[test]
fn every_encoding_is_read_equal_or_refused_by_name() {
    let Some(data) = shared_data() else { return };
    let folder = data.join("encodings");
    let mut read = 0;
    for (name, case) in read_json(&folder.join("index.json")).as_object().unwrap() {
        match REFUSED.iter().find(|(n, _)| n == name) {
            Some((_, word)) => {
                let e = open(&folder, name, case).expect_err(name).to_string();
                assert!(e.contains(word), "{name}: {e}");
            }
            None => {
                let volume = open(&folder, name, case).unwrap();
                assert_eq!(
                    sha256(volume.as_ref(), case),
                    case["sha256_C_order"].as_str().unwrap(),
                    "{name}"
                );
                read += 1;
            }
        }
    }
    assert!(read >= 14, "only {read} cases were read");
}

/// Opens a case; an OME-Zarr level by the folder of its image and the level's own resolution.
fn open(
    folder: &Path,
    name: &str,
    case: &Value,
) -> Result<std::sync::Arc<dyn Volume>, volume::VolumeError> {
    let mut nm: [f64; 3] = serde_json::from_value(case["resolution_nm"].clone()).unwrap();
    let mut layer = LayerConfig::default();
    let (format, name) = match case["format"].as_str().unwrap() {
        "precomputed" => ("precomputed", name),
        "ome-zarr 0.4" => {
            let (image, level) = name.split_once('/').unwrap();
            if level == "s1" {
                nm = [9.2, 9.2, 45.0];
            }
            ("zarr", image)
        }
        format => {
            layer.resolution = Resolution::new(nm);
            layer.voxel_offset = serde_json::from_value(case["voxel_offset"].clone()).unwrap();
            layer.axes = case["axes"].as_str().map(str::to_owned);
            (format, name)
        }
    };
    let url = format!("{format}://file://{}", folder.join(name).display());
    let source = SourceUrl::parse(&url, &Location::Local(Default::default())).unwrap();
    volume::open_layer(&source, &Resolution::new(nm).unwrap(), &layer)
}

/// SHA-256 of the whole volume in the order that the index states, last axis fastest.
fn sha256(volume: &dyn Volume, case: &Value) -> String {
    let meta = volume.meta();
    let bounds = *meta.grid.bounds();
    let offset: [i64; 3] = serde_json::from_value(case["voxel_offset"].clone()).unwrap();
    let expected = match meta.resolution.nm()[0] {
        // The index states the offset of the image; its level s1 has every second voxel.
        9.2 => [offset[0] / 2, offset[1] / 2, offset[2]],
        _ => offset,
    };
    assert_eq!(bounds.start, expected);
    assert_eq!(case["dtype"], meta.data_type.name());
    let [nx, ny, nz] = bounds.shape().map(|n| n as usize);
    let (channels, size) = (meta.channels as usize, meta.data_type.size_bytes());
    let mut all = vec![0; nx * ny * nz * channels * size];
    let (mut encoded, mut values) = (Encoded::default(), Vec::new());
    for block in meta.grid.blocks_touching(&bounds) {
        if !volume.fetch(block, &mut encoded).unwrap() {
            continue;
        }
        volume.decode(block, &mut encoded, &mut values).unwrap();
        let region = meta.grid.block_box(block);
        let mut from = values.chunks_exact(size);
        for c in 0..channels {
            for z in region.start[2]..region.end[2] {
                for y in region.start[1]..region.end[1] {
                    for x in region.start[0]..region.end[0] {
                        let [x, y, z] = [
                            x - bounds.start[0],
                            y - bounds.start[1],
                            z - bounds.start[2],
                        ]
                        .map(|v| v as usize);
                        let to = size
                            * match case["axes"].as_str().unwrap() {
                                "zyx" | "tczyx" => ((c * nz + z) * ny + y) * nx + x,
                                _ => ((x * ny + y) * nz + z) * channels + c,
                            };
                        all[to..to + size].copy_from_slice(from.next().unwrap());
                    }
                }
            }
        }
        assert!(from.next().is_none());
    }
    Sha256::digest(&all)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

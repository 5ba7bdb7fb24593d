//! One crop in many encodings, each read equal to what cloud-volume and tensorstore read.

mod support;

use std::path::Path;

use pointshard::geometry::Resolution;
use pointshard::storage::{Location, SourceUrl};
use pointshard::volume::{self, Encoded, Volume};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{read_json, shared_data};

/// Cases of `encodings/index.json` that are not read yet: each must be refused by a word of this, never misread.
const REFUSED: [(&str, &str); 5] = [
    ("jpeg", "jpeg"),
    ("zarr2_blosc", "zarr"),
    ("zarr3_sharded_zstd", "zarr"),
    ("ome_zarr_04/s0", "zarr"),
    ("ome_zarr_04/s1", "zarr"),
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
    assert!(read >= 12, "only {read} cases were read");
}

#[test]
fn a_shard_that_is_shorter_than_its_index_is_an_error_that_names_it() {
    let Some(data) = shared_data() else { return };
    let url = format!(
        "precomputed://file://{}",
        data.join("malformed/shard_too_short/layer").display()
    );
    let source = SourceUrl::parse(&url, &Location::Local(Default::default())).unwrap();
    let volume = volume::open(&source, &Resolution::new([4.6, 4.6, 45.0]).unwrap()).unwrap();
    let mut encoded = Encoded::default();
    for block in volume
        .meta()
        .grid
        .blocks_touching(volume.meta().grid.bounds())
    {
        let e = volume.fetch(block, &mut encoded).unwrap_err();
        let e = format!("{:#}", anyhow::Error::from(e));
        assert!(
            e.contains("4.6_4.6_45/0.shard") && e.contains("27 bytes"),
            "{e}"
        );
    }
}

fn open(
    folder: &Path,
    name: &str,
    case: &Value,
) -> Result<std::sync::Arc<dyn Volume>, volume::VolumeError> {
    let format = match case["format"].as_str().unwrap() {
        "precomputed" => "precomputed",
        _ => "zarr",
    };
    let url = format!("{format}://file://{}", folder.join(name).display());
    let source = SourceUrl::parse(&url, &Location::Local(Default::default())).unwrap();
    let nm: [f64; 3] = serde_json::from_value(case["resolution_nm"].clone()).unwrap();
    volume::open(&source, &Resolution::new(nm).unwrap())
}

/// SHA-256 of the whole volume in the order that the index states: x y z (channel), last axis fastest.
fn sha256(volume: &dyn Volume, case: &Value) -> String {
    let meta = volume.meta();
    let bounds = *meta.grid.bounds();
    assert_eq!(serde_json::json!(bounds.start), case["voxel_offset"]);
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
                        let to = (((x * ny + y) * nz + z) * channels + c) * size;
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

//! Jobs that read a Zarr layer.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::sources::{SIZE, Source, sources, value};
use crate::dataset::Dataset;
use crate::job::Job;
use crate::storage::Storage;

/// A config for the collection `zarr_bad_crc`, with the settings that its Zarr layer needs.
fn zarr_config(collection: &Path, voxel_offset: [i64; 3]) -> Value {
    json!({
        "collection": collection,
        "resolution": [4.6, 4.6, 45.0],
        "window": [32, 16, 8],
        "points": { "layer": "points" },
        "arrays": { "img": { "layer": "img" } },
        "layers": { "img": { "resolution": [4.6, 4.6, 45.0], "voxel_offset": voxel_offset, "axes": "zyx" } },
        "splits": { "train": [] },
    })
}

#[test]
fn a_wrong_checksum_of_a_shard_index_fails_the_job_and_names_the_shard() {
    let Some(data) = crate::support::shared_data() else {
        return;
    };
    let collection = data.join("malformed/zarr_bad_crc/collection.json");
    let mut config = zarr_config(&collection, [3031, 2577, 100]);
    config["splits"] = split_of(&collection);
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out");
    let e = crate::support::run(&config, &out, 2, 1 << 30).unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(e));
    assert!(
        text.contains("layer/c/0/0/0") && text.contains("shard index"),
        "{text}"
    );
    assert!(!out.join("manifest.json").exists());
}

/// The split `train` of all boxes of the collection. Its first box has all tags.
fn split_of(collection: &Path) -> Value {
    let tags = &crate::support::read_json(collection)["annotations"][0]["tags"];
    json!({ "train": tags })
}

#[test]
fn a_fill_value_fills_missing_blocks_and_voxels_outside_the_volume() {
    let Some(data) = crate::support::shared_data() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let name = "zarr v2, fill value";
    let source = sources(dir.path())
        .into_iter()
        .find(|s| s.name == name)
        .unwrap();
    let original = data.join("malformed/zarr_bad_crc/collection.json");
    let base = format!("file://{}", data.join("malformed/base").display());
    let text = fs::read_to_string(&original).unwrap();
    let text = text
        .replace("zarr3://file://./layer", &source.url)
        .replace("file://../base", &base);
    let collection = dir.path().join("collection.json");
    fs::write(&collection, text).unwrap();
    let config = |voxel_offset| {
        let mut config = zarr_config(&collection, voxel_offset);
        config["layers"]["img"]["axes"] = json!("czyx");
        config["splits"] = split_of(&original);
        config
    };
    let file = dir.path().join("config.json");
    // Any offset at which windows overlap the layer, because a layer without overlap is an error.
    fs::write(&file, config([3060, 2600, 99]).to_string()).unwrap();
    let start = Job::prepare(&file, 1 << 30, &Storage::default())
        .unwrap()
        .plan
        .splits[0]
        .samples[0]
        .start_voxel;
    // The first window contains the volume's first corner, its missing block, and voxels before it.
    let offset = [start[0] - 3, start[1] + 2, start[2] - 2];
    let out = dir.path().join("out");
    crate::support::run(&config(offset), &out, 2, 1 << 30).unwrap();
    let split = Dataset::open(&out, &Storage::default())
        .unwrap()
        .split("train")
        .unwrap();
    let starts = split.column::<i64>("start_voxel").unwrap();
    let samples = split.samples("img").unwrap();
    let (mut holes, mut filled) = (0, 0);
    for (i, start) in starts.chunks_exact(3).enumerate() {
        let values = samples.read(i as u64).unwrap();
        let values = values.chunks_exact(2);
        let mut values = values.map(|b| u16::from_le_bytes([b[0], b[1]]));
        let first = std::array::from_fn(|d| start[d] - offset[d]);
        for (expected, is_inside) in expected_sample(&source, first) {
            holes += usize::from(is_inside && expected == source.fill);
            filled += usize::from(!is_inside);
            assert_eq!(values.next(), Some(expected), "sample {i}");
        }
    }
    assert!(holes > 0 && filled > 0, "{holes} {filled}");
}

/// The values of a sample of 2 channels and 32 x 16 x 8 voxels that starts at the voxel `first` of the volume, and
/// whether each voxel is inside the volume.
fn expected_sample(source: &Source, first: [i64; 3]) -> Vec<(u16, bool)> {
    let mut values = Vec::new();
    for c in 0..2 {
        for z in 0..8 {
            for y in 0..16 {
                for x in 0..32 {
                    let at: [i64; 3] = std::array::from_fn(|d| first[d] + [x, y, z][d]);
                    let is_inside = (0..3).all(|d| (0..SIZE[d] as i64).contains(&at[d]));
                    let expected = if is_inside {
                        value(c, at.map(|v| v as usize), source.fill)
                    } else {
                        source.fill
                    };
                    values.push((expected, is_inside));
                }
            }
        }
    }
    values
}

//! Samples read back from shards equal windows that other tools computed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::{read_json, run, shared_data, vnc_config};
use pointshard::{Dataset, Storage};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[test]
fn windows_around_points_equal_the_expected_bytes() {
    check("a_points_32x32x8");
}

#[test]
fn windows_with_odd_sizes_equal_the_expected_bytes() {
    check("a_points_33x33x5");
}

#[test]
fn windows_around_lines_are_centred_on_midpoints() {
    check("a_lines_mid_32x32x8");
}

#[test]
fn boxes_snapped_as_zetta_utils_does_contain_the_same_annotations() {
    let Some(data) = shared_data() else { return };
    for name in [
        "a_points_32x32x8",
        "a_points_33x33x5",
        "a_lines_mid_32x32x8",
    ] {
        let golden = read_json(&data.join("goldens").join(format!("{name}.json")));
        let mut config = vnc_config(&data);
        config["window"] = golden["config"]["window_xyz"].clone();
        config["points"] = json!({ "layer": golden["config"]["annotations"] });
        config["snap"] = json!("zetta");
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("out");
        run(&config, &out, 2, 1 << 30).unwrap();
        let dataset = Dataset::open(&out, &Storage::default()).unwrap();
        // Pairs of box and annotation by the plain rule, changed where zetta_utils differs.
        let mut expected: BTreeSet<(u64, u64)> = rows(&golden["samples"]).collect();
        for (key, differs) in
            rows(&golden["zetta_differs"]).zip(golden["zetta_differs"].as_array().unwrap())
        {
            if differs["here"].as_bool().unwrap() {
                assert!(expected.remove(&key), "{name} {key:?}")
            } else {
                assert!(expected.insert(key), "{name} {key:?}")
            }
        }
        let keys = |split: &str| {
            let reader = dataset.split(split).unwrap();
            let boxes = reader.column::<u32>("box").unwrap().into_iter();
            let ids = reader.column::<u64>("annotation_id").unwrap();
            boxes.map(u64::from).zip(ids).collect::<Vec<_>>()
        };
        let found: BTreeSet<_> = ["train", "val"].into_iter().flat_map(keys).collect();
        assert_eq!(found, expected, "{name}");
        // The manifest keeps the corners of the box as the collection has them.
        assert_eq!(dataset.manifest().boxes[0].min_nm[0], 13850.5);
    }
}

/// The box and the annotation of each row.
fn rows(list: &Value) -> impl Iterator<Item = (u64, u64)> {
    let id = |row: &Value| row["annotation_id"].as_str().unwrap().parse().unwrap();
    let rows = list.as_array().unwrap().iter();
    rows.map(move |row| (row["bbox"].as_u64().unwrap(), id(row)))
}

fn check(name: &str) {
    let Some(data) = shared_data() else { return };
    let golden = read_json(&data.join("goldens").join(format!("{name}.json")));
    let mut config = vnc_config(&data);
    config["window"] = golden["config"]["window_xyz"].clone();
    config["points"] = json!({ "layer": golden["config"]["annotations"] });
    config["shard_samples"] = json!(4);
    let out = tempfile::tempdir().unwrap();
    run(&config, &out.path().join("out"), 2, 1 << 30).unwrap();
    let dataset = Dataset::open(out.path().join("out"), &Storage::default()).unwrap();
    let expected = golden["samples"].as_array().unwrap();
    let found: usize = ["train", "val"]
        .iter()
        .map(|split| check_split(&dataset, split, expected))
        .sum();
    assert_eq!(found, expected.len());
    assert!(found > 20, "the golden file has too few samples");
    check_boxes(&dataset, &golden);
}

/// Compares all samples of the split, and returns their number.
fn check_split(dataset: &Dataset, split: &str, expected: &[Value]) -> usize {
    let of_split = expected.iter().filter(|s| s["split"] == split);
    let expected: BTreeMap<(u64, &str), &Value> = of_split
        .map(|s| {
            (
                (
                    s["annotation_id"].as_str().unwrap().parse().unwrap(),
                    s["bbox_id"].as_str().unwrap(),
                ),
                s,
            )
        })
        .collect();
    let reader = dataset.split(split).unwrap();
    let ids = reader.column::<u64>("annotation_id").unwrap();
    let boxes = reader.column::<u32>("box").unwrap();
    let starts = reader.column::<i64>("start_voxel").unwrap();
    let centers = reader.column::<f64>("center_nm").unwrap();
    for (i, (id, b)) in ids.iter().zip(&boxes).enumerate() {
        let sample = expected[&(*id, dataset.manifest().boxes[*b as usize].id.as_str())];
        assert_eq!(
            json!(starts[3 * i..3 * i + 3]),
            sample["window_start"],
            "{split} {id}"
        );
        assert_eq!(
            json!(centers[3 * i..3 * i + 3]),
            sample["centre_nm"],
            "{split} {id}"
        );
        for (array, hash) in sample["sha256"].as_object().unwrap() {
            let window = reader.samples(array).unwrap().read(i as u64).unwrap();
            let found: String = Sha256::digest(&window)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(found, hash.as_str().unwrap(), "{split} {id} {array}");
        }
    }
    assert_eq!(ids.len(), expected.len(), "{split}");
    ids.len()
}

fn check_boxes(dataset: &Dataset, golden: &Value) {
    let samples: Vec<u64> = dataset.manifest().boxes.iter().map(|b| b.samples).collect();
    assert_eq!(json!(samples), golden["samples_per_box"]);
}

#[test]
fn every_form_of_the_collection_gives_the_same_samples() {
    let Some(data) = shared_data() else { return };
    let samples_of = |collection: &Path| {
        let mut config = vnc_config(&data);
        config["collection"] = json!(collection);
        let out = tempfile::tempdir().unwrap();
        let root = out.path().join("out");
        let manifest = run(&config, &root, 2, 1 << 30).unwrap().manifest;
        (manifest.shards, manifest.boxes)
    };
    let vnc = data.join("vnc");
    let one_file = samples_of(&vnc.join("collection.json"));
    for other in ["api", "pipe_urls/collection.json", "pipe_urls/api"] {
        assert_eq!(samples_of(&vnc.join(other)), one_file, "{other}");
    }
}

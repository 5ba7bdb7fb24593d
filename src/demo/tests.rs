//! Properties of the demo's collection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use super::boxes::in_world;
use super::noise::{length, minus};
use super::tissue::{VOXELS, index_of};
use super::volume_shape::{OFFSET, WINDOW};
use super::*;
use crate::collection::Collection;
use crate::config::Config;
use crate::geometry::{PointNm, Resolution, VoxelBox, WindowRule, WindowSize};
use crate::points::{Anchor, PointLayer};
use crate::storage::{Location, Storage};

static WORLD: LazyLock<World> = LazyLock::new(World::make);

/// The files below `dir`, by path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let below = files(&path).into_iter();
            found.extend(below.map(|(key, bytes)| (format!("{name}/{key}"), bytes)));
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

fn written_with(threads: usize) -> (tempfile::TempDir, DemoReport) {
    let dir = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = pool.build().unwrap();
    let report = pool.install(|| write_collection(dir.path())).unwrap();
    (dir, report)
}

/// The windows around the synapses of all boxes of a split.
fn windows(split: &str) -> Vec<VoxelBox> {
    let window = WindowSize::new(WINDOW).unwrap();
    let resolution = Resolution::new(RESOLUTION_NM).unwrap();
    let boxes = boxes().into_iter().filter(|b| b.split == split);
    let mut windows = Vec::new();
    for one in boxes {
        for synapse in WORLD
            .synapses
            .iter()
            .filter(|s| one.contains(s.center_position()))
        {
            let voxel = in_world(synapse.positions[0]);
            let nm = [0, 1, 2].map(|d| f64::from(voxel[d]) * RESOLUTION_NM[d]);
            let start = window
                .start_around(&PointNm(nm), &resolution, WindowRule::Ceil)
                .unwrap();
            windows.push(window.at(start));
        }
    }
    windows
}

fn u64s(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.chunks_exact(8);
    words
        .map(|w| u64::from_le_bytes(w.try_into().unwrap()))
        .collect()
}

#[test]
fn the_bytes_are_the_same_with_any_number_of_threads_and_in_a_folder_with_the_demo() {
    let (one, report) = written_with(1);
    let expected = files(one.path());
    let with_three_threads = testing::files().iter();
    let with_three_threads = with_three_threads
        .map(|(path, bytes)| (path.to_str().unwrap().to_owned(), bytes.clone()))
        .collect();
    assert!(expected == with_three_threads);
    assert!(expected.contains_key("img/8_8_40/1200-1264_900-964_150-166.gz"));
    assert!(expected.contains_key("img/16_16_40/792-794_578-636_198-208.gz"));
    assert!(expected.contains_key("seg/8_8_40/1584-1588_1156-1272_182-208"));
    assert!(expected.contains_key("synseg/8_8_40/1584-1588_1156-1272_182-208"));
    assert_eq!(report.config, one.path().join("config.json"));
    assert_eq!(report.boxes.len(), 5);

    check_annotations(&expected, "points", 12);
    check_annotations(&expected, "lines", 24);
    check_segmentation(&expected);
    check_job(&report);
}

/// The config, the collection and the points are read without a warning and agree with the report.
fn check_job(report: &DemoReport) {
    let config = Config::read(&report.config).unwrap();
    let folder = Location::folder_of(&report.config);
    let collections = Collection::open_all(&config, &folder, &Storage::default()).unwrap();
    let [collection] = &collections[..] else {
        panic!("one collection")
    };
    let bounds: Vec<_> = collection.boxes.iter().map(|b| b.bounds).collect();
    let group = &collection.boxes[0].layers;
    for layer in &report.layers {
        group.source(layer.name).unwrap();
    }
    for (name, anchor) in [("points", config.points.anchor), ("lines", Anchor::Start)] {
        let layer = PointLayer::open(&group.source(name).unwrap(), &Storage::default()).unwrap();
        let read = layer.read_boxes(&bounds, anchor).unwrap();
        assert_eq!(read.report.warnings, Vec::<String>::new());
        assert_eq!(read.report.cells_empty, 0);
        if name == "points" {
            let counts: Vec<_> = read.per_box.iter().map(Vec::len).collect();
            let reported: Vec<_> = report.boxes.iter().map(|b| b.synapses).collect();
            assert_eq!(counts, reported);
        }
    }
    for (found, reported) in collection.boxes.iter().zip(&report.boxes) {
        assert_eq!(found.tags, [reported.split]);
    }
}

/// Cell files have the right sizes, and every id is in a cell and in the index by id.
fn check_annotations(files: &BTreeMap<String, Vec<u8>>, layer: &str, geometry: usize) {
    let record = geometry + 12;
    let mut listed = BTreeSet::new();
    let mut cells = 0;
    for (name, bytes) in files {
        if name.starts_with(&format!("{layer}/spatial0/")) {
            let count = u64s(&bytes[..8])[0] as usize;
            assert_eq!(bytes.len(), 8 + count * (record + 8), "{name}");
            listed.extend(u64s(&bytes[8 + count * record..]));
            cells += 1;
        }
    }
    assert_eq!(cells, 8);
    let ids: BTreeSet<u64> = WORLD.synapses.iter().map(|s| s.id).collect();
    assert_eq!(ids.len(), WORLD.synapses.len());
    assert_eq!(listed, ids);
    for id in ids {
        assert_eq!(files[&format!("{layer}/by_id/{id}")].len(), record);
    }
}

/// The truncated last chunk has the cells of the volume's last corner.
fn check_segmentation(files: &BTreeMap<String, Vec<u8>>) {
    let chunk = &files["seg/8_8_40/1584-1588_1156-1272_182-208"];
    let shape = [4, 116, 26];
    let mut decoded = Vec::new();
    crate::volume::compressed_segmentation::decode(chunk, shape, 1, [8; 3], 8, &mut decoded)
        .unwrap();
    let start = [384, 256, 32];
    for (i, id) in u64s(&decoded).into_iter().enumerate() {
        let [x, y, z] = [i % 4, i / 4 % 116, i / (4 * 116)];
        let index = ((start[2] + z) * SHAPE[1] + start[1] + y) * SHAPE[0] + start[0] + x;
        assert_eq!(id, WORLD.segment(index));
    }
}

#[test]
fn every_line_goes_from_one_cell_to_the_other_with_the_point_in_its_middle() {
    for synapse in &WORLD.synapses {
        let [center, pre, post] = synapse.positions;
        let cell = |p| WORLD.tissue.cell(index_of(p));
        assert_eq!(cell(pre), Some(synapse.pre));
        assert_eq!(cell(post), Some(synapse.post));
        assert_ne!(synapse.pre, synapse.post);
        for d in 0..3 {
            // A section may have been displaced against its neighbour by two voxels.
            assert!(((pre[d] + post[d]) / 2.0 - center[d]).abs() < 3.0);
        }
    }
}

#[test]
fn labels_are_voxels_of_the_pre_and_the_post_cell_near_a_synapse() {
    let mut counts = [0; 2];
    for index in (0..VOXELS).filter(|i| WORLD.labels[*i] != 0) {
        let voxel = [
            index % SHAPE[0],
            index / SHAPE[0] % SHAPE[1],
            index / (SHAPE[0] * SHAPE[1]),
        ];
        let place = WORLD.tissue.place(voxel);
        let cell = WORLD.tissue.cell(index);
        let near = WORLD.synapses.iter();
        let near = near.filter(|s| length(minus(s.center, place)) < 221.0);
        let near: Vec<_> = near.collect();
        if WORLD.labels[index] & 1 != 0 {
            counts[0] += 1;
            assert!(near.iter().any(|s| cell == Some(s.pre)));
        }
        if WORLD.labels[index] & 2 != 0 {
            counts[1] += 1;
            assert!(near.iter().any(|s| cell == Some(s.post)));
        }
    }
    assert!(counts.iter().all(|n| *n > 50_000), "{counts:?}");
}

#[test]
fn the_postsynaptic_cell_has_most_voxels_under_the_density_of_a_synapse() {
    let mut voxels: BTreeMap<u64, BTreeMap<u8, usize>> = BTreeMap::new();
    for index in 0..VOXELS {
        let of_synapse = voxels.entry(WORLD.density(index)).or_default();
        if let Some(cell) = WORLD.tissue.cell(index) {
            *of_synapse.entry(cell).or_default() += 1;
        }
    }
    for synapse in &WORLD.synapses {
        let cells = &voxels[&synapse.id];
        let most = cells.iter().max_by_key(|(_, n)| **n);
        assert_eq!(most.map(|(cell, _)| *cell), Some(synapse.post), "{cells:?}");
        assert!(cells.values().sum::<usize>() >= 20, "{cells:?}");
    }
    assert_eq!(voxels.len(), WORLD.synapses.len() + 1);
}

#[test]
fn every_window_shows_both_labels() {
    for synapse in &WORLD.synapses {
        let ends = [synapse.positions[1], synapse.positions[2]];
        let [pre, post] = ends.map(|p| WORLD.labels[index_of(p)]);
        assert!(pre & 1 != 0 && post & 2 != 0);
    }
}

#[test]
fn no_window_of_train_shares_a_voxel_with_one_of_val() {
    let (train, val) = (windows("train"), windows("val"));
    assert!(train.len() >= 20 && val.len() >= 20);
    for a in &train {
        for b in &val {
            assert_eq!(a.intersection(b), None);
        }
    }
}

#[test]
fn some_windows_extend_past_the_volume_and_most_do_not() {
    let volume = VoxelBox {
        start: OFFSET.map(|v| v as i64),
        end: [0, 1, 2].map(|d| (OFFSET[d] + SHAPE[d]) as i64),
    };
    let all = [windows("train"), windows("val")].concat();
    let inside = all.iter().filter(|w| volume.contains_box(w)).count();
    assert!(
        inside * 2 > all.len() && all.len() - inside >= 4,
        "{inside}"
    );
}

#[test]
fn exactly_one_box_has_no_synapse() {
    for one in boxes() {
        assert_eq!(report(&one, &WORLD.synapses).synapses == 0, one.is_empty);
    }
    let outside = WORLD.synapses.iter();
    let outside = outside.filter(|s| !boxes().iter().any(|b| b.contains(s.center_position())));
    assert_eq!(outside.count(), 12);
}

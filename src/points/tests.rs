//! Annotation layers written by other programs, compared with their known values.
//!
//! The data is in `../shared/data` beside the checkout. Without it the tests print a note and pass, except in CI, where it
//! is required.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::geometry::{BoxNm, PointNm};
use crate::points::{Anchor, Annotation, PointLayer, PointsInBoxes, PropertyKind, PropertySpec};
use crate::storage::{Location, SourceUrl, Storage};
use crate::support::{read_json, shared_data};
use serde_json::Value;

/// nm per voxel of all these layers.
const RESOLUTION: [f64; 3] = [4.6, 4.6, 45.0];

fn open(folder: &Path) -> PointLayer {
    let here = Location::Local(PathBuf::new());
    let url = format!("precomputed://file://{}", folder.display());
    PointLayer::open(&SourceUrl::parse(&url, &here).unwrap(), &Storage::default()).unwrap()
}

fn everything() -> BoxNm {
    BoxNm::from_corners(PointNm([-1e9; 3]), PointNm([1e9; 3])).unwrap()
}

fn read_all(layer: &PointLayer, anchor: Anchor) -> PointsInBoxes {
    layer.read_boxes(&[everything()], anchor).unwrap()
}

fn triple(value: &Value) -> [f64; 3] {
    let list = value.as_array().unwrap();
    [0, 1, 2].map(|d| list[d].as_f64().unwrap())
}

fn nm(voxels: [f64; 3]) -> PointNm {
    PointNm([0, 1, 2].map(|d| voxels[d] * RESOLUTION[d]))
}

/// The true annotations by id.
fn rows(data: &Path) -> BTreeMap<u64, Value> {
    let rows = read_json(&data.join("annotations/rows.json"));
    let rows = rows["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_u64().unwrap(), row.clone()))
        .collect()
}

/// A property's value as JSON, in the form of `rows.json`.
fn value(property: &PropertySpec, annotation: &Annotation) -> Value {
    let bytes = property.bytes(&annotation.properties);
    match property.kind {
        PropertyKind::Float32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())).into(),
        PropertyKind::Uint32 => u32::from_le_bytes(bytes.try_into().unwrap()).into(),
        PropertyKind::Uint8 => bytes[0].into(),
        PropertyKind::Rgb => bytes.to_vec().into(),
        other => panic!("these layers have no {}", other.name()),
    }
}

/// Compares everything in `layer` with the true rows.
fn assert_rows(data: &Path, layer: &PointLayer, found: &PointsInBoxes, is_line: bool) {
    let rows = rows(data);
    let annotations = &found.per_box[0];
    assert_eq!(found.report.annotations_read, rows.len() as u64);
    assert!(
        found.report.warnings.is_empty(),
        "{:?}",
        found.report.warnings
    );
    let ids: Vec<u64> = annotations.iter().map(|a| a.id).collect();
    assert_eq!(ids, rows.keys().copied().collect::<Vec<_>>());
    assert_eq!(layer.properties().len(), 4);
    for (annotation, row) in annotations.iter().zip(rows.values()) {
        let (a, b) = (triple(&row["a"]), triple(&row["b"]));
        let middle = nm(a).midpoint(&nm(b));
        let (anchor, ends) = if is_line {
            (middle, [nm(a), nm(b)])
        } else {
            let point = nm(triple(&row["point"]));
            (point, [point; 2])
        };
        assert_eq!((annotation.anchor, annotation.ends), (anchor, ends));
        for property in layer.properties() {
            assert_eq!(
                value(property, annotation),
                row["props"][&property.id],
                "{}",
                annotation.id
            );
        }
    }
}

#[test]
fn points_and_lines_written_by_neuroglancer_equal_their_rows() {
    let Some(data) = shared_data() else { return };
    for (name, is_line) in [("points", false), ("lines", true)] {
        let layer = open(&data.join("vnc").join(name));
        assert_rows(&data, &layer, &read_all(&layer, Anchor::Midpoint), is_line);
    }
}

#[test]
fn points_on_three_levels_written_by_zetta_utils_equal_their_rows() {
    let Some(data) = shared_data() else { return };
    let layer = open(&data.join("annotations/zetta_points_multilevel"));
    let found = read_all(&layer, Anchor::Midpoint);
    assert_rows(&data, &layer, &found, false);
    assert_eq!(
        found.report.cells_read + found.report.cells_empty,
        1 + 4 + 32
    );
    assert!(found.report.cells_empty > 0);
}

#[test]
fn lines_stored_in_every_cell_that_they_cross_equal_their_rows() {
    let Some(data) = shared_data() else { return };
    let layer = open(&data.join("annotations/lines_multilevel"));
    let found = read_all(&layer, Anchor::Midpoint);
    assert_rows(&data, &layer, &found, true);
    assert_eq!(
        (found.report.cells_read, found.report.repeated_records),
        (25, 17)
    );
}

#[test]
fn the_anchors_of_boxes_are_their_centres() {
    let Some(data) = shared_data() else { return };
    let layer = open(&data.join("annotations/ng_boxes"));
    let found = read_all(&layer, Anchor::Start);
    let rows = rows(&data);
    assert_eq!(found.per_box[0].len(), rows.len());
    for annotation in &found.per_box[0] {
        let row = &rows[&annotation.id];
        let (a, b) = (triple(&row["a"]), triple(&row["b"]));
        let centre = nm(a).midpoint(&nm(b));
        assert_eq!((annotation.anchor, annotation.ends), (centre, [centre; 2]));
    }
}

#[test]
fn points_in_shards_on_two_levels_equal_their_rows() {
    let Some(data) = shared_data() else { return };
    let layer = open(&data.join("annotations/points_sharded_raw"));
    let found = read_all(&layer, Anchor::Midpoint);
    assert_rows(&data, &layer, &found, false);
    let report = &found.report;
    assert_eq!((report.cells_read, report.cells_empty), (1 + 4, 0));
}

/// The boxes of the collection, with unchanged corners.
fn boxes(collection: &Path) -> Vec<BoxNm> {
    let collection = read_json(collection);
    let boxes = collection["annotations"].as_array().unwrap().iter();
    let corners = |b: &Value| {
        BoxNm::from_corners(PointNm(triple(&b["pointA"])), PointNm(triple(&b["pointB"])))
    };
    boxes.map(|b| corners(b).unwrap()).collect()
}

#[test]
fn the_boxes_of_the_collection_hold_the_expected_ids_and_centres() {
    let Some(data) = shared_data() else { return };
    let boxes = boxes(&data.join("vnc/collection.json"));
    let mut checked = 0;
    for golden in [
        "a_points_32x32x8",
        "a_points_33x33x5",
        "a_lines_mid_32x32x8",
    ] {
        let golden = read_json(&data.join(format!("goldens/{golden}.json")));
        let name = golden["config"]["annotations"].as_str().unwrap();
        let found = open(&data.join("vnc").join(name))
            .read_boxes(&boxes, Anchor::Midpoint)
            .unwrap();
        let expected = golden["samples"].as_array().unwrap();
        let samples = found
            .per_box
            .iter()
            .enumerate()
            .flat_map(|(i, list)| list.iter().map(move |a| (i, a.id, a.anchor.0)));
        let samples: Vec<_> = samples.collect();
        assert_eq!(samples.len(), expected.len());
        for (sample, expected) in samples.iter().zip(expected) {
            let id = expected["annotation_id"].as_str().unwrap().parse().unwrap();
            let bbox = expected["bbox"].as_u64().unwrap() as usize;
            assert_eq!(*sample, (bbox, id, triple(&expected["centre_nm"])));
            checked += 1;
        }
    }
    assert_eq!(checked, 30 + 30 + 26);
}

#[test]
fn a_count_of_2_to_the_40_is_an_error_that_names_the_file() {
    let Some(data) = shared_data() else { return };
    let layer = open(&data.join("malformed/ann_count_2_40/layer"));
    let e = layer
        .read_boxes(&[everything()], Anchor::Midpoint)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("spatial0/0_0_0") && e.contains("1099511627776"),
        "{e}"
    );
}

#[test]
fn a_point_at_infinity_is_skipped_and_reported() {
    let Some(data) = shared_data() else { return };
    let folder = data.join("malformed/ann_inf");
    let layer = open(&folder.join("layer"));
    let found = layer
        .read_boxes(&boxes(&folder.join("collection.json")), Anchor::Midpoint)
        .unwrap();
    assert_eq!(found.per_box[0].len(), 1);
    assert_eq!(found.report.not_finite.annotations, 1);
    let (_, file) = found.report.not_finite.example.unwrap();
    assert!(file.ends_with("spatial0/0_0_0"), "{file}");
}

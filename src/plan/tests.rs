mod choose;
mod leaks;
mod rows;

use super::properties::common_properties;
use super::*;
use crate::collection::Collection;
use crate::config::{Config, ConfigFile, SplitConfig};
use crate::geometry::{PointNm, Resolution};
use crate::points::{Annotation, PointsInBoxes, PointsReport, PropertyKind, PropertySpec};
use crate::storage::{Location, Storage};
use serde_json::{Value, json};
use std::path::Path;
use std::slice::from_ref;

/// A box in nm: id, lower corner, upper corner, tags, layer group.
struct TestBox(
    &'static str,
    [f64; 3],
    [f64; 3],
    Vec<&'static str>,
    &'static str,
);

fn config(change: impl FnOnce(&mut Value)) -> ConfigFile {
    let mut value = json!({
        "collection": "collection.json",
        "resolution": [1, 1, 1],
        "window": [4, 4, 4],
        "points": { "layer": "points" },
        "arrays": { "img": { "layer": "img" } },
        "splits": { "train": ["train"], "val": ["val"] },
    });
    change(&mut value);
    ConfigFile {
        config: Config::parse(value.to_string().as_bytes(), Path::new("job.json")).unwrap(),
        path: "job.json".into(),
    }
}

fn collection(boxes: &[TestBox]) -> Collection {
    let rows: Vec<_> = boxes
        .iter()
        .map(|TestBox(id, a, b, tags, group)| {
            json!({"type": "axis_aligned_bounding_box", "id": id, "pointA": a, "pointB": b, "tags": tags, "layer_group": group})
        })
        .collect();
    let document = json!({
        "layer_groups": [
            {"id": "g", "layers": ["i", "p"]}, {"id": "h", "layers": ["i2", "p"]}, {"id": "empty", "layers": []},
        ],
        "layers": [
            {"id": "i", "name": "img", "source": "img"}, {"id": "i2", "name": "img", "source": "img2"},
            {"id": "p", "name": "points", "source": "points"},
        ],
        "annotations": rows,
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("collection.json");
    std::fs::write(&file, document.to_string()).unwrap();
    Collection::read(&Location::Local(file), &Storage::default()).unwrap()
}

fn annotation(id: u64, p: [f64; 3]) -> Annotation {
    Annotation {
        id,
        anchor: PointNm(p),
        ends: [PointNm(p); 2],
        properties: Box::default(),
    }
}

fn layer(per_box: Vec<Vec<Annotation>>) -> LayerPoints {
    LayerPoints {
        has_ends: false,
        points: PointsInBoxes {
            per_box,
            report: PointsReport::default(),
        },
        properties: Vec::new(),
        extent: None,
        related: None,
    }
}

/// The read plan for those of the config's splits that have a box.
fn read_plan_of(config: &ConfigFile, collection: &Collection) -> Result<ReadPlan, PlanError> {
    let fits = |split: &SplitConfig| collection.boxes.iter().any(|b| split.fits(&b.tags));
    let mut config = config.clone();
    if config.config.splits.values().any(fits) {
        config.config.splits.retain(|_, split| fits(split));
    }
    ReadPlan::new(&config, from_ref(collection), |_, _| Ok(Vec::new()))
}

/// The plan for these annotations, (id, position), of each box of a split.
fn plan(
    config: &ConfigFile,
    collection: &Collection,
    points: &[Vec<(u64, [f64; 3])>],
) -> Result<Plan, PlanError> {
    let read_plan = read_plan_of(config, collection)?;
    let of_box = |b: &Vec<(u64, [f64; 3])>| b.iter().map(|(id, p)| annotation(*id, *p)).collect();
    let layer = layer(points.iter().map(of_box).collect());
    Plan::build(&read_plan, vec![layer])?.finish()
}

#[test]
fn tags_choose_the_split_and_a_box_in_no_split_is_recorded() {
    let c = collection(&[
        TestBox("a", [0.0; 3], [10.0; 3], vec!["train", "x"], "g"),
        TestBox("b", [0.0; 3], [10.0; 3], vec!["other"], "empty"),
        TestBox("c", [50.0; 3], [60.0; 3], vec!["val"], "h"),
    ]);
    let p = plan(
        &config(|_| {}),
        &c,
        &[vec![(7, [5.0; 3])], vec![(7, [55.0; 3])]],
    )
    .unwrap();
    let splits: Vec<_> = p.boxes.iter().map(|b| b.split).collect();
    assert_eq!(splits, [Some(0), None, Some(1)]);
    assert_eq!(
        (p.boxes[0].samples, p.boxes[1].samples, p.boxes[2].samples),
        (1, 0, 1)
    );
    let val = &p.splits[1].samples[0];
    assert_eq!(
        (val.annotation_id, val.start_voxel, val.box_index),
        (7, [53; 3], 2)
    );
    // The two groups have different volumes for the same array.
    assert_eq!(p.sources.len(), 2);
    assert_ne!(p.source_of(0, &p.splits[0].samples[0]), p.source_of(0, val));
}

#[test]
fn a_box_needs_all_tags_of_a_split() {
    let c = collection(&[
        TestBox("a", [0.0; 3], [10.0; 3], vec!["train"], "g"),
        TestBox("b", [0.0; 3], [10.0; 3], vec!["proofread", "train"], "g"),
    ]);
    let file = config(|v| v["splits"] = json!({"train": ["train", "proofread"]}));
    let p = plan(&file, &c, &[vec![]]).unwrap();
    assert_eq!(
        p.boxes.iter().map(|b| b.split).collect::<Vec<_>>(),
        [None, Some(0)]
    );
}

#[test]
fn a_split_may_require_any_or_none_of_some_tags() {
    let at = |x: f64, id, tags| TestBox(id, [x, 0.0, 0.0], [x + 10.0, 10.0, 10.0], tags, "g");
    let c = collection(&[
        at(0.0, "a", vec!["cortex", "proofread"]),
        at(50.0, "b", vec!["cortex", "proofread", "val"]),
        at(100.0, "c", vec!["spine", "proofread", "draft"]),
        at(150.0, "d", vec!["spine", "proofread"]),
        at(200.0, "e", vec!["proofread"]),
    ]);
    let file = config(|v| {
        v["splits"] = json!({
            "train": {"all": ["proofread"], "any": ["cortex", "spine"], "none": ["val", "draft"]},
            "val": ["val"],
        })
    });
    let points: Vec<_> = [0.0, 50.0, 150.0]
        .map(|x| vec![(1, [x + 5.0, 5.0, 5.0])])
        .into();
    let p = plan(&file, &c, &points).unwrap();
    let splits: Vec<_> = p.boxes.iter().map(|b| b.split).collect();
    assert_eq!(splits, [Some(0), Some(1), None, Some(0), None]);
    let boxes = |s: usize| {
        p.splits[s]
            .samples
            .iter()
            .map(|s| s.box_index)
            .collect::<Vec<_>>()
    };
    assert_eq!((boxes(0), boxes(1)), (vec![0, 3], vec![1]));
    // A box that matches two splits is still an error.
    let file = config(|v| v["splits"] = json!({"train": {"any": ["cortex"]}, "val": ["val"]}));
    let e = plan(&file, &c, &points).unwrap_err().to_string();
    assert!(
        e.contains("\"b\"") && e.contains("`train` and `val`"),
        "{e}"
    );
    // Unknown tags are reported with the available tags, and the tags of `none` are listed too.
    let file = config(|v| v["splits"] = json!({"train": {"all": ["x"], "none": ["draft"]}}));
    let e = plan(&file, &c, &[]).unwrap_err().to_string();
    assert!(e.contains("`draft`, `x`") && e.contains("`spine`"), "{e}");
}

#[test]
fn a_box_in_two_splits_and_a_collection_without_a_split_are_errors() {
    let c = collection(&[TestBox(
        "both",
        [0.0; 3],
        [10.0; 3],
        vec!["train", "val"],
        "g",
    )]);
    let e = plan(&config(|_| {}), &c, &[]).unwrap_err().to_string();
    assert!(
        e.contains("\"both\"") && e.contains("`train`") && e.contains("`val`"),
        "{e}"
    );
    let file = config(|v| v["splits"] = json!({"train": ["Train"]}));
    let e = plan(&file, &c, &[]).unwrap_err().to_string();
    assert!(e.contains("`Train`") && e.contains("`train`, `val`"), "{e}");
}

#[test]
fn a_missing_layer_is_reported_with_its_config_key() {
    let c = collection(&[TestBox("a", [0.0; 3], [10.0; 3], vec!["train"], "g")]);
    let file = config(|v| v["arrays"] = json!({"target": {"layer": "imgg"}}));
    let e = plan(&file, &c, &[]).unwrap_err();
    assert!(e.to_string().contains("`arrays.target.layer`"), "{e}");
    let cause = std::error::Error::source(&e).unwrap().to_string();
    assert!(cause.contains("did you mean `img`"), "{cause}");
}

#[test]
fn a_window_out_of_range_is_dropped_and_counted() {
    let c = collection(&[TestBox("a", [0.0; 3], [1e300; 3], vec!["train"], "g")]);
    let p = plan(&config(|_| {}), &c, &[vec![(1, [5.0; 3]), (2, [1e200; 3])]]).unwrap();
    assert_eq!((p.boxes[0].annotations, p.boxes[0].samples), (2, 1));
    assert_eq!(p.boxes[0].dropped[&DropReason::WindowOutOfRange], 1);
}

#[test]
fn samples_are_ordered_by_box_then_by_position_then_by_id() {
    let c = collection(&[
        TestBox("b", [100.0; 3], [200.0; 3], vec!["train"], "g"),
        TestBox("a", [0.0; 3], [100.0; 3], vec!["train"], "g"),
    ]);
    let near = |d: f64| [110.0 + d, 110.0, 110.0];
    let points = [
        vec![(9, near(0.0)), (3, near(1.0)), (1, [190.0; 3])],
        vec![(2, [50.0; 3])],
    ];
    let p = plan(&config(|_| {}), &c, &points).unwrap();
    let ids: Vec<_> = p.splits[0]
        .samples
        .iter()
        .map(|s| s.annotation_id)
        .collect();
    assert_eq!(ids, [3, 9, 1, 2]);
}

#[test]
fn the_digest_changes_with_everything_that_changes_a_sample() {
    let boxes = |max| [TestBox("a", [0.0; 3], [max; 3], vec!["train"], "g")];
    let digest = |file: &ConfigFile, max, p| {
        plan(file, &collection(&boxes(max)), &[vec![(1, [p; 3])]])
            .unwrap()
            .digest()
    };
    let file = config(|_| {});
    let read_plan = |max| read_plan_of(&file, &collection(&boxes(max))).unwrap();
    assert_eq!(read_plan(10.0).point_sources().len(), 1);
    // Each collection is in its own folder, and places are not part of the digest.
    assert_eq!(digest(&file, 10.0, 5.0), digest(&file, 10.0, 5.0));
    let c = collection(&boxes(10.0));
    let of = |file: &ConfigFile, p: f64| plan(file, &c, &[vec![(1, [p; 3])]]).unwrap().digest();
    assert_eq!(of(&file, 5.0), of(&file, 5.0));
    assert_ne!(of(&file, 5.0), of(&file, 5.25));
    assert_ne!(
        of(&file, 5.0),
        of(&config(|v| v["window"] = json!([4, 4, 5])), 5.0)
    );
    assert_ne!(
        of(&file, 5.0),
        of(&config(|v| v["missing"] = json!("error")), 5.0)
    );
    assert_ne!(digest(&file, 10.0, 5.0), digest(&file, 11.0, 5.0));
}

#[test]
fn a_property_gets_a_column_only_if_every_layer_has_it_with_the_same_type() {
    let specs = |kinds: &[(&str, PropertyKind)]| -> Vec<PropertySpec> {
        kinds
            .iter()
            .map(|(id, kind)| PropertySpec::for_test(id, *kind))
            .collect()
    };
    let a = specs(&[
        ("score", PropertyKind::Float32),
        ("kind", PropertyKind::Uint8),
    ]);
    let b = specs(&[
        ("kind", PropertyKind::Uint16),
        ("score", PropertyKind::Float32),
    ]);
    let mut warnings = Vec::new();
    let columns = common_properties(&[a, b], &mut warnings);
    assert_eq!(columns, [vec![0, 1]]);
    assert!(
        warnings.len() == 1 && warnings[0].contains("`kind`"),
        "{warnings:?}"
    );
}

#[test]
fn a_split_without_boxes_is_an_error_with_the_available_tags() {
    let c = collection(&[TestBox("a", [0.0; 3], [10.0; 3], vec!["train"], "g")]);
    let e = ReadPlan::new(&config(|_| {}), from_ref(&c), |_, _| Ok(Vec::new())).unwrap_err();
    let e = e.to_string();
    assert!(
        e.contains("the split `val`") && e.contains("available tags: `train`"),
        "{e}"
    );
}

#[test]
fn a_split_without_samples_is_a_warning_and_a_plan_without_samples_has_a_reason() {
    let c = collection(&[
        TestBox("a", [0.0; 3], [10.0; 3], vec!["train"], "g"),
        TestBox("b", [0.0; 3], [10.0; 3], vec!["val"], "g"),
    ]);
    let two = plan(&config(|_| {}), &c, &[vec![(7, [5.0; 3])], vec![]]).unwrap();
    assert!(two.why_no_samples().is_none());
    let [warning] = &two.warnings[..] else {
        panic!("{:?}", two.warnings)
    };
    assert!(
        warning.contains("the split `val` has no sample"),
        "{warning}"
    );
    let none = plan(&config(|_| {}), &c, &[vec![(7, [1e200; 3])], vec![]]).unwrap();
    let why = none.why_no_samples().unwrap();
    assert!(
        why.contains("all of the 1 ") && why.contains("1 `window_out_of_range`"),
        "{why}"
    );
    let none = plan(&config(|_| {}), &c, &[vec![], vec![]]).unwrap();
    assert!(
        none.why_no_samples()
            .unwrap()
            .contains("no annotation is in any")
    );
}

//! Synthetic plans for tests, with all that a plan can hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::config::Config;
use crate::data_type::{DataType, Scalar};
use crate::dataset::{ArrayLayout, Codec, CodecChoice, CodecTrial, Layout};
use crate::geometry::{PointNm, Resolution, SourceTransform};
use crate::plan::{
    DropReason, FinishedPlan, Padding, Plan, PlannedArray, PlannedBox, PlannedGroup, PlannedSplit,
    Reuse, ReusedShards, Sample, SampleObjects, SourceFacts, Tasks, VolumeSource,
};
use crate::points::{PropertyKind, PropertySpec};
use crate::storage::{Location, SourceUrl};

/// What the samples of a synthetic plan are made from.
#[derive(Clone, Debug)]
pub(in crate::job) struct Row {
    pub id: u64,
    pub center: [u64; 3],
    pub start: [i64; 3],
    pub group: bool,
    pub fraction: f32,
}

fn config() -> Config {
    config_of(["boxes.csv", "em", "seg", "points.csv"])
}

/// The config, with other places.
pub(in crate::job) fn config_in(place: &str) -> Config {
    config_of([place; 4])
}

fn config_of([boxes, em, seg, points]: [&str; 4]) -> Config {
    let value = json!({
        "collection": {"boxes": {"csv": boxes, "layers": {"em": em, "seg": seg}}},
        "points": {"table": {"file": points, "unit": "um", "start": ["a", "b", "c"], "end": ["d", "e", "f"],
            "properties": {"n": "uint8"}, "delimiter": ";"},
            "choose": {"filter": {"n": {"min": 0.1, "in": [1, "an \"enum\""]}}, "related": {"r": ["18446744073709551615"]},
                "min_distance_nm": 0.30000000000000004, "max_per_box": 7, "seed": u64::MAX}},
        "resolution": [4.6, 0.1, 1e-7], "window": [4, 5, 6],
        "layers": {"em": {"resolution": [1.1, 2.2, 3.3], "voxel_offset": [-1, 2, 3], "axes": "zyx", "empty": "allow"}},
        "arrays": {
            "img": {"layer": "em", "role": "image", "fill": -0.0, "codec": "auto"},
            "wide": {"layer": "em", "window": [9, 1, 2], "data_resolution": [0.3, 1, 1], "interpolation": {"area": {"rounding": "truncate"}},
                "transform": {"scale": {"multiply": 0.1, "add": -3}}},
            "cell": {"layer": "seg", "transform": {"object_at": {"point": "end", "radius_nm": 3.5}}, "codec": {"blosc": {"level": 3}}},
            "cells": {"layer": "seg", "transform": {"object_at": {"id": {"relationship": ["r", "é \"q\""]}, "missing": "keep"}}, "codec": "none"},
            "some": {"layer": "seg", "transform": {"in": [9007199254740993u64, u64::MAX]}, "codec": {"zstd": {"level": 19}}},
        },
        "splits": {"train": {"any": ["a", "é \"q\""]}, "val": ["b"]}, "leaks": {"drop_from": "val"}, "snap": "zetta", "shard_samples": 3,
    });
    Config::parse(value.to_string().as_bytes(), Path::new("job.json")).unwrap()
}

fn properties() -> Vec<PropertySpec> {
    let kinds = [
        PropertyKind::Rgb,
        PropertyKind::Rgba,
        PropertyKind::Uint8,
        PropertyKind::Int8,
        PropertyKind::Uint16,
        PropertyKind::Int16,
        PropertyKind::Uint32,
        PropertyKind::Int32,
        PropertyKind::Float32,
        PropertyKind::Uint64,
        PropertyKind::Int64,
        PropertyKind::Float64,
    ];
    let mut properties: Vec<_> = kinds
        .iter()
        .map(|kind| PropertySpec::for_test(&format!("{} ü\"'", kind.name()), *kind))
        .collect();
    properties[2].description = Some("a \u{1} \"description\"".to_owned());
    properties[2].enum_values = vec![0.0, -0.0, 0.1 + 0.2, 5e-324];
    properties[2].enum_labels = ["a", "b \"c\"", "é", ""].map(str::to_owned).to_vec();
    properties
}

fn transform() -> SourceTransform {
    let origin = json!({
        "document": "state.json", "layer": "em", "path": "layers[0]", "source_rank": 3,
        "output": {"x": [4e-9, "m"], "y": [4e-9, "m"], "z": [4e-8, "m"]},
        "matrix": [[1.0, 0.0, 0.0, 0.1], [0.0, 2.0, 0.0, -0.0], [0.0, 0.0, 1.0, 5e-324]],
    });
    serde_json::from_value(origin).unwrap()
}

fn source(number: usize, text: &str) -> (VolumeSource, SourceFacts) {
    let mut url = SourceUrl::parse(text, &Location::Local("/data".into())).unwrap();
    if number == 1 {
        url.transform = Some(Arc::new(transform()));
    }
    let source = VolumeSource {
        url,
        layer: config().layers["em"].clone(),
        resolution: Resolution::new([0.1 + 0.2, 4.6, number as f64 + 1e-300]).unwrap(),
        roots: (number == 1).then(|| Location::Local("/data/roots.csv".into())),
    };
    let facts = SourceFacts {
        metadata_digest: blake3::hash(&[number as u8]),
        redirected_to: (number == 0).then(|| "gs://bucket/other".to_owned()),
        resolution: Resolution::new([0.30000000000000004, 4.599999904632568, 1.0]).unwrap(),
        described: text.to_owned(),
    };
    (source, facts)
}

fn layout(config: &Config, splits: [usize; 2]) -> Layout {
    let trial = CodecTrial {
        windows: 8,
        bytes: u64::MAX,
        compressed_bytes: (1 << 53) + 1,
    };
    let auto = CodecChoice {
        codec: Codec::None,
        auto: Some(trial),
        align_bytes: None,
    };
    let array = |name: &str, data_type: DataType, fill_value: &[u8], codec| ArrayLayout {
        name: name.to_owned(),
        data_type,
        channels: 2,
        window: config.arrays[name].window.unwrap_or(config.window),
        fill_value: Scalar::from_le_bytes(fill_value).unwrap(),
        codec,
    };
    let stated = |name: &str| CodecChoice::stated(&config.arrays[name].codec).unwrap();
    let arrays = vec![
        array("img", DataType::Float64, &(-0.0f64).to_le_bytes(), auto),
        array(
            "wide",
            DataType::Float32,
            &f32::NAN.to_le_bytes(),
            Codec::default().into(),
        ),
        array("cell", DataType::UInt8, &[0], stated("cell")),
        array("cells", DataType::UInt8, &[0], stated("cells")),
        array(
            "some",
            DataType::UInt64,
            &u64::MAX.to_le_bytes(),
            stated("some"),
        ),
    ];
    let names = ["train", "val"].map(str::to_owned).into_iter();
    let splits = names.zip(splits.map(|n| n as u64)).collect();
    Layout::new(config.axis_order, splits, arrays, config.shard_samples)
}

fn boxes(rows: [&[Row]; 2]) -> Vec<PlannedBox> {
    let samples = |split: usize, group: usize| {
        let of_group = rows[split].iter().filter(|r| usize::from(r.group) == group);
        of_group.count() as u64
    };
    let one = |id: &str, split: Option<usize>, group: usize| PlannedBox {
        id: id.to_owned(),
        tags: vec!["é \"q\"".to_owned(), String::new(), "\u{1}\n".to_owned()],
        min_nm: [-0.0, 0.1 + 0.2, -1e300],
        max_nm: [5e-324, 9007199254740993.0, 1.0 / 3.0],
        split,
        group,
        annotations: u64::MAX,
        annotations_digest: u64::MAX - group as u64,
        samples: split.map_or(0, |split| samples(split, group)),
        dropped: BTreeMap::from([(DropReason::Leak, (1 << 53) + 1), (DropReason::TooNear, 2)]),
    };
    vec![
        one("none \"'\u{202e}ü", None, 0),
        one("t0", Some(0), 0),
        one("t1", Some(0), 1),
        one("v0", Some(1), 0),
        one("v1", Some(1), 1),
    ]
}

fn split(name: &str, number: usize, rows: &[Row]) -> PlannedSplit {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.group);
    let sample = |row: &Row| Sample {
        annotation_id: row.id,
        center_nm: PointNm(row.center.map(f64::from_bits)),
        start_voxel: row.start,
        box_index: (1 + 2 * number + usize::from(row.group)) as u32,
    };
    let ends = |row: &Row| {
        let end = row.start.map(|v| v as f64 / 3.0);
        [PointNm(row.center.map(f64::from_bits)), PointNm(end)]
    };
    let objects = SampleObjects::one_each(rows.iter().map(|row| !row.id).collect());
    let mut several = SampleObjects::several(0, 0);
    let lists = rows.iter().map(|row| &row.center[..(row.id % 4) as usize]);
    lists.for_each(|list| several.push(list.iter().copied()));
    let values = |spec: &PropertySpec| -> Vec<u8> {
        let bytes = rows.iter().flat_map(|row| row.center.map(u64::to_le_bytes));
        let bytes = bytes.flatten().enumerate();
        let of_row = |i: &usize| i % 24 < spec.kind.value_bytes();
        bytes.filter(|(i, _)| of_row(i)).map(|(_, b)| b).collect()
    };
    PlannedSplit {
        name: name.to_owned(),
        samples: rows.iter().map(sample).collect(),
        objects: [None, None, Some(objects), Some(several), None]
            .map(Option::unwrap_or_default)
            .to_vec(),
        ends: rows.iter().map(ends).collect(),
        properties: properties().iter().map(values).collect(),
    }
}

/// The first shard of two arrays, if there is one.
fn reuse(layout: &Layout) -> Option<Reuse> {
    let of_array = |array| ReusedShards {
        split: 0,
        array,
        shards: 0..1,
    };
    (layout.shards(0) > 0).then(|| Reuse {
        location: Location::parse("s3://bucket/é \"old\"").unwrap(),
        plan_digest: blake3::hash(b"earlier").to_string(),
        sources: vec![Some(3), None, Some(0)],
        shards: vec![of_array(1), of_array(3)],
    })
}

/// A plan with everything that a plan can have.
pub(in crate::job) fn synthetic(train: &[Row], val: &[Row]) -> FinishedPlan {
    let config = config();
    let sources = [
        "gs://bucket/é a",
        "precomputed://./em\"",
        "zarr://https://host:8080/x",
        "seg",
    ];
    let (sources, facts) = sources
        .iter()
        .enumerate()
        .map(|(i, s)| source(i, s))
        .unzip();
    let array = |name: &str, source_of_group: [usize; 2]| PlannedArray {
        name: name.to_owned(),
        window: config.arrays[name].window.unwrap_or(config.window),
        source_of_group: source_of_group.to_vec(),
        objects: None,
    };
    let group = |nm| PlannedGroup {
        resolution: Resolution::new(nm).unwrap(),
    };
    let fractions = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| row.group);
        let of_array = |i: usize| {
            rows.iter()
                .map(|r| if i == 0 { 1.0 } else { r.fraction })
                .collect()
        };
        (0..5).map(of_array).collect::<Vec<Vec<f32>>>()
    };
    let splits = vec![split("train", 0, train), split("val", 1, val)];
    let counts = SampleObjects::count(splits.iter().map(|split| &split.objects[3]));
    let table = Plan {
        boxes: boxes([train, val]),
        splits,
        arrays: vec![
            array("img", [0, 1]),
            array("wide", [2, 2]),
            array("cell", [3, 3]),
            PlannedArray {
                objects: Some(counts),
                ..array("cells", [3, 3])
            },
            array("some", [3, 3]),
        ],
        sources,
        groups: vec![group([4.6, 0.1, 1e-7]), group([4.6, 0.1, 3e-7])],
        has_ends: true,
        properties: properties(),
        layers_outside_boxes: vec!["  a layer\nof \"lines\"".to_owned()],
        dropped: Vec::new(),
        warnings: vec!["a warning: é".to_owned(), String::new()],
        draft_digest: blake3::hash(b"draft"),
        config: config.clone(),
    };
    let padding = Padding::new(vec![fractions(train), fractions(val)]);
    let layout = layout(&config, [train.len(), val.len()]);
    let collection = "https://host/collection?token=secret";
    let shards = layout.all_shards().count() as u64;
    let tasks = Tasks::from_ends(vec![0, shards / 2, shards], shards).unwrap();
    let reuse = reuse(&layout);
    FinishedPlan::new(table, facts, padding, layout, tasks, reuse, collection).unwrap()
}

pub(in crate::job) fn some_rows(n: u64) -> Vec<Row> {
    let row = |i: u64| Row {
        id: u64::MAX - i,
        center: [(-0.0f64).to_bits(), 1 + i, (0.1 * i as f64).to_bits()],
        start: [-(1 << 52), 1 << 52, i as i64],
        group: i % 2 == 1,
        fraction: (1.0f32 / (1 + i) as f32).min(1.0f32.next_down()),
    };
    (0..n).map(row).collect()
}

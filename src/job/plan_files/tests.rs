use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::data_type::{DataType, Scalar};
use crate::dataset::{ArrayLayout, Codec, CodecChoice, CodecTrial, Layout, to_checksummed};
use crate::geometry::{PointNm, Resolution, SourceTransform};
use crate::job::Job;
use crate::plan::{
    DropReason, Padding, Plan, PlannedArray, PlannedBox, PlannedGroup, PlannedSplit, Sample,
    SourceFacts, VolumeSource,
};
use crate::points::{PropertyKind, PropertySpec};
use crate::storage::{Location, SourceUrl, Storage};

/// What the samples of a synthetic plan are made from.
#[derive(Clone, Debug)]
pub(in crate::job) struct Row {
    id: u64,
    center: [u64; 3],
    start: [i64; 3],
    group: bool,
    fraction: f32,
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
        "points": {"csv": {"file": points, "unit": "um", "start": ["a", "b", "c"], "end": ["d", "e", "f"],
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
    };
    let array = |name: &str, data_type: DataType, fill_value: &[u8], codec| ArrayLayout {
        name: name.to_owned(),
        data_type,
        channels: 2,
        window: config.arrays[name].window.unwrap_or(config.window),
        fill_value: Scalar::from_le_bytes(fill_value).unwrap(),
        codec,
    };
    let stated = |name: &str| Codec::stated(&config.arrays[name].codec).unwrap().into();
    let arrays = vec![
        array("img", DataType::Float64, &(-0.0f64).to_le_bytes(), auto),
        array(
            "wide",
            DataType::Float32,
            &f32::NAN.to_le_bytes(),
            Codec::default().into(),
        ),
        array("cell", DataType::UInt8, &[0], stated("cell")),
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
    let objects: Vec<u64> = rows.iter().map(|row| !row.id).collect();
    let values = |spec: &PropertySpec| -> Vec<u8> {
        let bytes = rows.iter().flat_map(|row| row.center.map(u64::to_le_bytes));
        let bytes = bytes.flatten().enumerate();
        let of_row = |i: &usize| i % 24 < spec.kind.value_bytes();
        bytes.filter(|(i, _)| of_row(i)).map(|(_, b)| b).collect()
    };
    PlannedSplit {
        name: name.to_owned(),
        samples: rows.iter().map(sample).collect(),
        objects: vec![Vec::new(), Vec::new(), objects, Vec::new()],
        ends: Vec::new(),
        properties: properties().iter().map(values).collect(),
    }
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
        (0..4).map(of_array).collect::<Vec<Vec<f32>>>()
    };
    let table = Plan {
        boxes: boxes([train, val]),
        splits: vec![split("train", 0, train), split("val", 1, val)],
        arrays: vec![
            array("img", [0, 1]),
            array("wide", [2, 2]),
            array("cell", [3, 3]),
            array("some", [3, 3]),
        ],
        sources,
        groups: vec![group([4.6, 0.1, 1e-7]), group([4.6, 0.1, 3e-7])],
        properties: properties(),
        layers_outside_boxes: vec!["  a layer\nof \"lines\"".to_owned()],
        warnings: vec!["a warning: é".to_owned(), String::new()],
        draft_digest: blake3::hash(b"draft"),
        config: config.clone(),
    };
    let padding = Padding::new(vec![fractions(train), fractions(val)]);
    let layout = layout(&config, [train.len(), val.len()]);
    let collection = "https://host/collection?token=secret";
    let mut plan = FinishedPlan::new(table, facts, padding, layout, collection).unwrap();
    plan.tasks = 7;
    plan
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

/// Writes the plan's columns to a folder, and returns the header.
fn write_to(folder: &Path, plan: &FinishedPlan) -> PlanHeader {
    write(plan, |key, bytes| {
        let path = folder.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        Ok::<(), DatasetError>(())
    })
    .unwrap()
}

fn read_from(folder: &Path, header: &PlanHeader) -> Result<FinishedPlan, DatasetError> {
    let store = Storage::default().open(&Location::Local(folder.to_owned()));
    read(header, store.as_ref())
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    crate::support::tree(folder).into_iter().collect()
}

/// Writes and reads the plan; both must be equal bit by bit.
fn assert_round_trip(plan: &FinishedPlan) {
    let [first, second] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let header = write_to(first.path(), plan);
    let bytes = to_checksummed(&header).unwrap();
    let parsed = PlanHeader::parse(&bytes).unwrap();
    assert_eq!(parsed.layout().unwrap(), plan.layout);
    assert_eq!(parsed.plan_digest(), plan.digest().to_string());
    assert_eq!(parsed.tasks(), plan.tasks);
    let found = read_from(first.path(), &parsed).unwrap();
    let has_nan = |plan: &FinishedPlan| format!("{:?}", plan.table.splits).contains("NaN");
    assert!(found == *plan || has_nan(plan), "{found:?}, not {plan:?}");
    // -0.0 is equal to 0.0 and NaN to nothing, so that bytes are compared, too.
    let again = write_to(second.path(), &found);
    assert_eq!(to_checksummed(&again).unwrap(), bytes);
    assert!(files_of(first.path()) == files_of(second.path()));
}

fn any_row() -> impl Strategy<Value = Row> {
    let voxel = -(1i64 << 52)..=1 << 52;
    let center = prop::array::uniform3(any::<u64>());
    let parts = (any::<u64>(), center, prop::array::uniform3(voxel));
    (parts, any::<bool>(), 0.0f32..=1.0).prop_map(|((id, center, start), group, fraction)| Row {
        id,
        center,
        start,
        group,
        fraction,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_plan_is_equal_after_a_round_trip(
        train in prop::collection::vec(any_row(), 0..9), val in prop::collection::vec(any_row(), 0..3),
    ) {
        assert_round_trip(&synthetic(&train, &val));
    }
}

#[test]
fn plans_without_samples_are_equal_after_a_round_trip() {
    assert_round_trip(&synthetic(&[], &[]));
    assert_round_trip(&synthetic(&[], &some_rows(1)));
}

/// The finished plan of the demo's job.
fn demo_plan() -> FinishedPlan {
    let dir = tempfile::tempdir().unwrap();
    let config = crate::demo::write_collection(dir.path()).unwrap().config;
    let job = Job::prepare(&config, 1 << 30, &Storage::default()).unwrap();
    let facts = SourceFacts::of_all(&job.sources.volumes);
    let layout = job.sources.layout(&job.plan);
    FinishedPlan::new(job.plan, facts, job.padding, layout, &job.collection).unwrap()
}

#[test]
fn the_plan_of_the_demo_is_equal_after_a_round_trip() {
    let plan = demo_plan();
    assert!(plan.table.samples() > 20);
    assert_round_trip(&plan);
}

#[test]
fn secrets_are_not_stored_and_a_redacted_source_cannot_be_opened() {
    let mut plan = synthetic(&some_rows(2), &[]);
    let base = Location::Local("/data".into());
    plan.table.sources[0].url =
        SourceUrl::parse("precomputed://https://host/em?sig=secret", &base).unwrap();
    plan.table.warnings = vec!["cannot list https://host/em?sig=secret".to_owned()];
    let FinishedPlan {
        table,
        sources,
        padding,
        layout,
        ..
    } = plan;
    let plan =
        FinishedPlan::new(table, sources, padding, layout, "https://h/c?sig=secret").unwrap();
    assert_round_trip(&plan);
    let dir = tempfile::tempdir().unwrap();
    let header = write_to(dir.path(), &plan);
    let text = String::from_utf8(to_checksummed(&header).unwrap()).unwrap();
    assert!(
        !text.contains("secret") && text.contains("<redacted>"),
        "{text}"
    );
    let table = read_from(dir.path(), &header).unwrap().table;
    let error = crate::extract::Sources::open(&table, &Storage::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("https://host/em?<redacted>") && message.contains("CONFIG"),
        "{message}"
    );
}

/// A small plan in a folder.
fn stored() -> (TempDir, PlanHeader) {
    let dir = tempfile::tempdir().unwrap();
    let header = write_to(dir.path(), &synthetic(&some_rows(5), &some_rows(2)));
    (dir, header)
}

#[test]
fn a_damaged_or_missing_file_is_an_error_that_names_it() {
    let (dir, header) = stored();
    for file in header.files() {
        let path = dir.path().join(&file.path);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [
            Some(flipped),
            Some(good[..good.len() - 1].to_vec()),
            Some(Vec::new()),
            None,
        ] {
            match bad {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let message = read_from(dir.path(), &header).unwrap_err().to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
        fs::write(&path, good).unwrap();
    }
    read_from(dir.path(), &header).unwrap();
}

/// The header with a change to its JSON.
fn changed(header: &PlanHeader, change: impl Fn(&mut Value)) -> Result<PlanHeader, String> {
    let mut value = json!(header);
    change(&mut value);
    PlanHeader::parse(&to_checksummed(&value).unwrap())
}

#[test]
fn contents_that_disagree_are_errors_that_say_what() {
    let (dir, header) = stored();
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 22] = [
        (|v| v["schema_version"] = json!(99), "schema version 99"),
        (|v| v["tasks"] = json!(0), "`tasks` is 0"),
        (|v| v["tasks"] = json!(-1), "`-1`"),
        (|v| v["plan_digest"] = json!("ab"), "does not list it"),
        (|v| v["draft_digest"] = json!("ab"), "hexadecimal"),
        (|v| v["config"]["window"] = json!([0, 1, 1]), "window"),
        (
            |v| v["config"]["splits"] = json!({"../x": ["a"], "val": ["b"]}),
            "splits.../x",
        ),
        (|v| v["splits"][0]["name"] = json!("test"), "its splits are"),
        (|v| v["splits"][0]["samples"] = json!(6), "shape"),
        (|v| v["splits"][0]["samples"] = json!(1u64 << 62), "shape"),
        (|v| v["splits"][0]["shard_samples"] = json!(0), "per shard"),
        (
            |v| v["splits"][0]["shard_samples"] = json!(u64::MAX),
            "per shard",
        ),
        (
            |v| v["arrays"][0]["source_of_group"] = json!([0]),
            "layer groups",
        ),
        (
            |v| v["arrays"][0]["source_of_group"] = json!([0, 4]),
            "4 sources",
        ),
        (|v| v["arrays"][0]["channels"] = json!(0), "channels"),
        (|v| v["arrays"][0]["fill_value"] = json!([0]), "fill value"),
        (
            |v| v["arrays"][1]["padded_windows"] = json!([0, 0]),
            "padded windows",
        ),
        (
            |v| v["arrays"][1]["codec"] = json!({"name": "zstd", "level": 99}),
            "level",
        ),
        (|v| v["boxes"][1]["split"] = json!(2), "split"),
        (|v| v["boxes"][1]["samples"] = json!(99), "99 samples"),
        (|v| v["boxes"] = json!([]), "0 boxes"),
        (|v| v["properties"][0]["id"] = json!("../x"), "property"),
    ];
    for (i, (change, expected)) in changes.into_iter().enumerate() {
        let result = changed(&header, change)
            .and_then(|header| read_from(dir.path(), &header).map_err(|e| e.to_string()));
        let message = result.map(drop).unwrap_err();
        assert!(message.contains(expected), "{i}: {message}");
    }
    let more = changed(&header, |v| {
        let mut file = v["files"][0].clone();
        file["path"] = json!(".pointshard/plan/more");
        v["files"].as_array_mut().unwrap().push(file);
    });
    let message = read_from(dir.path(), &more.unwrap())
        .unwrap_err()
        .to_string();
    assert!(message.contains("no column of the plan"), "{message}");
}

/// The header, with the sizes and digests of the files as they are.
fn with_new_digests(folder: &Path, header: &PlanHeader) -> PlanHeader {
    let mut value = json!(header);
    for file in value["files"].as_array_mut().unwrap() {
        let bytes = fs::read(folder.join(file["path"].as_str().unwrap())).unwrap();
        file["bytes"] = json!(bytes.len());
        file["blake3"] = json!(blake3::hash(&bytes).to_string());
    }
    serde_json::from_value(value).unwrap()
}

/// A file with the values of a column, in one chunk.
fn chunk(values: &[u8]) -> Vec<u8> {
    let mut bytes = zstd::bulk::compress(values, 1).unwrap();
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

#[test]
fn columns_with_values_out_of_range_are_errors_even_with_right_digests() {
    for (column, values, expected) in [
        ("box/c/0", 9u32.to_le_bytes().repeat(5), "found the box 9"),
        // A box of the other split.
        ("box/c/0", 3u32.to_le_bytes().repeat(5), "found the box 3"),
        ("box/c/0", 1u32.to_le_bytes().repeat(5), "do not follow"),
        (
            "start_voxel/c/0/0",
            i64::MIN.to_le_bytes().repeat(15),
            "either way",
        ),
        (
            "img_inside_fraction/c/0",
            f32::NAN.to_le_bytes().repeat(5),
            "fraction",
        ),
        (
            "img_inside_fraction/c/0",
            1.5f32.to_le_bytes().repeat(5),
            "fraction",
        ),
        (
            "img_inside_fraction/c/0",
            0.5f32.to_le_bytes().repeat(5),
            "padded windows",
        ),
        (
            "resolution_nm/c/0/0",
            4.6f64.to_le_bytes().repeat(15),
            "do not follow",
        ),
        (
            "wide_start_voxel/c/0/0",
            4i64.to_le_bytes().repeat(15),
            "do not follow",
        ),
        (
            "annotation_id/c/0",
            7u64.to_le_bytes().repeat(5),
            "the digest of the plan is",
        ),
        ("annotation_id/c/0", 7u64.to_le_bytes().repeat(4), "bytes"),
        ("cell_object_id/c/0", 7u64.to_le_bytes().repeat(6), "bytes"),
    ] {
        let (dir, header) = stored();
        let ends = format!("/train/{column}");
        let file = header
            .files()
            .iter()
            .find(|f| f.path.ends_with(&ends))
            .unwrap();
        fs::write(dir.path().join(&file.path), chunk(&values)).unwrap();
        let header = with_new_digests(dir.path(), &header);
        let message = read_from(dir.path(), &header).unwrap_err().to_string();
        assert!(message.contains(expected), "{column}: {message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Bytes of the header are changed, without its checksum.
    #[test]
    fn a_header_of_any_bytes_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0usize..40) {
        thread_local!(static STORED: (TempDir, PlanHeader) = stored());
        STORED.with(|(dir, header)| {
            let mut bytes = serde_json::to_vec(header).unwrap();
            let at = at.index(bytes.len());
            if cut < 20 {
                bytes.drain(at..(at + cut).min(bytes.len()));
            } else {
                bytes[at] = byte;
            }
            if let Ok(header) = serde_json::from_slice::<PlanHeader>(&bytes) {
                let _ = (header.layout(), read_from(dir.path(), &header).map(drop));
            }
        });
    }

    /// Bytes of a column are changed, and its digest is right.
    #[test]
    fn columns_of_any_bytes_never_panic(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), with_crc in any::<bool>(),
    ) {
        thread_local!(static STORED: (TempDir, PlanHeader) = stored());
        STORED.with(|(dir, header)| {
            let file = &header.files()[file.index(header.files().len())];
            let path = dir.path().join(&file.path);
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            let at = at.index(bad.len());
            bad[at] = byte;
            if with_crc && bad.len() > 4 {
                bad.truncate(bad.len() - 4);
                bad.extend(crc32c::crc32c(&bad).to_le_bytes());
            }
            fs::write(&path, bad).unwrap();
            let _ = read_from(dir.path(), &with_new_digests(dir.path(), header)).map(drop);
            fs::write(&path, good).unwrap();
        });
    }
}

#[test]
fn the_digest_depends_neither_on_tasks_nor_on_places() {
    let plan = synthetic(&some_rows(3), &some_rows(1));
    let digest = |change: fn(&mut FinishedPlan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan.digest()
    };
    let same: [fn(&mut FinishedPlan); 5] = [
        |p| p.tasks = 1,
        |p| p.collection.clear(),
        |p| p.table.sources[0].url.location = Location::Local("/elsewhere".into()),
        |p| p.sources[0].described.clear(),
        |p| p.table.warnings.clear(),
    ];
    for (i, change) in same.into_iter().enumerate() {
        assert_eq!(digest(change), plan.digest(), "{i}");
    }
    let different: [fn(&mut FinishedPlan); 12] = [
        |p| p.sources[0].metadata_digest = blake3::hash(b"other"),
        |p| p.table.sources[0].url.format = Some("n5".to_owned()),
        |p| p.table.sources[0].layer.voxel_offset = None,
        |p| p.table.sources[0].resolution = Resolution::new([1.0; 3]).unwrap(),
        |p| p.layout.arrays[0].codec = Codec::default().into(),
        |p| p.layout.arrays[0].fill_value = Scalar::ZERO,
        |p| p.layout.splits[0].shard_samples = 1,
        |p| p.table.arrays[0].source_of_group = vec![1, 0],
        |p| p.table.splits[0].samples[0].annotation_id ^= 1,
        |p| p.table.splits[0].objects[2][0] ^= 1,
        |p| p.table.splits[0].properties[0][0] ^= 1,
        |p| p.table.boxes[0].tags.clear(),
    ];
    for (i, change) in different.into_iter().enumerate() {
        assert_ne!(digest(change), plan.digest(), "{i}");
    }
}

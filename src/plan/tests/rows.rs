//! Which annotations of real data become samples, compared with independent brute-force searches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::fault::{Fault, FaultKind};
use crate::job::JobError;
use crate::plan::leaks::report::LeakReport;
use crate::plan::{DropReason, Plan, PlanError};
use crate::support::{prepare, read_json, shared_data, vnc_config};
use serde_json::{Value, json};

/// Ids of the plan's samples, by box.
fn ids(plan: &Plan) -> BTreeSet<(u32, u64)> {
    let samples = plan.splits.iter().flat_map(|s| &s.samples);
    samples.map(|s| (s.box_index, s.annotation_id)).collect()
}

fn choosing(data: &Path, choose: Value) -> Value {
    let mut config = vnc_config(data);
    config["points"]["choose"] = choose;
    config
}

#[test]
fn filters_by_value_and_by_label_keep_the_matching_rows() {
    let Some(data) = shared_data() else { return };
    let all = ids(&prepare(&vnc_config(&data)).unwrap().plan);
    let rows = rows(&data);
    let choose =
        json!({"filter": {"kind": {"in": ["large", "small"]}, "size": {"min": 500, "max": 5000}}});
    let plan = prepare(&choosing(&data, choose)).unwrap().plan;
    let fits = |id: &u64| {
        let (kind, size) = (
            &rows[id]["props"]["kind"],
            rows[id]["props"]["size"].as_u64().unwrap(),
        );
        (*kind == json!(0) || *kind == json!(2)) && (500..=5000).contains(&size)
    };
    let expected: BTreeSet<_> = all.iter().filter(|(_, id)| fits(id)).copied().collect();
    assert!(!expected.is_empty() && expected.len() < all.len());
    assert_eq!(ids(&plan), expected);
    let dropped: u64 = plan
        .boxes
        .iter()
        .filter_map(|b| b.dropped.get(&DropReason::Filter))
        .sum();
    assert_eq!(dropped as usize, all.len() - expected.len());
}

/// Plans a job on the annotation layer `layer` with the objects `related`. Writes its collection to `folder`.
fn plan_related(data: &Path, folder: &Path, layer: &str, related: Value) -> Result<Plan, JobError> {
    let mut config = choosing(data, json!({ "related": related }));
    let mut collection = collection(data);
    for row in collection["layers"].as_array_mut().unwrap() {
        if row["name"] == "points" {
            let source = format!("precomputed://file://{}", data.join(layer).display());
            row["source"] = json!(source);
        }
    }
    let file = folder.join("collection.json");
    std::fs::write(&file, collection.to_string()).unwrap();
    config["collection"] = json!(file);
    prepare(&config).map(|job| job.plan)
}

#[test]
fn related_objects_keep_the_matching_rows_with_the_index_of_any_writer() {
    let Some(data) = shared_data() else { return };
    let rows = rows(&data);
    // Every second object of each relationship.
    let cells = |name: &str| -> Vec<u64> {
        let all: BTreeSet<u64> = rows.values().flat_map(|row| objects(row, name)).collect();
        all.into_iter().step_by(2).collect()
    };
    let (pre, post) = (cells("presyn_cell"), cells("postsyn_cell"));
    let is_related = |row: &Value, name: &str, cells: &[u64]| {
        objects(row, name).iter().any(|o| cells.contains(o))
    };
    let usual = ["presyn_cell", "postsyn_cell"];
    for (layer, [pre_name, post_name]) in [
        ("vnc/points", usual),
        ("vnc/lines", usual),
        ("annotations/points_sharded_raw", usual),
        ("annotations/lines_multilevel", usual),
        (
            "annotations/zetta_points_multilevel",
            ["Presyn Cell", "Postsyn Cell"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let plan = |related: Value| plan_related(&data, folder.path(), layer, related);
        let all = ids(&plan(json!({})).unwrap());
        let matching = |fits: &dyn Fn(&Value) -> bool| -> BTreeSet<_> {
            let ids = all.iter().filter(|(_, id)| fits(&rows[id]));
            ids.copied().collect()
        };
        let of_pre = matching(&|row| is_related(row, "presyn_cell", &pre));
        assert!(!of_pre.is_empty() && of_pre.len() < all.len(), "{layer}");
        let found = ids(&plan(json!({ pre_name: pre })).unwrap());
        assert_eq!(found, of_pre, "{layer}");
        let of_both = matching(&|row| {
            is_related(row, "presyn_cell", &pre) && is_related(row, "postsyn_cell", &post)
        });
        let found = ids(&plan(json!({ pre_name: pre, post_name: post })).unwrap());
        assert_eq!(found, of_both, "{layer}");
        let e = plan(json!({"cell": [1]})).unwrap_err();
        assert_eq!(e.kind(), FaultKind::Usage);
        let e = std::error::Error::source(&e).unwrap().to_string();
        assert!(
            e.contains("`points.choose.related.cell`") && e.contains(pre_name),
            "{e}"
        );
    }
}

/// The true annotations by id.
fn rows(data: &Path) -> BTreeMap<u64, Value> {
    let rows = read_json(&data.join("annotations/rows.json"));
    let rows = rows["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_u64().unwrap(), row.clone()))
        .collect()
}

fn objects(row: &Value, name: &str) -> Vec<u64> {
    let list = row["rels"][name].as_array().unwrap();
    list.iter().map(|v| v.as_u64().unwrap()).collect()
}

/// The collection of `vnc` with absolute sources.
fn collection(data: &Path) -> Value {
    let mut collection = read_json(&data.join("vnc/collection.json"));
    for row in collection["layers"].as_array_mut().unwrap() {
        let source = row["source"].as_str().unwrap().replace("file://./", "");
        let (scheme, name) = source.split_once("://").unwrap_or(("precomputed", &source));
        row["source"] = json!(format!(
            "{scheme}://file://{}",
            data.join("vnc").join(name).display()
        ));
    }
    collection
}

/// A config with the val box 4 moved onto the west box and the middle box. Writes its collection to `folder`.
fn config_with_overlapping_boxes(data: &Path, folder: &Path) -> Value {
    let file = folder.join("collection.json");
    let mut moved = collection(data);
    moved["annotations"][4]["pointA"] = json!([14000.0, 10500.0, 4500.0]);
    moved["annotations"][4]["pointB"] = json!([15300.0, 12500.0, 5200.0]);
    std::fs::write(&file, moved.to_string()).unwrap();
    let mut config = vnc_config(data);
    config["collection"] = json!(file);
    config["arrays"]["label0"]["window"] = json!([40, 20, 4]);
    config
}

/// The ids of all pairs of samples of the first two splits whose windows share voxels.
fn sharing_pairs(plan: &Plan) -> Vec<(u64, u64)> {
    let mut pairs = Vec::new();
    for a in &plan.splits[0].samples {
        for b in &plan.splits[1].samples {
            let window = |i, s| plan.window_of(i, s);
            let shared = |i| window(i, a).intersection(&window(i, b)).is_some();
            if (0..3).any(shared) {
                pairs.push((a.annotation_id, b.annotation_id));
            }
        }
    }
    pairs
}

#[test]
fn overlapping_boxes_of_two_splits_leak_exactly_the_pairs_that_share_voxels() {
    let Some(data) = shared_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = config_with_overlapping_boxes(&data, folder.path());
    let planned = |leaks: Value| {
        let mut config = config.clone();
        config["leaks"] = leaks;
        prepare(&config).map(|job| job.plan)
    };
    let allowed = planned(json!("allow")).unwrap();
    let pairs = sharing_pairs(&allowed);
    assert!(pairs.len() > 3, "{pairs:?}");
    let all = allowed.splits[0].samples.len() * allowed.splits[1].samples.len();
    assert!(pairs.len() < all);
    let report: LeakReport = match planned(json!("error")) {
        Err(JobError::Plan(PlanError::Leaks { report, .. })) => report,
        other => panic!("{other:?}"),
    };
    let [leak] = &report.between[..] else {
        panic!()
    };
    assert_eq!(leak.pairs as usize, pairs.len());
    for example in &leak.examples {
        let [a, b] = &example.samples;
        assert!(pairs.contains(&(a.annotation_id, b.annotation_id)));
    }
    let warned = planned(json!("warn")).unwrap();
    assert!(
        warned.warnings.contains(&report.to_string()),
        "{:?}",
        warned.warnings
    );
    let dropped = planned(json!({"drop_from": "train"})).unwrap();
    let leaking: BTreeSet<u64> = pairs.iter().map(|(a, _)| *a).collect();
    let of_train = |plan: &Plan| -> Vec<u64> {
        let samples = plan.splits[0].samples.iter();
        samples.map(|s| s.annotation_id).collect()
    };
    let mut kept = of_train(&allowed);
    kept.retain(|id| !leaking.contains(id));
    assert_eq!(of_train(&dropped), kept);
    assert_eq!(
        ids(&dropped).len(),
        kept.len() + allowed.splits[1].samples.len()
    );
}

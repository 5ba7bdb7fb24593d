//! The demo's collection, in the format of zetta_utils' web API, and its config.

use serde_json::{Value, json};

use super::boxes::DemoBox;
use super::noise::hash;
use super::report::LayerReport;
use super::volume_shape::{RESOLUTION_NM, WINDOW};

const COLLECTION: &str = "demo_synapses";
const GROUP: &str = "demo_synapses:neuropil";
/// An invented time, in seconds since 1970.
const CREATED_AT: f64 = 1764000000.25;

/// `collection.json`: collections, layer groups, layers and boxes.
pub(super) fn collection(layers: &[LayerReport], boxes: &[DemoBox]) -> Value {
    let layer_ids: Vec<_> = layers.iter().map(|l| uuid(l.name)).collect();
    let layers: Vec<_> = layers
        .iter()
        .map(|l| {
            json!({
                "id": uuid(l.name),
                "name": l.name,
                "source": format!("precomputed://file://./{}", l.name),
            })
        })
        .collect();
    let boxes: Vec<_> = boxes.iter().enumerate().map(annotation).collect();
    json!({
        "collections": [{
            "id": COLLECTION,
            "name": COLLECTION,
            "created_by": "pointshard demo",
            "created_at": CREATED_AT,
            "name_lowercase": COLLECTION,
            "modified_by": "pointshard demo",
            "modified_at": CREATED_AT,
            "comment": "synthetic neuropil",
        }],
        "layer_groups": [{
            "id": GROUP,
            "name": "neuropil",
            "collection": COLLECTION,
            "layers": layer_ids,
            "created_by": "pointshard demo",
            "modified_by": null,
            "comment": null,
        }],
        "layers": layers,
        "annotations": boxes,
    })
}

fn annotation((i, one): (usize, &DemoBox)) -> Value {
    json!({
        "type": "axis_aligned_bounding_box",
        "pointA": one.corners_nm[0],
        "pointB": one.corners_nm[1],
        "id": uuid(one.what),
        "layer_group": GROUP,
        "collection": COLLECTION,
        "comment": one.what,
        "tags": [one.split],
        "selected_segments": {},
        "created_at": CREATED_AT + i as f64,
        "modified_at": null,
    })
}

/// `config.json`: cuts a window of the image and of both labels around every point.
pub(super) fn config() -> Value {
    json!({
        "collection": "collection.json",
        "resolution": RESOLUTION_NM,
        "window": WINDOW,
        "points": {"layer": "points"},
        "arrays": {
            "img": {"layer": "img"},
            "target_label0": {"layer": "label0"},
            "target_label1": {"layer": "label1"},
        },
        "splits": {"train": ["train"], "val": ["val"]},
        "leaks": "error",
    })
}

/// An id in the form of the web API's ids, always the same for the same name.
fn uuid(name: &str) -> String {
    let bytes = name.bytes();
    let high = bytes.fold(0x0064_656d_6f00, |state, byte| {
        hash(state ^ u64::from(byte))
    });
    let low = hash(high);
    format!(
        "{:08x}-{:04x}-5{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff,
    )
}

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::config::LayerConfig;
use crate::geometry::PointNm;
use crate::storage::{Location, SourceUrl};

fn config(points: Value) -> Config {
    let config = json!({
        "collection": "collection.json", "resolution": [4, 4, 40], "window": [8, 8, 4], "points": points,
        "arrays": {"img": {"layer": "img"}}, "splits": {"train": ["train"]},
    });
    Config::parse(config.to_string().as_bytes(), Path::new("config.json")).unwrap()
}

fn table(unit: &str) -> Value {
    json!({"table": {"file": "points.csv", "unit": unit, "point": ["x", "y", "z"]}})
}

fn a_box(min: [f64; 3], max: [f64; 3]) -> BoxNm {
    BoxNm::from_corners(PointNm(min), PointNm(max)).unwrap()
}

fn message_of(config: &Config, source: &str, start: [i64; 3], windows: Vec<BoxNm>) -> String {
    let resolution = config.resolution;
    let bounds = VoxelBox {
        start,
        end: start.map(|v| v + 1000),
    };
    let source = VolumeSource {
        url: SourceUrl::parse(source, &Location::Local("/data".into())).unwrap(),
        layer: LayerConfig::default(),
        resolution,
        roots: None,
    };
    let windows = WindowsOfLayer {
        count: windows.len() as u64,
        windows: windows
            .into_iter()
            .map(|covers| CenteredWindow {
                center: PointNm(covers.min()).midpoint(&PointNm(covers.max())),
                covers,
            })
            .collect(),
        boxes: vec!["b0", "b1", "b2", "b3"],
        overlap_others: false,
    };
    let displaced = DisplacedLayer::new(
        config,
        ("img", &source),
        (&bounds, &resolution),
        &windows,
        &[],
    );
    DisplacedLayers(vec![displaced.unwrap()]).to_string()
}

#[test]
fn a_message_has_both_positions_in_nm_and_voxels_and_the_correction() {
    let um = a_box([100.1, 200.2, 1400.4], [103.0, 203.0, 1440.0]);
    let message = message_of(
        &config(table("nm")),
        "precomputed://file:///img",
        [25_000, 50_000, 35_000],
        vec![um],
    );
    for text in [
        "none of the 1 window(s) for the layer `img` overlaps it",
        "(100000, 200000, 1400000) to (104000, 204000, 1440000) nm",
        "voxels (25000, 50000, 35000) to (26000, 51000, 36000) of 4 x 4 x 40 nm, in /img",
        "(100.1, 200.2, 1400.4) to (103, 203, 1440) nm, voxels (25, 50, 35) to (26, 51, 36) of 4 x 4 x 40 nm",
        "the boxes \"b0\", \"b1\", \"b2\" and 1 more",
        "multiplied by 1,000",
        "um, read as nm",
        "`points.table.unit`",
    ] {
        assert!(message.contains(text), "{text}: {message}");
    }
}

#[test]
fn the_config_key_depends_on_the_format_and_on_the_source_of_points() {
    let far = vec![a_box([4.1e6, 4.1e6, 4.1e7], [4.103e6, 4.103e6, 4.103e7])];
    let missing = |source| message_of(&config(table("nm")), source, [0; 3], far.clone());
    let zarr = missing("zarr://file:///img");
    assert!(
        zarr.contains("`layers.img.voxel_offset` in the config"),
        "{zarr}"
    );
    let precomputed = missing("precomputed://file:///img");
    assert!(
        precomputed.contains("`voxel_offset` in the layer's info"),
        "{precomputed}"
    );
    assert!(!precomputed.contains("layers.img"), "{precomputed}");
    let either = missing("/img");
    assert!(
        either.contains("`layers.img.voxel_offset`") && either.contains("info"),
        "{either}"
    );
    let turned = vec![a_box([36_000.0, 2e4, 5e3], [39_000.0, 2.1e4, 6e3])];
    let of = |points| message_of(&config(points), "/img", [1250, 5000, 900], turned.clone());
    let csv = of(table("nm"));
    assert!(
        csv.contains("z, y, x") && csv.contains("`points.table.point`"),
        "{csv}"
    );
    let layer = of(json!({"layer": "synapses"}));
    assert!(
        layer.contains("`dimensions` of the annotation layer `synapses`"),
        "{layer}"
    );
}

#[test]
fn without_a_matching_mistake_no_cause_is_suggested() {
    let message = message_of(
        &config(table("nm")),
        "/img",
        [10, 20, 30],
        vec![a_box([7.7e8, -3.1e7, 5.0], [7.8e8, -3.0e7, 9.0])],
    );
    assert!(!message.contains("likely"), "{message}");
}

#[test]
fn every_displaced_layer_has_its_own_lines() {
    let of = |name: &str| DisplacedLayer {
        layer: name.to_owned(),
        location: "/data".into(),
        bounds: PrintedBox::new(
            a_box([0.0; 3], [1.0; 3]),
            Resolution::new([1.0; 3]).unwrap(),
        ),
        windows: 3,
        window_bounds: PrintedBox::new(
            a_box([0.0; 3], [1.0; 3]),
            Resolution::new([1.0; 3]).unwrap(),
        ),
        boxes: vec!["\"b\"".into()],
        likely_cause: None,
    };
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let text = DisplacedLayers(names.map(of).to_vec()).to_string();
    assert_eq!(text.matches("none of the 3 window(s)").count(), 5, "{text}");
    assert!(text.ends_with("and 2 more layer(s)"), "{text}");
}

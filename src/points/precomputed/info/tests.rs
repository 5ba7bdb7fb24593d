use serde_json::json;

use super::*;

fn info(change: impl FnOnce(&mut Value)) -> Result<AnnotationInfo, String> {
    let mut info = json!({
        "@type": TYPE,
        "dimensions": {"x": [4.6e-09, "m"], "y": [4.6e-09, "m"], "z": [4.5e-08, "m"]},
        "lower_bound": [0, 0, 0], "upper_bound": [100, 100, 20],
        "annotation_type": "point",
        "properties": [],
        "spatial": [{"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": [100, 100, 20], "limit": 1}],
    });
    change(&mut info);
    AnnotationInfo::parse(&info, "layer/info", None).map_err(|e| e.to_string())
}

fn axes_and_units(info: &AnnotationInfo) -> ([usize; 3], [f64; 3]) {
    (
        info.placed.map(|a| a.dimension),
        info.placed.map(|a| a.unit_nm),
    )
}

#[test]
fn dimensions_keep_the_order_of_the_file_and_are_found_by_name() {
    let text = r#"{"dimensions": {"z": [45, "nm"], "y": [0.0046, "um"], "x": [4.6e-9, "m"]},
        "lower_bound": [0, 0, 0], "upper_bound": [9, 9, 9], "annotation_type": "LINE",
        "spatial": [{"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": [9, 9, 9]}]}"#;
    let info = AnnotationInfo::parse(&serde_json::from_str(text).unwrap(), "info", None).unwrap();
    assert_eq!(axes_and_units(&info), ([2, 1, 0], [4.6, 4.6, 45.0]));
}

#[test]
fn three_dimensions_with_other_names_are_used_in_order() {
    let named = |dimensions: Value| info(|i| i["dimensions"] = dimensions).unwrap();
    let i = named(json!({"d0": [1, "nm"], "d1": [2, "nm"], "d2": [3, "nm"]}));
    assert_eq!(axes_and_units(&i), ([0, 1, 2], [1.0, 2.0, 3.0]));
    let i = named(json!({"section": [3, "nm"], "x": [1, "nm"], "y": [2, "nm"]}));
    assert_eq!(axes_and_units(&i), ([1, 2, 0], [1.0, 2.0, 3.0]));
}

#[test]
fn a_fourth_dimension_may_have_one_position() {
    let four = |until: f64| {
        info(|i| {
            i["dimensions"]["t"] = json!([1, "s"]);
            i["lower_bound"] = json!([0, 0, 0, 0]);
            i["upper_bound"] = json!([100, 100, 20, until]);
            i["spatial"][0]["grid_shape"] = json!([1, 1, 1, 1]);
            i["spatial"][0]["chunk_size"] = json!([100, 100, 20, 1]);
        })
    };
    assert_eq!(four(1.0).unwrap().rank, 4);
    let e = four(5.0).unwrap_err();
    assert!(
        e.contains("`dimensions.t`") && e.contains("from 0 to 5"),
        "{e}"
    );
}

#[test]
fn a_unit_that_is_not_a_length_is_an_error_that_names_it() {
    for unit in ["s", "", "Hz", "px"] {
        let e = info(|i| i["dimensions"]["y"] = json!([1, unit])).unwrap_err();
        assert!(
            e.contains("layer/info: `dimensions.y` is [1.0, ") && e.contains(unit),
            "{e}"
        );
    }
    assert!(info(|i| i["dimensions"]["y"] = json!([0, "m"])).is_err());
    assert!(info(|i| i["dimensions"]["y"] = json!([-1, "m"])).is_err());
}

#[test]
fn fewer_than_three_dimensions_are_an_error() {
    let e = info(|i| {
        i["dimensions"] = json!({"x": [1, "nm"], "y": [1, "nm"]});
        i["lower_bound"] = json!([0, 0]);
        i["upper_bound"] = json!([1, 1]);
    });
    assert!(e.unwrap_err().contains("3 to 16"));
}

#[test]
fn annotation_types_ignore_case_and_unknown_ones_are_errors() {
    for (name, kind) in [
        ("POINT", GeometryKind::Point),
        ("Line", GeometryKind::Line),
        ("axis_aligned_bounding_box", GeometryKind::Box),
        ("ellipsoid", GeometryKind::Ellipsoid),
        ("POLYLINE", GeometryKind::Polyline),
    ] {
        assert_eq!(
            info(|i| i["annotation_type"] = json!(name)).unwrap().kind,
            kind
        );
    }
    let e = info(|i| i["annotation_type"] = json!("MESH")).unwrap_err();
    assert!(e.contains("\"MESH\"") && e.contains("ELLIPSOID"), "{e}");
}

#[test]
fn another_kind_of_info_is_an_error_that_names_it() {
    let e = info(|i| i["@type"] = json!("neuroglancer_multiscale_volume")).unwrap_err();
    assert!(
        e.contains("`@type` is \"neuroglancer_multiscale_volume\""),
        "{e}"
    );
}

#[test]
fn the_info_of_a_volume_without_a_type_is_an_error_too() {
    let volume = json!({"type": "image", "data_type": "uint8", "num_channels": 1, "scales": []});
    let e = AnnotationInfo::parse(&volume, "layer/info", None)
        .unwrap_err()
        .to_string();
    for words in ["layer/info", "a volume", "`points.layer`", TYPE] {
        assert!(e.contains(words), "{e}");
    }
}

#[test]
fn ids_of_sharded_cells_use_the_declared_shape_if_it_is_valid() {
    let ids = |declared: Value| {
        let info = info(|i| {
            i["spatial"][0]["grid_shape"] = declared;
            i["spatial"][0]["sharding"] = json!({
                "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 0, "hash": "identity",
                "minishard_bits": 0, "shard_bits": 0,
            });
        });
        let level = info.unwrap().levels.remove(0);
        (level.sharding.unwrap().1, level.grid.shape())
    };
    let (grid, _) = ids(json!([7, 1, 1]));
    assert_eq!(grid, MortonGrid::new(&[7, 1, 1]).unwrap());
    let (grid, corrected) = ids(json!([0, 1.5, -3]));
    assert_eq!(grid, MortonGrid::new(&corrected).unwrap());
}

#[test]
fn a_key_is_relative_but_may_leave_the_folder() {
    assert_eq!(
        info(|i| i["spatial"][0]["key"] = json!("../s/0"))
            .unwrap()
            .levels[0]
            .key,
        "../s/0"
    );
    for key in ["/etc", "gs://bucket/s0", ""] {
        let e = info(|i| i["spatial"][0]["key"] = json!(key)).unwrap_err();
        assert!(e.contains("`spatial[0].key`"), "{e}");
    }
}

#[test]
fn lists_of_the_wrong_length_are_errors() {
    let e = info(|i| i["lower_bound"] = json!([0, 0])).unwrap_err();
    assert!(
        e.contains("`lower_bound` is a list of 2 numbers; expected 3"),
        "{e}"
    );
    assert!(info(|i| i["spatial"][0]["chunk_size"] = json!([1, 1, 1, 1])).is_err());
    assert!(info(|i| i["spatial"] = json!([])).is_err());
}

#[test]
fn a_wrong_grid_shape_is_corrected_and_reported() {
    assert!(info(|_| ()).unwrap().warnings.is_empty());
    let i = info(|i| i["spatial"][0]["grid_shape"] = json!([0, 1, 1])).unwrap();
    assert!(
        i.warnings[0].contains("`spatial[0].grid_shape`"),
        "{:?}",
        i.warnings
    );
}

#[test]
fn invalid_properties_are_errors() {
    let with = |properties: Value| info(|i| i["properties"] = properties).unwrap_err();
    let e = with(json!([{"id": "a", "type": "uint64"}]));
    assert!(
        e.contains("`properties[0].type` is \"uint64\"") && e.contains("float32"),
        "{e}"
    );
    let e = with(json!([{"id": "a", "type": "uint8"}, {"id": "a", "type": "int8"}]));
    assert!(e.contains("`properties[1].id`"), "{e}");
    assert!(with(json!([{"id": "../a", "type": "uint8"}])).contains("properties[0].id"));
}

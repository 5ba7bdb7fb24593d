use super::*;
use crate::volume::zarr::ZarrVersion;
use crate::volume::zarr::node::NodeKind;

fn node(attributes: Value) -> Node {
    Node {
        object: "img.zarr/.zattrs".into(),
        attributes_object: "img.zarr/.zattrs".into(),
        version: ZarrVersion::V2,
        kind: NodeKind::Group,
        attributes: attributes.as_object().unwrap().clone(),
        digest: blake3::hash(b""),
    }
}

fn image(change: impl FnOnce(&mut Value)) -> Node {
    let axis = |name: &str| json!({"name": name, "type": "space", "unit": "micrometer"});
    let level = |path: &str, s: f64, t: f64| {
        json!({"path": path, "coordinateTransformations": [
            {"type": "scale", "scale": [1.0, 0.04, 0.004 * s, 0.004 * s]},
            {"type": "translation", "translation": [0.0, 0.4, t, 0.0]},
        ]})
    };
    let mut image = json!({
        "version": "0.4",
        "axes": [{"name": "c", "type": "channel"}, axis("z"), axis("y"), axis("x")],
        "datasets": [level("s0", 1.0, 0.0), level("a/s1", 2.0, 0.002)],
    });
    change(&mut image);
    node(json!({ "multiscales": [image] }))
}

fn nm(nm: [f64; 3]) -> Resolution {
    Resolution::new(nm).unwrap()
}

#[test]
fn a_level_is_found_by_its_resolution_in_any_unit_of_length() {
    let found = level(&image(|_| ()), &nm([8.0, 8.0, 40.0])).unwrap();
    assert_eq!(found.path, "a/s1");
    assert_eq!(found.axes, ["c", "z", "y", "x"]);
    // y: the centre of an averaged level is at 2 nm, inside voxel 0; z: at 400 nm of 40.
    assert_eq!(found.first_voxel, [0, 0, 10]);
    let e = level(&image(|_| ()), &nm([5.0, 5.0, 40.0])).unwrap_err();
    assert!(
        e.to_string().contains("[4.0, 4.0, 40.0], [8.0, 8.0, 40.0]"),
        "{e}"
    );
}

#[test]
fn transformations_of_the_image_are_applied_after_those_of_the_level() {
    let of_image = json!([
        {"type": "scale", "scale": [1, 10, 10, 10]},
        {"type": "translation", "translation": [0, 0, 0, 0.4]},
    ]);
    let node = image(|v| v["coordinateTransformations"] = of_image);
    let found = level(&node, &nm([40.0, 40.0, 400.0])).unwrap();
    assert_eq!(found.path, "s0");
    assert_eq!(found.first_voxel, [10, 0, 10]);
}

#[test]
fn version_0_5_has_its_metadata_under_ome() {
    let v4 = image(|_| ());
    let node =
        node(json!({"ome": {"version": "0.5", "multiscales": v4.attributes["multiscales"]}}));
    assert_eq!(level(&node, &nm([4.0, 4.0, 40.0])).unwrap().path, "s0");
}

#[test]
fn an_image_without_a_valid_position_is_an_error_with_the_field_and_what_was_expected() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 7] = [
        (
            |v| v["axes"][3]["unit"] = json!("second"),
            "axis x is Some(\"second\")",
        ),
        (
            |v| drop(v["axes"][1].as_object_mut().unwrap().remove("unit")),
            "axis z is None",
        ),
        (|v| v["axes"][3]["name"] = json!("w"), "no axis x"),
        (
            |v| v["datasets"][0]["coordinateTransformations"][0]["scale"][1] = json!(-1.0),
            "greater than 0",
        ),
        (
            |v| v["datasets"][0]["coordinateTransformations"][0]["scale"] = json!([1.0]),
            "scale has 1 values",
        ),
        (
            |v| v["datasets"][0]["coordinateTransformations"][0] = json!({"type": "affine"}),
            "affine",
        ),
        (|v| v["axes"] = json!(["c", "z", "y", "x"]), "this says 0.4"),
    ];
    for (change, word) in cases {
        let e = level(&image(change), &nm([4.0, 4.0, 40.0]))
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("img.zarr/.zattrs") && e.contains("multiscales[0]"),
            "{e}"
        );
        assert!(e.contains(word), "{word}: {e}");
    }
    let e = level(&node(json!({})), &nm([4.0; 3]))
        .unwrap_err()
        .to_string();
    assert!(e.contains("not an OME-Zarr image"), "{e}");
    let e = level(&node(json!({"multiscales": [{}, {}]})), &nm([4.0; 3])).unwrap_err();
    assert!(e.to_string().contains("found 2 images"), "{e}");
}

#[test]
fn a_cosem_image_has_a_transform_for_each_level_in_either_order() {
    let level = |path: &str, s: f64, order: &str| {
        let mut transform = json!({"axes": ["z", "y", "x"], "units": ["nm", "nm", "nm"], "order": order,
            "scale": [40.0, 4.0 * s, 4.0 * s], "translate": [400.0, 8.0 + 2.0 * s, 2.0 * s]});
        if order == "F" {
            for key in ["axes", "scale", "translate"] {
                transform[key].as_array_mut().unwrap().reverse();
            }
        }
        json!({"path": path, "transform": transform})
    };
    for order in ["C", "F"] {
        let datasets = [level("s0", 1.0, order), level("s1", 2.0, order)];
        let image = node(json!({"multiscales": [{"name": "", "datasets": datasets}]}));
        let found = super::level(&image, &nm([8.0, 8.0, 40.0])).unwrap();
        assert_eq!(found.path, "s1");
        assert_eq!(found.axes, ["z", "y", "x"]);
        assert_eq!(found.first_voxel, [0, 1, 10]);
    }
    let mixed = [level("s0", 1.0, "C"), json!({"path": "s1"})];
    let image = node(json!({"multiscales": [{"datasets": mixed}]}));
    let e = super::level(&image, &nm([8.0, 8.0, 40.0])).unwrap_err();
    assert!(e.to_string().contains("`coordinateTransformations`"), "{e}");
}

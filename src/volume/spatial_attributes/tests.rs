use super::*;
use serde_json::json;

/// The position of an array of 40 x 36 x 12 (x y z) with these attributes.
fn position(
    order: DimensionOrder,
    attributes: Value,
    layer: &LayerConfig,
) -> Result<ArrayPosition, VolumeError> {
    let (shape, names) = match order {
        DimensionOrder::C => ([12, 36, 40], ["z", "y", "x"]),
        DimensionOrder::F => ([40, 36, 12], ["x", "y", "z"]),
    };
    let Value::Object(attributes) = attributes else {
        panic!("an object")
    };
    let array = SpatialArray {
        own: AttributesDocument {
            object: "img/attributes.json",
            attributes: &attributes,
        },
        parent: None,
        order,
        shape: &shape,
    };
    array.position(layer, Vec::new(), Some(names.map(String::from).to_vec()))
}

fn layer(config: Value) -> LayerConfig {
    serde_json::from_value(config).unwrap()
}

#[test]
fn a_list_has_the_order_of_the_dimensions_in_both_formats() {
    let f = json!({"resolution": [4, 8, 40], "offset": [40, 160, -120]});
    let c = json!({"resolution": [40, 8, 4], "offset": [-120, 160, 40]});
    for (order, attributes) in [(DimensionOrder::F, f), (DimensionOrder::C, c)] {
        let position = position(order, attributes, &LayerConfig::default()).unwrap();
        assert_eq!(position.resolution.unwrap().nm(), [4.0, 8.0, 40.0]);
        assert_eq!(position.first_voxel, [10, 20, -3]);
    }
}

#[test]
fn a_corner_must_be_on_the_voxel_grid_and_a_centre_may_be_anywhere_in_a_voxel() {
    let corner = |x: f64| json!({"resolution": [3.24, 4, 40], "offset": [x, 0, 0]});
    let at = |x| position(DimensionOrder::F, corner(x), &LayerConfig::default());
    assert_eq!(at(324.0).unwrap().first_voxel, [100, 0, 0]);
    // A value from a program that computes in float32.
    assert_eq!(at(323.99999).unwrap().first_voxel, [100, 0, 0]);
    let e = at(325.62).unwrap_err().to_string();
    assert!(
        e.contains("325.62 nm along x") && e.contains("100.5"),
        "{e}"
    );
    let center = json!({"transform": {"axes": ["z", "y", "x"], "scale": [40, 4, 3.24], "translate": [20, 2, 325.62],
        "units": ["nm", "nm", "nm"]}});
    let placed = position(DimensionOrder::F, center, &LayerConfig::default()).unwrap();
    assert_eq!(placed.first_voxel, [100, 0, 0]);
}

#[test]
fn the_config_completes_and_corrects_the_attributes() {
    let nothing = position(DimensionOrder::C, json!({}), &LayerConfig::default()).unwrap();
    assert_eq!((nothing.resolution, nothing.first_voxel), (None, [0; 3]));
    let attributes = json!({"resolution": [1, 1, 1], "offset": [3, 2, 1]});
    let config = layer(json!({"resolution": [4, 4, 40], "voxel_offset": [7, 8, 9]}));
    let placed = position(DimensionOrder::F, attributes.clone(), &config).unwrap();
    assert_eq!(placed.resolution, config.resolution);
    assert_eq!(placed.first_voxel, [7, 8, 9]);
    let config = layer(json!({"resolution": [4, 4, 40]}));
    let e = position(DimensionOrder::F, attributes, &config)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("[1.0, 1.0, 1.0] nm") && e.contains("[4.0, 4.0, 40.0] nm"),
        "{e}"
    );
    let placed = position(DimensionOrder::F, json!({"offset": [8, 8, 80]}), &config).unwrap();
    assert_eq!(placed.first_voxel, [2, 2, 2]);
}

#[test]
fn generic_names_agree_with_any_name() {
    let config = layer(json!({"axes": "zyx", "resolution": [4, 4, 40]}));
    let placed = |names: Value| {
        position(
            DimensionOrder::C,
            json!({"_ARRAY_DIMENSIONS": names}),
            &config,
        )
        .map(|p| p.axes.xyz)
    };
    assert_eq!(
        placed(json!(["dim_0", "dim_1", "dim_2"])).unwrap(),
        [2, 1, 0]
    );
    assert_eq!(placed(json!(["Z", "y", "dim_2"])).unwrap(), [2, 1, 0]);
    let e = placed(json!(["x", "y", "z"])).unwrap_err().to_string();
    assert!(
        e.contains("[\"x\", \"y\", \"z\"]") && e.contains("\"zyx\""),
        "{e}"
    );
}

#[test]
fn sizes_that_java_writes_into_zarr_may_have_either_order() {
    let pixel = |size: [i32; 3]| json!({"pixelResolution": {"dimensions": size, "unit": "nm"}});
    let placed = |size| position(DimensionOrder::C, pixel(size), &LayerConfig::default());
    assert_eq!(
        placed([8, 8, 8]).unwrap().resolution.unwrap().nm(),
        [8.0; 3]
    );
    let e = placed([4, 4, 40]).unwrap_err().to_string();
    assert!(
        e.contains("`pixelResolution`") && e.contains("reverse order"),
        "{e}"
    );
}

#[test]
fn an_attribute_that_cannot_be_read_is_an_error_that_says_why() {
    let unsupported = json!({"unsupported": "float of 2 bytes"});
    for key in [
        "resolution",
        "voxel_size",
        "pixelResolution",
        "offset",
        "units",
    ] {
        let mut attributes = json!({"resolution": [40, 4, 4], "offset": [0, 0, 0]});
        attributes[key] = unsupported.clone();
        let e = position(DimensionOrder::C, attributes, &LayerConfig::default());
        let e = e.unwrap_err().to_string();
        assert!(
            e.contains(&format!("`{key}`")) && e.contains("float of 2 bytes"),
            "{e}"
        );
    }
}

//! Tests of transforms of sources, in current and older states.

use std::sync::Arc;

use super::*;
use crate::geometry::SourceTransform;

fn dims(x: f64, y: f64, z: f64) -> Value {
    json!({"x": [x * 1e-9, "m"], "y": [y * 1e-9, "m"], "z": [z * 1e-9, "m"]})
}

fn source_of(source: Value) -> LayerSource {
    let mut state = example();
    state["layers"][0]["source"] = source;
    parse(&state).unwrap().layers()[0].source()
}

fn transform_of(transform: Value) -> Result<Option<Arc<SourceTransform>>, String> {
    match source_of(json!({"url": "precomputed://./img", "transform": transform})) {
        LayerSource::Url { transform, .. } => Ok(transform),
        LayerSource::Unreadable(why) => Err(why),
        LayerSource::Local => panic!(),
    }
}

/// The position of the point 1, 2, 3 of the layer `notes` with this source and these additional members.
fn note(source: Value, members: Value) -> Result<[f64; 3], String> {
    let mut state = example();
    state["layers"][2]["source"] = source;
    for (name, value) in members.as_object().into_iter().flatten() {
        state["layers"][2][name] = value.clone();
    }
    let found = read(&state).map_err(|e| e.to_string())?;
    Ok(found.rows[0].points[0].0)
}

fn local(transform: Value) -> Result<[f64; 3], String> {
    let source = json!({"url": "local://annotations", "transform": transform});
    note(source, Value::Null)
}

#[test]
fn a_transform_is_returned_with_its_source_unless_it_is_empty() {
    assert!(
        transform_of(json!({"outputDimensions": dims(4.0, 4.0, 40.0)}))
            .unwrap()
            .is_some()
    );
    assert_eq!(transform_of(json!({})).unwrap(), None);
    assert_eq!(transform_of(Value::Null).unwrap(), None);
    for (wrong, words) in [
        (json!("x"), vec!["layers[0].source.transform` is \"x\""]),
        (
            json!({"matrix": [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]]}),
            vec!["transform.outputDimensions` is missing", "`img`"],
        ),
        (
            json!({"outputDimensions": dims(4.0, 4.0, 0.0)}),
            vec!["transform.outputDimensions.z` is [0.0, \"m\"]"],
        ),
        (
            json!({"outputDimensions": dims(4.0, 4.0, 40.0), "matrix": [[1, 0], [0, 1]]}),
            vec!["transform.matrix` is 2 rows", "3 rows of 4"],
        ),
        (
            json!({"outputDimensions": dims(4.0, 4.0, 40.0), "matrix": [["a"]]}),
            vec!["transform.matrix`", "rows of numbers"],
        ),
        (
            json!({"outputDimensions": dims(4.0, 4.0, 40.0), "inputDimensions": {"x": [1, "m"]}}),
            vec!["transform.inputDimensions` is 1 dim"],
        ),
        (
            json!({"outputDimensions": dims(4.0, 4.0, 40.0), "sourceRank": 4}),
            vec!["transform.sourceRank` is 4"],
        ),
        (
            json!({"outputDimensions": dims(4.0, 4.0, 40.0), "sourceRank": -1}),
            vec!["transform.sourceRank` is -1"],
        ),
    ] {
        let e = transform_of(wrong).unwrap_err();
        assert!(words.iter().all(|w| e.contains(w)), "{words:?}: {e}");
    }
}

#[test]
fn the_source_is_the_first_one_that_is_shown() {
    let url = |source: Value| match source_of(source) {
        LayerSource::Url { url, .. } => url,
        other => panic!("{other:?}"),
    };
    let mesh = json!({"url": "precomputed://./mesh", "enableDefaultSubsources": false, "subsources": {"mesh": true}});
    assert_eq!(
        url(json!([mesh, "precomputed://./seg"])),
        "precomputed://./seg"
    );
    let off = json!({"url": "precomputed://./a", "subsources": {"default": false}});
    assert_eq!(
        url(json!(["", off, {"url": "precomputed://./b", "subsources": {"default": true}}])),
        "precomputed://./b"
    );
    assert_eq!(url(json!([off])), "precomputed://./a");
    assert_eq!(
        url(json!(["local://equivalences", "precomputed://./b"])),
        "precomputed://./b"
    );
    assert_eq!(
        url(json!("file:///d/img/|neuroglancer-precomputed:")),
        "file:///d/img/|neuroglancer-precomputed:"
    );
}

#[test]
fn a_layer_with_annotations_from_several_sources_is_unreadable() {
    let mut state = example();
    state["layers"][2]["source"] = json!(["local://annotations", "precomputed://./a"]);
    let source = |state: &Value| parse(state).unwrap().layers()[2].source();
    let LayerSource::Unreadable(why) = source(&state) else {
        panic!()
    };
    assert!(why.contains("the state itself, precomputed://./a"), "{why}");
    state["layers"][2]["annotations"] = json!([]);
    assert_eq!(source(&state), at("precomputed://./a"));
    state["layers"][2]["source"] = json!(["precomputed://./a", "precomputed://./b"]);
    assert!(matches!(source(&state), LayerSource::Unreadable(_)));
}

#[test]
fn local_annotations_have_the_units_of_the_input_dimensions() {
    // The default input is the output, so nothing moves.
    let out = dims(4.0, 5.0, 40.0);
    assert_eq!(
        local(json!({"outputDimensions": out})).unwrap(),
        [4.0, 10.0, 120.0]
    );
    let numbered = json!({"0": [8e-9, "m"], "1": [8e-9, "m"], "2": [40, "nm"]});
    assert_eq!(
        local(json!({"outputDimensions": out, "inputDimensions": numbered})).unwrap(),
        [8.0, 16.0, 120.0]
    );
    assert_eq!(
        local(json!({"inputDimensions": dims(8.0, 8.0, 8.0)})).unwrap(),
        [8.0, 16.0, 24.0]
    );
    // Factors map length to length. Translations have the units of the output.
    let matrix = json!([[2, 0, 0, 10], [0, 0.5, 0, 0], [0, 0, 1, -1.5]]);
    let moved = json!({"outputDimensions": out, "inputDimensions": numbered, "matrix": matrix});
    assert_eq!(local(moved).unwrap(), [2.0 * 8.0 + 40.0, 8.0, 120.0 - 60.0]);
    // Dimensions have the names of the output: the first coordinate is z.
    let zyx = json!({"z": [40, "nm"], "y": [4, "nm"], "x": [4, "nm"]});
    assert_eq!(
        local(json!({"outputDimensions": zyx})).unwrap(),
        [12.0, 8.0, 40.0]
    );
    let swapped = json!([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]);
    assert_eq!(
        local(json!({"outputDimensions": out, "matrix": swapped})).unwrap(),
        [10.0, 4.0, 120.0]
    );
    for (matrix, words) in [
        (
            json!([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]),
            "mirrors the layer along x",
        ),
        (
            json!([[0.8, 0.6, 0, 0], [-0.6, 0.8, 0, 0], [0, 0, 1, 0]]),
            "rotation or shear",
        ),
        (
            json!([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
            "no input for x",
        ),
    ] {
        let e = local(json!({"outputDimensions": out, "matrix": matrix})).unwrap_err();
        assert!(
            e.contains("layers[2].source.transform.matrix[0]` is")
                && e.contains(words)
                && e.contains("`notes`"),
            "{e}"
        );
    }
    let unitless = json!({"x": [4, ""], "y": [4, ""], "z": [4, ""]});
    let e = local(json!({"outputDimensions": unitless})).unwrap_err();
    assert!(e.contains("outputDimensions.x` is [4.0, \"\"]"), "{e}");
    let e = local(json!({"outputDimensions": out, "inputDimensions": unitless})).unwrap_err();
    assert!(e.contains("inputDimensions.x` is [4.0, \"\"]"), "{e}");
}

#[test]
fn states_from_before_2020_have_units_and_transforms_in_other_places() {
    let nested = json!([[2, 0, 0, 5], [0, 2, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]]);
    let flat = json!([2, 0, 0, 5, 0, 2, 0, 6, 0, 0, 2, 7, 0, 0, 0, 1]);
    let size = json!([4, 4, 40]);
    for matrix in [&nested, &flat] {
        // In nm, and in voxels of the given size.
        assert_eq!(
            note(Value::Null, json!({"transform": matrix})).unwrap(),
            [7.0, 10.0, 13.0]
        );
        let both = json!({"transform": matrix, "voxelSize": size});
        assert_eq!(note(Value::Null, both).unwrap(), [13.0, 22.0, 247.0]);
    }
    assert_eq!(
        note(Value::Null, json!({"voxelSize": size})).unwrap(),
        [4.0, 8.0, 120.0]
    );
    let e = note(Value::Null, json!({"voxelSize": [4, 4]})).unwrap_err();
    assert!(e.contains("layers[2].voxelSize` is [4,4]"), "{e}");
    let mut state = example();
    state["layers"][0]["transform"] = nested.clone();
    let layers = parse(&state).unwrap();
    assert!(matches!(
        layers.layers()[0].source(),
        LayerSource::Url {
            transform: Some(_),
            ..
        }
    ));
    for wrong in [
        json!([[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        json!({"scale": [1, 1, 1]}),
        json!([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]),
    ] {
        state["layers"][0]["transform"] = wrong;
        let LayerSource::Unreadable(why) = parse(&state).unwrap().layers()[0].source() else {
            panic!()
        };
        assert!(
            why.contains("layers[0].transform`") && why.contains("4 x 4"),
            "{why}"
        );
    }
    let mut state = example();
    state.as_object_mut().unwrap().remove("dimensions");
    state["navigation"] =
        json!({"pose": {"position": {"voxelSize": size, "voxelCoordinates": [0, 0, 0]}}});
    assert_eq!(read(&state).unwrap().rows[0].points[0].0, [4.0, 8.0, 120.0]);
}

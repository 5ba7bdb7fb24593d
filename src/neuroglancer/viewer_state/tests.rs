mod moved;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn storage() -> Storage {
    Storage::default()
}

use crate::geometry::PointNm;
use crate::storage::loopback::{reply, serve};

const ALL: &[GeometryKind] = &GeometryKind::ALL;

fn example() -> Value {
    json!({
        "dimensions": {"x": [4e-9, "m"], "y": [4e-9, "m"], "z": [40, "nm"]},
        "layers": [
            {"type": "image", "name": "img", "source": "precomputed://./img"},
            {"type": "segmentation", "name": "seg", "source": [
                {"url": "precomputed://./seg", "subsources": {"mesh": true}}, "precomputed://./mesh"]},
            {"type": "annotation", "name": "notes", "source": {"url": "local://annotations"}, "annotations": [
                {"type": "point", "id": "a", "point": [1, 2, 3], "props": [7]},
                {"type": "LINE", "id": "b", "pointA": [0, 0, 0], "pointB": [2, 2, 2], "description": "x"},
                {"type": "ellipsoid", "id": "c", "center": [1, 1, 1], "radii": [9, 9, 9]},
                {"type": "polyline", "id": "d", "points": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]},
            ], "annotationProperties": [{"id": "p", "type": "uint8"}]},
        ],
    })
}

fn parse(state: &Value) -> Result<ViewerState, StateError> {
    ViewerState::parse(
        state.to_string().as_bytes(),
        "s.json",
        &Location::Local("/d".into()),
    )
}

fn at(url: &str) -> LayerSource {
    LayerSource::Url {
        url: url.to_owned(),
        transform: None,
    }
}

fn read(state: &Value) -> Result<LocalAnnotations, StateError> {
    let state = parse(state)?;
    state.annotations(state.annotation_layer(None, ALL)?)
}

fn error_of(change: impl FnOnce(&mut Value)) -> String {
    let mut state = example();
    change(&mut state);
    read(&state).unwrap_err().to_string()
}

#[test]
fn a_source_may_be_a_string_an_object_or_a_list() {
    let state = parse(&example()).unwrap();
    let sources: Vec<_> = state.layers().iter().map(StateLayer::source).collect();
    assert_eq!(
        sources,
        [
            at("precomputed://./img"),
            at("precomputed://./seg"),
            LayerSource::Local
        ]
    );
}

#[test]
fn annotations_of_every_kind_are_converted_to_nm() {
    let found = read(&example()).unwrap();
    assert_eq!(found.object, "s.json: layers[2].annotations");
    assert_eq!(found.rows[0].points, [PointNm([4.0, 8.0, 120.0])]);
    assert_eq!(found.rows[0].props, [json!(7)]);
    assert_eq!(found.rows[1].kind, GeometryKind::Line);
    assert_eq!(found.rows[1].points[1], PointNm([8.0, 8.0, 80.0]));
    assert_eq!(found.rows[1].description.as_deref(), Some("x"));
    assert_eq!(found.rows[2].points, [PointNm([4.0, 4.0, 40.0])]);
    assert_eq!(found.rows[3].points.len(), 3);
}

#[test]
fn the_layers_own_units_take_precedence_over_those_of_the_viewer_and_keep_their_order() {
    let mut state = example();
    // serde_json keeps the order of the document: z first.
    state["layers"][2]["source"]["transform"] = json!({
        "outputDimensions": {"z": [50, "nm"], "y": [0.005, "um"], "x": [6e-9, "m"]}});
    let found = read(&state).unwrap();
    assert_eq!(found.rows[0].points, [PointNm([18.0, 10.0, 50.0])]);
}

#[test]
fn a_unit_that_is_not_a_length_is_an_error_with_its_path() {
    let e = error_of(|s| s["dimensions"]["y"] = json!([1, "s"]));
    assert!(e.contains("s.json: `dimensions.y` is [1.0, \"s\"]"), "{e}");
    let e = error_of(|s| s["dimensions"]["y"] = json!("m"));
    assert!(e.contains("`dimensions.y`"), "{e}");
    let e = error_of(|s| {
        s.as_object_mut().unwrap().remove("dimensions");
    });
    assert!(
        e.contains("`layers[2].source.transform.outputDimensions` is missing"),
        "{e}"
    );
}

#[test]
fn annotations_may_have_a_single_position_along_a_fourth_dimension() {
    let mut state = example();
    state["dimensions"]["t"] = json!([1, "s"]);
    state["layers"][2]["annotations"] = json!([
        {"type": "point", "id": "a", "point": [1, 2, 3, 5]}, {"type": "point", "id": "b", "point": [1, 2, 3, 5]}]);
    assert_eq!(read(&state).unwrap().rows.len(), 2);
    state["layers"][2]["annotations"][1]["point"][3] = json!(9);
    let e = read(&state).unwrap_err().to_string();
    assert!(e.contains("`t` runs from 5 to 9"), "{e}");
}

#[test]
fn a_layer_is_found_by_name_or_by_the_kind_of_its_annotations() {
    let mut state = example();
    let mut second = state["layers"][2].clone();
    second["name"] = json!("boxes");
    second["annotations"] = json!([{"type": "axis_aligned_bounding_box", "id": "z",
        "pointA": [0, 0, 0], "pointB": [1, 1, 1]}]);
    state["layers"].as_array_mut().unwrap().push(second);
    let state = parse(&state).unwrap();
    let name = |name, kinds| state.annotation_layer(name, kinds).map(StateLayer::name);
    assert_eq!(name(None, &[GeometryKind::Box]).unwrap(), "boxes");
    assert_eq!(name(Some("notes"), &[GeometryKind::Box]).unwrap(), "notes");
    let e = name(None, ALL).unwrap_err().to_string();
    assert!(e.contains("notes, boxes") && e.contains("`layer`"), "{e}");
    let e = name(Some("note"), ALL).unwrap_err().to_string();
    assert!(e.contains("did you mean `notes`?"), "{e}");
    let e = name(Some("img"), ALL).unwrap_err().to_string();
    assert!(e.contains("stored elsewhere"), "{e}");
}

#[test]
fn an_invalid_annotation_is_an_error_with_its_path() {
    let at = |change: fn(&mut Value)| error_of(|s| change(&mut s["layers"][2]["annotations"][0]));
    let e = at(|a| a["point"] = json!([1, 2]));
    assert!(
        e.contains("`layers[2].annotations[0].point` is [1,2]; expected 3 numbers"),
        "{e}"
    );
    let e = at(|a| a["id"] = json!(7));
    assert!(e.contains("annotations[0].id` is 7"), "{e}");
    let e = at(|a| a["type"] = json!("blob"));
    assert!(e.contains("\"blob\"") && e.contains("polyline"), "{e}");
    let e = at(|a| a["point"] = json!([1, 2, null]));
    assert!(e.contains("annotations[0].point"), "{e}");
    let e = at(|a| *a = json!(3));
    assert!(e.contains("annotations[0]` is 3"), "{e}");
    let e = error_of(|s| s["layers"] = json!(7));
    assert!(e.contains("`layers` is 7"), "{e}");
    let e = error_of(|s| s["layers"][1]["name"] = json!("img"));
    assert!(e.contains("`layers[1].name` is \"img\" again"), "{e}");
}

#[test]
fn a_pasted_url_and_a_file_that_contains_one_are_read_as_a_state() {
    let url = format!("https://host/v/#!{}", example());
    let base = Location::Local("/d".into());
    assert_eq!(
        ViewerState::read(&url, &base, &storage())
            .unwrap()
            .layers()
            .len(),
        3
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state.txt"), format!("{url}\n")).unwrap();
    let here = Location::Local(dir.path().to_owned());
    let state = ViewerState::read("state.txt", &here, &storage()).unwrap();
    assert_eq!(state.layers().len(), 3);
    assert_eq!(state.base(), &here);
    let e = ViewerState::read("none.json", &here, &storage())
        .unwrap_err()
        .to_string();
    assert!(e.contains("none.json does not exist"), "{e}");
    let e = ViewerState::read("middleauth+https://host/state.json", &here, &storage()).unwrap_err();
    assert!(e.to_string().contains("`middleauth+https`"), "{e}");
}

#[test]
fn a_state_on_a_server_is_read_and_one_link_to_it_is_followed() {
    let state = example().to_string();
    let server = serve(move |_, request| match request.first.as_str() {
        "GET /states/1.json HTTP/1.1" | "GET /v1?id=7 HTTP/1.1" => {
            reply("200 OK", "", state.as_bytes())
        }
        "GET /link HTTP/1.1" => reply("200 OK", "", b"https://ng/#!http://127.0.0.1:9/x"),
        "GET /page HTTP/1.1" => reply("200 OK", "", b"<!doctype html><p>who are you?"),
        _ => reply("404 Not Found", "", b""),
    });
    let base = Location::Local("/d".into());
    let url = &server.url;
    for source in [
        format!("{url}/states/1.json"),
        format!("{url}/v1?id=7"),
        format!("https://ng/#!{url}/states/1.json"),
        format!("https://ng/v/#!{url}/v1?id=7 "),
    ] {
        let state = ViewerState::read(&source, &base, &storage()).unwrap();
        assert_eq!(state.layers().len(), 3, "{source}");
        let again = ViewerState::read(state.address(), state.base(), &storage()).unwrap();
        assert_eq!(again.layers().len(), 3, "{source}");
    }
    let state = ViewerState::read(&format!("{url}/states/1.json"), &base, &storage()).unwrap();
    assert_eq!(state.base().to_string(), format!("{url}/states"));
    let error = |source: &str| {
        let read = ViewerState::read(source, &base, &storage());
        read.unwrap_err().to_string()
    };
    let e = error(&format!("https://ng/#!{url}/link"));
    assert!(e.contains("a link that leads to another link"), "{e}");
    let e = error(&format!("https://ng/#!{url}/page"));
    assert!(e.contains("/page is an HTML page"), "{e}");
    let e = error(&format!("{url}/none"));
    assert!(e.contains("/none does not exist"), "{e}");
    let e = error("https://ng/#!middleauth+https://host/nglstate/1");
    assert!(e.contains("`middleauth+https://`"), "{e}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("state.url"),
        format!("https://ng/#!{url}/v1?id=7\n"),
    )
    .unwrap();
    let here = Location::Local(dir.path().to_owned());
    let state = ViewerState::read("state.url", &here, &storage()).unwrap();
    let again = ViewerState::read(state.address(), state.base(), &storage()).unwrap();
    assert_eq!(again.layers().len(), 3);
}

#[test]
fn an_old_state_has_its_layers_by_name() {
    let state =
        parse(&json!({"layers": {"img": {"source": "precomputed://x"}, "b": "precomputed://y"}}));
    let state = state.unwrap();
    assert_eq!(state.layers()[0].name(), "img");
    assert_eq!(state.layers()[1].source(), at("precomputed://y"));
}

/// Any JSON, with many members and strings that the parser looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "layers",
        "name",
        "source",
        "url",
        "transform",
        "matrix",
        "outputDimensions",
        "inputDimensions",
        "dimensions",
        "annotations",
        "annotationProperties",
        "type",
        "id",
        "point",
        "pointA",
        "pointB",
        "points",
        "center",
        "props",
        "x",
        "y",
        "z",
        "m",
        "nm",
        "local://annotations",
        "line",
        "polyline",
        "uint8",
        "rgb",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 200, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..8).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_json_never_makes_the_parser_panic(
        whole in any_json(), part in any_json(), at in prop::sample::select(vec![
            "/dimensions", "/layers", "/layers/2", "/layers/2/source", "/layers/2/annotations",
            "/layers/2/annotations/3", "/layers/2/annotations/3/points", "/layers/0/source"]),
    ) {
        let _ = read(&whole);
        let mut state = example();
        *state.pointer_mut(at).unwrap() = part;
        let _ = read(&state);
        for layer in parse(&state).iter().flat_map(ViewerState::layers) {
            layer.source();
        }
    }

    #[test]
    fn arbitrary_text_never_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let base = Location::Local("".into());
        let _ = ViewerState::parse(&bytes, "s", &base);
        let _ = ViewerState::parse(format!("https://h/#!{{{text}").as_bytes(), "s", &base);
    }
}

/// A layer alone, as zetta_utils' evaluation scripts read their ground truth.
fn bare_layer() -> Value {
    json!({
        "type": "annotation",
        "source": {"url": "local://annotations", "transform": {
            "inputDimensions": {"0": [8e-9, "m"], "1": [8e-9, "m"], "2": [4e-8, "m"]},
            "outputDimensions": {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [4e-8, "m"]}}},
        "name": "gt",
        "annotations": [{"type": "point", "id": "7", "point": [1, 2, 3.5]}],
    })
}

#[test]
fn a_layer_alone_is_a_state_with_this_layer() {
    let found = read(&bare_layer()).unwrap();
    assert_eq!(found.rows[0].points, [PointNm([8.0, 16.0, 140.0])]);
    assert_eq!(found.object, "s.json: annotations");
    let state = parse(&bare_layer()).unwrap();
    assert_eq!(state.layers()[0].name(), "gt");
    assert!(state.annotation_layer(Some("gt"), ALL).is_ok());
    let mut nameless = bare_layer();
    nameless.as_object_mut().unwrap().remove("name");
    assert_eq!(parse(&nameless).unwrap().layers()[0].name(), "layer");
    let mut wrong = bare_layer();
    wrong["annotations"][0]["point"] = json!([1, 2]);
    let e = read(&wrong).unwrap_err().to_string();
    assert!(e.contains("`annotations[0].point`"), "{e}");
    // An image alone has no annotations.
    let image = json!({"type": "image", "name": "em", "source": "precomputed://./em"});
    let state = parse(&image).unwrap();
    assert_eq!(state.layers()[0].source(), at("precomputed://./em"));
    assert!(state.annotation_layer(None, ALL).is_err());
}

#[test]
fn an_old_layer_has_the_size_of_its_voxels_which_precedes_that_of_the_viewer() {
    let mut layer = bare_layer();
    layer["source"] = json!("local://annotations");
    let e = read(&layer).unwrap_err().to_string();
    assert!(e.contains("the units of the annotations"), "{e}");
    layer["voxelSize"] = json!([4, 5, 40]);
    let point = |state: &Value| read(state).unwrap().rows[0].points.clone();
    assert_eq!(point(&layer), [PointNm([4.0, 10.0, 140.0])]);
    let whole = json!({"dimensions": {"x": [1, "m"], "y": [1, "m"], "z": [1, "m"]}, "layers": [layer.clone()]});
    assert_eq!(point(&whole), [PointNm([4.0, 10.0, 140.0])]);
    layer["voxelSize"] = json!([4, 5]);
    let e = read(&layer).unwrap_err().to_string();
    assert!(
        e.contains("`voxelSize`") && e.contains("three numbers"),
        "{e}"
    );
}

//! Annotations that are stored in a Neuroglancer viewer state.
//!
//! The ids in a state are texts. A decimal number is used as the id; any other text is converted to the first eight
//! bytes, little-endian, of its BLAKE3 digest, which is the same in every run and on every machine.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::PointsError;
use super::in_memory::{InMemoryLayer, RowProblem};
use super::property::{PropertySpec, RawProperty};
use crate::neuroglancer::GeometryKind;
use crate::neuroglancer::viewer_state::{StateAnnotation, ViewerState};
use crate::storage::{Location, Storage};

/// Reads the local annotations of `layer`, or of the only layer with local annotations.
pub(super) fn read(
    address: &str,
    base: &Location,
    layer: Option<&str>,
    storage: &Storage,
) -> Result<InMemoryLayer, PointsError> {
    let state = ViewerState::read(address, base, storage)?;
    let layer = state.annotation_layer(layer, &GeometryKind::ALL)?;
    let annotations = state.annotations(layer)?;
    let object = annotations.object;
    let (properties, defaults) = properties(&annotations.properties, &object)?;
    let mut points = InMemoryLayer::new(object.clone(), (format!("{object}["), "]"), properties);
    let mut ids: HashMap<u64, &str> = HashMap::new();
    for (i, row) in annotations.rows.iter().enumerate() {
        let number = number_of_id(&row.id);
        let first = *ids.entry(number).or_insert(&row.id);
        if first != row.id {
            return Err(PointsError::IdCollision {
                object,
                first: first.to_owned(),
                second: row.id.clone(),
                number,
            });
        }
        let set = |specs: &[PropertySpec], record: &mut [u8]| {
            for (j, spec) in specs.iter().enumerate() {
                let value = row.props.get(j).unwrap_or(&defaults[j]);
                write(spec, value, record).map_err(|expected| PointsError::Row {
                    object: format!("{object}[{i}]"),
                    field: format!("props[{j}]"),
                    found: value.to_string(),
                    expected: format!("{expected}, for the property `{}`", spec.id),
                })?;
            }
            Ok(())
        };
        points.push(i as u64, number, row.kind, &row.points, set)?;
    }
    let names = &annotations.relationships;
    if let Err(problem) = relate(&mut points, names, &annotations.rows, &object) {
        points.set_relationship_problem(problem);
    }
    points.finish()
}

/// Adds the objects that annotations are related to. `segments` has a list of ids for each of `annotationRelationships`,
/// or only ids if there is one relationship. If the state names no relationship, Neuroglancer has one.
fn relate(
    points: &mut InMemoryLayer,
    names: &Value,
    rows: &[StateAnnotation],
    object: &str,
) -> Result<(), RowProblem> {
    let wrong = |field: String, found: &Value, expected: String| RowProblem {
        object: object.to_owned(),
        field,
        found: found.to_string(),
        expected,
    };
    let names: Vec<String> = match names {
        Value::Null => vec!["segments".to_owned()],
        names => Vec::deserialize(names).map_err(|_| {
            let field = "annotationRelationships".to_owned();
            wrong(field, names, "a list of names".to_owned())
        })?,
    };
    for (i, row) in rows.iter().enumerate() {
        let objects = objects(&row.segments, names.len()).ok_or_else(|| {
            let expected = format!("a list of ids of objects for each of {}", names.join(", "));
            wrong(format!("[{i}].segments"), &row.segments, expected)
        })?;
        for (relationship, objects) in objects.iter().enumerate() {
            for object in objects {
                points.relate(number_of_id(&row.id), relationship, *object);
            }
        }
    }
    points.set_relationships(names);
    Ok(())
}

/// Parses `segments`: for each relationship the ids of objects.
fn objects(segments: &Value, relationships: usize) -> Option<Vec<Vec<u64>>> {
    let id = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let ids = |value: &Value| -> Option<Vec<u64>> { value.as_array()?.iter().map(id).collect() };
    match segments {
        Value::Null => Some(Vec::new()),
        Value::Array(list) if list.is_empty() => Some(Vec::new()),
        Value::Array(list) if list[0].is_array() => {
            let lists = (list.len() == relationships).then(|| list.iter().map(ids))?;
            lists.collect()
        }
        value => Some(vec![ids(value).filter(|_| relationships == 1)?]),
    }
}

/// The number for the id `text`.
fn number_of_id(text: &str) -> u64 {
    // Only the usual spelling of a number: `07` is a different id than `7`.
    let decimal = text.parse().ok().filter(|n: &u64| n.to_string() == text);
    decimal.unwrap_or_else(|| {
        let digest = blake3::hash(text.as_bytes());
        let first = digest.as_bytes().first_chunk().copied();
        u64::from_le_bytes(first.unwrap_or_default())
    })
}

/// The layer's properties, and the default value of each.
fn properties(raw: &[Value], object: &str) -> Result<(Vec<PropertySpec>, Vec<Value>), PointsError> {
    let mut specs: Vec<PropertySpec> = Vec::with_capacity(raw.len());
    let mut defaults = Vec::with_capacity(raw.len());
    for (i, value) in raw.iter().enumerate() {
        let wrong = |field: String, found: String, expected: String| PointsError::Row {
            object: object.to_owned(),
            field,
            found,
            expected,
        };
        let raw = RawProperty::deserialize(value).map_err(|e| {
            let field = format!("annotationProperties[{i}]");
            let expected = "an object with `id` and `type`".to_owned();
            wrong(field, format!("not a property: {e}"), expected)
        })?;
        let spec = raw.check(&specs).map_err(|e| {
            let field = format!("annotationProperties[{i}].{}", e.member);
            wrong(field, e.found, e.expected)
        })?;
        specs.push(spec);
        defaults.push(value.get("default").cloned().unwrap_or_default());
    }
    Ok((specs, defaults))
}

/// Writes a value to `record`. Neuroglancer writes colours as texts, and other values as numbers; null is 0 or black.
fn write(spec: &PropertySpec, value: &Value, record: &mut [u8]) -> Result<(), String> {
    match value {
        Value::Null => Ok(()),
        Value::String(text) if !text.trim().is_empty() => spec.write(text, record),
        Value::Number(number) => spec.write(&number.to_string(), record),
        _ => spec.write("?", record),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::geometry::{BoxNm, PointNm};
    use crate::points::{Anchor, PointLayer, PointSource};

    fn state(annotations: Value, properties: Value) -> Value {
        json!({
            "dimensions": {"x": [4e-9, "m"], "y": [4e-9, "m"], "z": [4e-8, "m"]},
            "layers": [{"name": "notes", "type": "annotation", "source": "local://annotations",
                "annotations": annotations, "annotationProperties": properties}],
        })
    }

    fn read_url(state: &Value) -> Result<InMemoryLayer, PointsError> {
        read(
            &format!("https://host/#!{state}"),
            &Location::Local("".into()),
            None,
            &Storage::default(),
        )
    }

    fn error_of(annotations: Value, properties: Value) -> String {
        read_url(&state(annotations, properties))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn numeric_ids_are_kept_and_others_are_always_converted_to_the_same_number() {
        assert_eq!(number_of_id("18446744073709551615"), u64::MAX);
        assert_eq!(number_of_id("7"), 7);
        assert_ne!(number_of_id("07"), 7);
        assert_eq!(number_of_id("d4f0"), 9_867_642_678_768_251_248);
    }

    #[test]
    fn an_id_of_two_annotations_is_an_error_unless_they_are_equal() {
        let point = |id: &str, x: f64| json!({"type": "point", "id": id, "point": [x, 0, 0]});
        assert!(read_url(&state(json!([point("a", 1.0), point("a", 1.0)]), json!([]))).is_ok());
        let e = error_of(json!([point("a", 1.0), point("a", 2.0)]), json!([]));
        assert!(
            e.contains("annotations[0]") && e.contains("annotations[1]"),
            "{e}"
        );
        let hashed = number_of_id("a").to_string();
        let e = error_of(json!([point("a", 1.0), point(&hashed, 1.0)]), json!([]));
        assert!(e.contains("\"a\"") && e.contains(&hashed), "{e}");
    }

    #[test]
    fn kinds_of_annotations_may_be_mixed_and_properties_are_kept() {
        let state = state(
            json!([
                {"type": "line", "id": "1", "pointA": [0, 0, 0], "pointB": [2, 2, 2],
                 "props": [0.5, "#0102ff", 3]},
                {"type": "point", "id": "2", "point": [1, 1, 1]},
            ]),
            json!([{"id": "score", "type": "float32", "default": 0.25}, {"id": "color", "type": "rgb"},
                   {"id": "kind", "type": "uint8", "enum_values": [3], "enum_labels": ["big"]}]),
        );
        let source = format!("https://host/#!{state}");
        let layer = PointSource::parse(&source, &Location::Local("".into())).unwrap();
        let layer = layer.open(&Storage::default()).unwrap();
        let all = BoxNm::from_corners(PointNm([-1e9; 3]), PointNm([1e9; 3])).unwrap();
        let found = layer.read_boxes(&[all], Anchor::Midpoint).unwrap();
        let [line, point] = &found.per_box[0][..] else {
            panic!()
        };
        assert_eq!(line.anchor, PointNm([4.0, 4.0, 40.0]));
        assert_eq!(point.anchor, line.anchor);
        let value = |i: usize, a: &crate::points::Annotation| {
            layer.properties()[i].bytes(&a.properties).to_vec()
        };
        assert_eq!(value(0, line), 0.5f32.to_le_bytes());
        assert_eq!(value(1, line), [1, 2, 255]);
        assert_eq!(value(2, line), [3]);
        assert_eq!(value(0, point), 0.25f32.to_le_bytes());
        assert_eq!(value(2, point), [0]);
        assert_eq!(layer.properties()[2].enum_labels, ["big"]);
    }

    #[test]
    fn annotations_are_selected_by_related_objects() {
        let point = |id: &str, segments: Value| json!({"type": "point", "id": id, "point": [0, 0, 0], "segments": segments});
        let related = |state: &Value, wanted: Value| {
            let layer = PointLayer::of_in_memory(read_url(state).unwrap());
            let mut ids: Vec<u64> = layer
                .related(
                    &serde_json::from_value(wanted).unwrap(),
                    &[],
                    Anchor::default(),
                )
                .map_err(|e| e.to_string())?
                .into_iter()
                .collect();
            ids.sort_unstable();
            Ok::<_, String>(ids)
        };
        let big = u64::MAX.to_string();
        let mut two = state(
            json!([
                point("1", json!([["7", big], []])),
                point("2", json!([["7"], ["9"]])),
                point("3", Value::Null)
            ]),
            json!([]),
        );
        two["layers"][0]["annotationRelationships"] = json!(["pre", "post"]);
        assert_eq!(related(&two, json!({"pre": [7]})).unwrap(), [1, 2]);
        assert_eq!(related(&two, json!({"pre": [u64::MAX, 1]})).unwrap(), [1]);
        assert_eq!(
            related(&two, json!({"pre": [7], "post": [9]})).unwrap(),
            [2]
        );
        assert_eq!(related(&two, json!({"post": [7]})).unwrap(), [0u64; 0]);
        let e = related(&two, json!({"prae": [7]})).unwrap_err();
        assert!(
            e.contains("`pre`, `post`") && e.contains("did you mean `pre`"),
            "{e}"
        );

        // Without names there is one relationship, and ids need no list of lists.
        let one = state(
            json!([point("1", json!(["7"])), point("2", json!([[8]]))]),
            json!([]),
        );
        assert_eq!(related(&one, json!({"segments": [7]})).unwrap(), [1]);
        assert_eq!(related(&one, json!({"segments": [8]})).unwrap(), [2]);

        // Invalid relationships are an error only if they are queried.
        let odd = state(json!([point("1", json!([["x"]]))]), json!([]));
        let e = related(&odd, json!({"segments": [7]})).unwrap_err();
        assert!(e.contains("`[0].segments` is [[\"x\"]]"), "{e}");
    }

    #[test]
    fn invalid_properties_are_errors() {
        let point = json!([{"type": "point", "id": "a", "point": [0, 0, 0], "props": [300]}]);
        let e = error_of(point.clone(), json!([{"id": "n", "type": "uint8"}]));
        assert!(
            e.contains("annotations[0]: `props[0]` is 300") && e.contains("uint8"),
            "{e}"
        );
        let e = error_of(point.clone(), json!([{"id": "n", "type": "int64"}]));
        assert!(
            e.contains("`annotationProperties[0].type` is \"int64\""),
            "{e}"
        );
        let e = error_of(point, json!([{"id": "../n", "type": "int8"}]));
        assert!(e.contains("annotationProperties[0].id"), "{e}");
    }
}

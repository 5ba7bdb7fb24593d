//! Rows that refer to each other, and the errors of rows that do not.

use super::*;
use serde_json::json;

fn example() -> Value {
    json!({
        "collections": [],
        "layer_groups": [{"id": "g", "layers": ["l1"], "name": "g"}],
        "layers": [{"id": "l1", "name": "img", "source": "precomputed://file://./img"}],
        "annotations": [
            {"type": "axis_aligned_bounding_box", "id": "b", "pointA": [10, 0, 0.5], "pointB": [0, 10, 5],
             "tags": ["train"], "layer_group": "g", "comment": ""},
            {"type": "line", "id": "x"},
        ],
    })
}

fn read_value(value: &Value) -> Result<Collection, CollectionError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collection.json");
    std::fs::write(&path, value.to_string()).unwrap();
    read(&Location::Local(path), &Storage::default())
}

fn error_of(change: impl FnOnce(&mut Value)) -> String {
    let mut value = example();
    change(&mut value);
    read_value(&value).unwrap_err().to_string()
}

#[test]
fn corners_are_sorted_and_other_rows_counted() {
    let c = read_value(&example()).unwrap();
    assert_eq!(c.boxes[0].bounds.min(), [0.0, 0.0, 0.5]);
    assert_eq!(c.boxes[0].bounds.max(), [10.0, 10.0, 5.0]);
    assert_eq!(c.other_rows["line"], 1);
}

#[test]
fn optional_members_may_be_missing_or_null() {
    for tags in [None, Some(json!(null)), Some(json!([]))] {
        let mut value = example();
        let members = value["annotations"][0].as_object_mut().unwrap();
        members.remove("tags");
        members.extend(tags.map(|tags| ("tags".to_owned(), tags)));
        let c = read_value(&value).unwrap();
        assert!(c.boxes[0].tags.is_empty());
    }
    for (list, member) in [
        ("annotations", "comment"),
        ("annotations", "layer_group"),
        ("annotations", "selected_segments"),
        ("layers", "name"),
        ("layers", "source"),
        ("layers", "comment"),
        ("layer_groups", "name"),
        ("layer_groups", "layers"),
        ("layer_groups", "comment"),
    ] {
        for missing in [true, false] {
            let mut value = example();
            let members = value[list][0].as_object_mut().unwrap();
            if missing {
                members.remove(member);
            } else {
                members.insert(member.to_owned(), Value::Null);
            }
            let c = read_value(&value).unwrap();
            assert_eq!(c.boxes[0].tags, ["train"], "{list} {member}");
        }
    }
}

#[test]
fn a_missing_member_is_an_error_when_a_job_needs_it() {
    let layers_of = |list: &str, member: &str| {
        let mut value = example();
        value[list][0][member] = Value::Null;
        Arc::clone(&read_value(&value).unwrap().boxes[0].layers)
    };
    let e = layers_of("annotations", "layer_group").source("img");
    let e = e.unwrap_err().to_string();
    assert!(e.contains("`layer_group`") && e.contains("`img`"), "{e}");
    let e = layers_of("layers", "source").source("img");
    let e = e.unwrap_err().to_string();
    assert!(e.contains("`source`") && e.contains("`img`"), "{e}");
    let e = layers_of("layer_groups", "layers").source("img");
    let e = e.unwrap_err().to_string();
    assert!(e.contains("`g` has no layer `img`; it has none"), "{e}");
    // A layer without a name is named after its id.
    layers_of("layers", "name").source("l1").unwrap();
}

#[test]
fn tags_that_are_not_strings_are_named_with_their_path() {
    let e = error_of(|v| v["annotations"][0]["tags"] = json!(["train", 3]));
    assert!(
        e.contains("annotations[0] (id \"b\")") && e.contains("`tags[1]`"),
        "{e}"
    );
    let e = error_of(|v| v["annotations"][0]["tags"] = json!("train"));
    assert!(e.contains("`tags`") && e.contains("\"train\""), "{e}");
}

#[test]
fn broken_references_are_named() {
    let e = error_of(|v| v["annotations"][0]["layer_group"] = json!("h"));
    assert!(e.contains("\"h\"") && e.contains("\"b\""), "{e}");
    let e = error_of(|v| v["layer_groups"][0]["layers"] = json!(["l2"]));
    assert!(e.contains("\"l2\""), "{e}");
    let e = error_of(|v| v["annotations"][1] = v["annotations"][0].clone());
    assert!(e.contains("twice"), "{e}");
    let e = error_of(|v| {
        v.as_object_mut().unwrap().remove("layers");
    });
    assert!(e.contains("`layers`"), "{e}");
}

#[test]
fn an_unknown_layer_name_gets_a_suggestion() {
    let c = read_value(&example()).unwrap();
    let e = c.boxes[0].layers.source("imgg").unwrap_err().to_string();
    assert!(
        e.contains("`imgg`") && e.contains("did you mean `img`"),
        "{e}"
    );
}

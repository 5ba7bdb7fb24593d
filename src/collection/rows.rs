//! The rows that zetta_utils' web API returns, and how they refer to each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Collection, CollectionError, LayerGroup, LayerText, TaggedBox};
use crate::geometry::{BoxNm, PointNm};
use crate::storage::{DocumentError, Location, read_document, redacted};

const EXPECTED: &str = "a collection as zetta_utils' web API returns it";

#[derive(Deserialize)]
struct LayerGroupRow {
    id: String,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct LayerRow {
    id: String,
    /// Without one, its id.
    #[serde(default)]
    name: Option<String>,
    /// A layer without one matters only where a job reads it.
    #[serde(default)]
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BoxRow {
    id: String,
    point_a: [f64; 3],
    point_b: [f64; 3],
    /// zetta_utils writes none for a box without tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
    /// A box without one matters only where it belongs to a split.
    #[serde(rename = "layer_group", default)]
    layer_group: Option<String>,
}

/// The lists of a collection and the file that each came from.
pub(super) struct Lists {
    /// The folder that relative sources count from.
    pub(super) base: Location,
    pub(super) layer_groups: List,
    pub(super) layers: List,
    pub(super) annotations: List,
}

pub(super) struct List {
    /// The file or URL, for messages.
    pub(super) file: String,
    pub(super) name: &'static str,
    pub(super) rows: Vec<Value>,
}

pub(super) fn read(location: &Location) -> Result<Collection, CollectionError> {
    join(&Lists::read(location)?, location.to_string())
}

/// The collection that `lists` make up, which were read from `source`.
pub(super) fn join(lists: &Lists, source: String) -> Result<Collection, CollectionError> {
    let groups = resolve_groups(lists)?;
    let no_group = Arc::new(LayerGroup::none());
    let mut boxes = Vec::new();
    let mut other_rows = IndexMap::new();
    let mut seen = HashSet::new();
    for (i, value) in lists.annotations.rows.iter().enumerate() {
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("without a type");
        if !kind.eq_ignore_ascii_case("axis_aligned_bounding_box") {
            *other_rows.entry(kind.to_owned()).or_insert(0) += 1;
            continue;
        }
        let row: BoxRow = lists.annotations.parse(i)?;
        let wrong = |problem| lists.annotations.wrong(i, problem);
        if !seen.insert(row.id.clone()) {
            return Err(wrong("the id occurs twice, expected one box per id".into()));
        }
        let bounds = BoxNm::from_corners(PointNm(row.point_a), PointNm(row.point_b))
            .ok_or_else(|| wrong("a corner is not finite".into()))?;
        let group = match &row.layer_group {
            None => &no_group,
            Some(id) => groups.get(id).ok_or_else(|| {
                wrong(format!(
                    "its layer_group is {id:?}, which `layer_groups` does not list"
                ))
            })?,
        };
        boxes.push(TaggedBox {
            id: row.id,
            tags: row.tags.unwrap_or_default(),
            bounds,
            layers: Arc::clone(group),
        });
    }
    Ok(Collection {
        source,
        boxes,
        other_rows,
    })
}

fn resolve_groups(lists: &Lists) -> Result<HashMap<String, Arc<LayerGroup>>, CollectionError> {
    let mut layers = HashMap::new();
    for i in 0..lists.layers.rows.len() {
        let row: LayerRow = lists.layers.parse(i)?;
        let text = match row.source {
            Some(source) => LayerText::Source(source),
            None => LayerText::Refused("its row in `layers` has no `source`".to_owned()),
        };
        layers.insert(row.id.clone(), (row.name.unwrap_or(row.id), text));
    }
    let mut groups = HashMap::new();
    for i in 0..lists.layer_groups.rows.len() {
        let row: LayerGroupRow = lists.layer_groups.parse(i)?;
        let mut sources = IndexMap::new();
        for id in row.layers.iter().flatten() {
            let (name, text) = layers.get(id).ok_or_else(|| {
                lists.layer_groups.wrong(
                    i,
                    format!("it names the layer {id:?}, which `layers` does not list"),
                )
            })?;
            if sources.insert(name.clone(), text.clone()).is_some() {
                return Err(lists
                    .layer_groups
                    .wrong(i, format!("it has two layers named {name:?}")));
            }
        }
        let group = LayerGroup {
            id: row.id.clone(),
            sources,
            base: lists.base.clone(),
            annotations: HashSet::new(),
        };
        groups.insert(row.id, Arc::new(group));
    }
    Ok(groups)
}

impl Lists {
    fn read(location: &Location) -> Result<Self, CollectionError> {
        match location {
            Location::Local(path) if path.is_dir() => {
                Self::read_folder(location, Location::folder_of(path))
            }
            _ => Self::read_file(location),
        }
    }

    fn read_file(location: &Location) -> Result<Self, CollectionError> {
        let Some((base, key)) = location.split_file() else {
            return Err(CollectionError::Document(DocumentError::Missing {
                object: location.to_string(),
                expected: EXPECTED,
            }));
        };
        let mut document: serde_json::Map<String, Value> =
            read_document(base.open().as_ref(), &key, EXPECTED)?;
        let file = location.to_string();
        let mut take = |name| match document.remove(name) {
            Some(Value::Array(rows)) => Ok(List {
                file: file.clone(),
                name,
                rows,
            }),
            _ => Err(CollectionError::NoList {
                file: file.clone(),
                list: name,
            }),
        };
        Ok(Self {
            layer_groups: take("layer_groups")?,
            layers: take("layers")?,
            annotations: take("annotations")?,
            base,
        })
    }

    /// The four documents of one collection: like the one file, they stand for themselves beside the layers,
    /// so relative sources count from the folder that holds `folder`.
    fn read_folder(folder: &Location, base: Location) -> Result<Self, CollectionError> {
        let store = folder.open();
        let list = |name: &'static str| -> Result<List, CollectionError> {
            let key = format!("{name}_multiple.json");
            Ok(List {
                rows: read_document(store.as_ref(), &key, EXPECTED)?,
                file: store.describe(&key),
                name,
            })
        };
        Ok(Self {
            layer_groups: list("layer_groups")?,
            layers: list("layers")?,
            annotations: list("annotations")?,
            base,
        })
    }
}

impl List {
    fn parse<T: DeserializeOwned>(&self, i: usize) -> Result<T, CollectionError> {
        serde_path_to_error::deserialize(&self.rows[i]).map_err(|e| {
            let path = e.path().to_string();
            let at = match path.as_str() {
                "." => String::new(),
                path => format!("at `{path}`: "),
            };
            self.wrong(i, format!("{at}{}", e.into_inner()))
        })
    }

    fn wrong(&self, i: usize, problem: String) -> CollectionError {
        let id = self.rows[i].get("id").and_then(Value::as_str);
        let id = id.map(|id| format!(" (id {id:?})")).unwrap_or_default();
        CollectionError::Row {
            file: self.file.clone(),
            row: format!("{}[{i}]{id}", self.name),
            // Serde's messages have the value that was found.
            problem: redacted(&problem).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
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
        read(&Location::Local(path))
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
    fn members_that_may_be_missing_or_null_do_not_stop_reading() {
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
    fn what_is_missing_is_named_where_a_job_needs_it() {
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
        // A layer without a name has its id's.
        layers_of("layers", "name").source("l1").unwrap();
    }

    #[test]
    fn tags_that_are_no_texts_are_named_with_their_path() {
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
}

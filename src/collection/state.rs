//! Boxes and layers of a Neuroglancer viewer state.
//!
//! The boxes are annotations in the state itself; a box's tags are in its description. All boxes share one layer group: the
//! layers of the state. Corners stay as they are: the float32 numbers that Neuroglancer writes are not rounded to whole nm.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::layer_group::LayerText;
use super::{Collection, CollectionError, LayerGroup, TaggedBox};
use crate::geometry::BoxNm;
use crate::neuroglancer::GeometryKind;
use crate::neuroglancer::viewer_state::{LayerSource, ViewerState};
use crate::points::PointSource;
use crate::storage::{Location, Storage};

/// The group that all boxes of a state belong to.
const GROUP: &str = "neuroglancer_state";

/// Memory of a text in addition to its bytes.
const TEXT_BYTES: usize = 40;

/// Reads the state at `source`. `layer` contains the boxes; by default the only layer with boxes.
pub(super) fn read(
    source: &str,
    layer: Option<&str>,
    base: &Location,
    storage: &Storage,
) -> Result<Collection, CollectionError> {
    let state = ViewerState::read(source, base, storage)?;
    let layer = state.annotation_layer(layer, &[GeometryKind::Box])?;
    let annotations = state.annotations(layer)?;
    let group = Arc::new(layers_of_state(&state));
    let mut boxes = Vec::new();
    let mut other_rows = IndexMap::new();
    let mut seen = HashSet::new();
    for (i, row) in annotations.rows.into_iter().enumerate() {
        if row.kind != GeometryKind::Box {
            *other_rows
                .entry(row.kind.name().to_lowercase())
                .or_insert(0) += 1;
            continue;
        }
        let wrong = |problem: &str| CollectionError::Row {
            file: annotations.object.clone(),
            row: format!("[{i}] (id {:?})", row.id),
            problem: problem.to_owned(),
        };
        let bounds = match row.points[..] {
            [a, b] => BoxNm::from_corners(a, b),
            _ => None,
        };
        let bounds = bounds.ok_or_else(|| wrong("a corner is not finite"))?;
        if !seen.insert(row.id.clone()) {
            return Err(wrong("the id occurs twice, expected one box per id"));
        }
        let tags = tags(row.description.as_deref().unwrap_or_default());
        let texts: usize = tags.iter().map(|tag| tag.len() + TEXT_BYTES).sum();
        let bytes = size_of::<TaggedBox>() + 2 * (row.id.len() + TEXT_BYTES) + texts;
        // Half as much again for the plan's copy.
        let kept = storage.budget().keep(bytes as u64 * 3 / 2);
        kept.map_err(|over| CollectionError::TooLarge {
            collection: state.object().to_owned(),
            over,
        })?;
        boxes.push(TaggedBox {
            tags,
            id: row.id,
            bounds,
            layers: Arc::clone(&group),
        });
    }
    Ok(Collection {
        name: None,
        table: None,
        source: state.object().to_owned(),
        boxes,
        other_rows,
    })
}

/// Reads the state at `source`, which is not a collection file. `e` is its error as a collection file; it is returned if
/// `source` is not a state either.
pub(super) fn read_instead(
    source: &str,
    base: &Location,
    storage: &Storage,
    e: CollectionError,
) -> Result<Collection, CollectionError> {
    match ViewerState::read(source, base, storage) {
        Ok(_) => read(source, None, base, storage),
        Err(_) => Err(e),
    }
}

/// The tags in a description, separated by commas or spaces, each once.
fn tags(description: &str) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in description.split(|c: char| c == ',' || c.is_whitespace()) {
        if !tag.is_empty() && tags.iter().all(|known| known != tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// The layers of a viewer state.
pub(crate) fn layers_of_state(state: &ViewerState) -> LayerGroup {
    let sources = state.layers().iter().map(|layer| {
        let text = match layer.source() {
            LayerSource::Url {
                url,
                transform: None,
            } => LayerText::Source(url),
            LayerSource::Url {
                url,
                transform: Some(transform),
            } => LayerText::Transformed(url, transform),
            LayerSource::Local => {
                LayerText::Source(PointSource::text_of_state(state.address(), layer.name()))
            }
            LayerSource::Unreadable(why) => LayerText::Unusable(why),
        };
        (layer.name().to_owned(), text)
    });
    let annotations = state.layers().iter().filter(|l| l.is_annotations());
    LayerGroup {
        id: GROUP.to_owned(),
        sources: sources.collect(),
        base: state.base().clone(),
        annotations: annotations.map(|l| l.name().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::collection::LayerError;

    fn example() -> Value {
        json!({
            "dimensions": {"x": [4e-9, "m"], "y": [4e-9, "m"], "z": [4e-8, "m"]},
            "layers": [
                {"name": "img", "type": "image", "source": "precomputed://file://./img"},
                {"name": "moved", "type": "image", "source": {"url": "precomputed://file://./img",
                    "transform": {"matrix": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}}},
                {"name": "boxes", "type": "annotation", "source": "local://annotations", "annotations": [
                    {"type": "axis_aligned_bounding_box", "id": "b0", "description": "train, hard\teasy train",
                     "pointA": [10, 10, 1], "pointB": [0, 20, 0.5]},
                    {"type": "point", "id": "p", "point": [1, 1, 1]},
                    {"type": "axis_aligned_bounding_box", "id": "b1", "pointA": [0, 0, 0], "pointB": [1, 1, 1]},
                ]},
            ],
        })
    }

    fn read_value(value: &Value) -> Result<Collection, CollectionError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state.json"), value.to_string()).unwrap();
        let folder = Location::Local(dir.path().to_owned());
        read("state.json", None, &folder, &Storage::default())
    }

    #[test]
    fn boxes_are_in_nm_and_tags_are_in_their_descriptions() {
        let c = read_value(&example()).unwrap();
        assert_eq!(c.boxes[0].bounds.min(), [0.0, 40.0, 20.0]);
        assert_eq!(c.boxes[0].bounds.max(), [40.0, 80.0, 40.0]);
        assert_eq!(c.boxes[0].tags, ["train", "hard", "easy"]);
        assert_eq!((c.boxes[1].id.as_str(), c.boxes[1].tags.len()), ("b1", 0));
        assert_eq!(c.other_rows["point"], 1);
    }

    #[test]
    fn boxes_have_the_layers_of_the_state() {
        let c = read_value(&example()).unwrap();
        let layers = &c.boxes[0].layers;
        assert!(
            layers
                .source("img")
                .unwrap()
                .location
                .to_string()
                .ends_with("/img")
        );
        let local = layers.point_source("boxes").unwrap().to_string();
        assert!(local.ends_with("state.json, layer `boxes`"), "{local}");
        let e = layers.source("moved").unwrap_err();
        assert!(matches!(e, LayerError::Unusable { .. }), "{e}");
        assert!(e.to_string().contains("`matrix`"), "{e}");
    }

    #[test]
    fn a_repeated_id_is_an_error_that_names_it() {
        let mut state = example();
        state["layers"][2]["annotations"][2]["id"] = json!("b0");
        let e = read_value(&state).unwrap_err().to_string();
        assert!(e.contains("layers[2].annotations: [2] (id \"b0\")"), "{e}");
    }
}

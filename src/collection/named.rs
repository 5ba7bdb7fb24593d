//! One of several collections of a job: every box gets the tags of the collection, and layers get the names that the config uses.

use std::collections::HashMap;
use std::sync::Arc;

use super::shared_box::with_shared;
use super::{Collection, CollectionError, LayerGroup};
use crate::config::NamedCollectionConfig;
use crate::storage::{Location, Storage};

/// Memory of a text in addition to its bytes.
const TEXT_BYTES: usize = 40;

/// Reads the collection `name`.
pub(super) fn read(
    name: &str,
    config: &NamedCollectionConfig,
    base: &Location,
    storage: &Storage,
) -> Result<Collection, CollectionError> {
    let path = format!("collections.{name}");
    let read = Collection::open_at(&config.collection, &path, base, storage);
    let mut collection = read.map_err(|source| CollectionError::Named {
        name: name.to_owned(),
        source: Box::new(source),
    })?;
    let of_tags = config.tags.iter().map(|tag| tag.len() + TEXT_BYTES);
    // The plan has a copy of the tags, and ids with the name.
    let of_box = name.len() + 2 * of_tags.sum::<usize>();
    let all_bytes = (collection.boxes.len() * of_box) as u64;
    let kept = storage.budget().keep(all_bytes);
    kept.map_err(|over| CollectionError::TooLarge {
        collection: format!("the collection `{name}` with its tags"),
        over,
    })?;
    collection.name = Some(name.to_owned());
    collection.table = config.table.clone();
    if !config.tags.is_empty() {
        for of_box in &mut collection.boxes {
            let own = std::mem::take(&mut of_box.tags);
            of_box.tags = with_shared(&config.tags, own.into_iter());
        }
    }
    if !config.layers.is_empty() {
        // Boxes of the same group still share it afterwards.
        let mut renamed: HashMap<*const LayerGroup, (Arc<LayerGroup>, Arc<LayerGroup>)> =
            HashMap::new();
        for of_box in &mut collection.boxes {
            let (_, group) = renamed
                .entry(Arc::as_ptr(&of_box.layers))
                .or_insert_with(|| {
                    let group = of_box.layers.with_names(name, &config.layers);
                    (Arc::clone(&of_box.layers), Arc::new(group))
                });
            of_box.layers = Arc::clone(group);
        }
    }
    Ok(collection)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn layers_have_the_names_of_the_config_and_boxes_the_tags_of_the_collection() {
        let dir = tempfile::tempdir().unwrap();
        let of_box = |id: &str, tags: &[&str]| json!({"type": "axis_aligned_bounding_box", "id": id, "description": tags.join(" "), "pointA": [0, 0, 0], "pointB": [1, 1, 1]});
        let state = json!({
            "dimensions": {"x": [1e-9, "m"], "y": [1e-9, "m"], "z": [1e-9, "m"]},
            "layers": [
                {"name": "em", "type": "image", "source": "precomputed://file://./em"},
                {"name": "img", "type": "image", "source": "precomputed://file://./other"},
                {"name": "seg", "type": "segmentation", "source": "precomputed://file://./seg"},
                {"name": "boxes", "type": "annotation", "source": "local://annotations",
                 "annotations": [of_box("a", &["x"]), of_box("b", &["t", "y"])]},
            ],
        });
        std::fs::write(dir.path().join("state.json"), state.to_string()).unwrap();
        let config: NamedCollectionConfig = serde_json::from_value(json!({
            "path": "state.json", "tags": ["t"], "layers": {"img": "em", "points": "boxes", "lost": "sg"},
        }))
        .unwrap();
        let folder = Location::Local(dir.path().to_owned());
        let read = read("state", &config, &folder, &Storage::default()).unwrap();
        let boxes = read
            .boxes
            .iter()
            .map(|b| (read.id_in_job(b), b.tags.join(" ")));
        let boxes: Vec<_> = boxes.collect();
        let expected = [("state/a", "t x"), ("state/b", "t y")];
        assert_eq!(
            boxes,
            expected.map(|(id, tags)| (id.to_owned(), tags.to_owned()))
        );
        let [a, b] = &read.boxes[..] else {
            panic!("two boxes")
        };
        assert!(Arc::ptr_eq(&a.layers, &b.layers));
        let place = |name: &str| a.layers.source(name).map(|s| s.location.to_string());
        assert!(place("img").unwrap().ends_with("/em") && place("seg").unwrap().ends_with("/seg"));
        // `em` has another name now, and the collection's own `img` has none.
        let e = place("em").unwrap_err().to_string();
        assert!(e.contains("it has `seg`, `img`, `points`, `lost`"), "{e}");
        let e = place("lost").unwrap_err().to_string();
        let expected = "has no layer `sg`, which `collections.state.layers.lost` names; it has `em`, `img`, `seg`, `boxes`; did you mean `seg`?";
        assert!(e.contains(expected), "{e}");
        // Local annotations are no volumes, under any name.
        let volumes: Vec<_> = a.layers.possible_volumes().collect();
        assert_eq!(volumes, ["seg", "img", "lost"]);
    }
}

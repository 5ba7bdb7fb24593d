//! Boxes without a collection file: the config lists the layers and names the source of the boxes.
//!
//! All boxes share one layer group. The boxes come from the config itself, from a table, or from a layer of
//! precomputed annotations (`box_layer`).

use std::sync::Arc;

use indexmap::IndexMap;

use super::shared_box::{bounds, with_shared};
use super::{Collection, CollectionError, LayerGroup, TaggedBox, box_layer, box_table};
use crate::config::{BoxListConfig, BoxesConfig, BoxesSource};
use crate::storage::{Location, Storage};

/// Reads the boxes. `path` is the JSON path of the collection in the config.
pub(super) fn read(
    config: &BoxesConfig,
    path: &str,
    base: &Location,
    storage: &Storage,
) -> Result<Collection, CollectionError> {
    let layers = Arc::new(LayerGroup::of_sources(
        &format!("{path}.boxes.layers"),
        &config.layers,
        base,
    ));
    let (source, boxes) = match &config.source {
        BoxesSource::List(list) => {
            let name = format!("the config's `{path}.boxes.list`");
            let boxes = listed(list, &name, &config.tags, &layers)?;
            (name, boxes)
        }
        BoxesSource::Csv(table) => box_table::read(table, &config.tags, &layers, base, storage)?,
        BoxesSource::Layer(layer) => box_layer::read(layer, &config.tags, &layers, base, storage)?,
    };
    Ok(Collection {
        name: None,
        table: None,
        source,
        boxes,
        other_rows: IndexMap::new(),
    })
}

/// The boxes of a list in the config, which is called `name` in messages.
fn listed(
    list: &BoxListConfig,
    name: &str,
    shared_tags: &[String],
    layers: &Arc<LayerGroup>,
) -> Result<Vec<TaggedBox>, CollectionError> {
    let unit_nm = list.unit.nm(list.resolution);
    let boxes = list.boxes.iter().zip(list.ids()).enumerate();
    let boxes = boxes.map(|(i, (one, id))| {
        let wrong = || CollectionError::Row {
            file: name.to_owned(),
            row: format!("[{i}]"),
            problem: "a corner is not finite".to_owned(),
        };
        Ok(TaggedBox {
            id,
            tags: with_shared(shared_tags, one.tags.iter().cloned()),
            bounds: bounds(one.min, one.max, unit_nm).ok_or_else(wrong)?,
            layers: Arc::clone(layers),
        })
    });
    boxes.collect()
}

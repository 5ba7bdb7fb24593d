//! Boxes that are precomputed annotations of type AXIS_ALIGNED_BOUNDING_BOX.
//!
//! A box's id is its annotation's; tags come from the config, from a property with names for its values, or
//! both. All boxes share one layer group, which the config lists.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::{Collection, CollectionError, LayerGroup, LayerText, TaggedBox};
use crate::config::{BoxLayerConfig, nearest};
use crate::geometry::BoxNm;
use crate::points::{PointLayer, PropertySpec};
use crate::storage::{Location, MemoryBudget, SourceUrl};

/// The group that all boxes belong to.
const GROUP: &str = "collection.boxes.layers";

pub(super) fn read(
    config: &BoxLayerConfig,
    base: &Location,
    budget: &MemoryBudget,
) -> Result<Collection, CollectionError> {
    let source = SourceUrl::parse(&config.source, base)?;
    let file = source.location.to_string();
    let layer = PointLayer::open(&source, budget)?;
    let tag_property = config
        .tag_property
        .as_ref()
        .map(|name| tag_property(name, layer.properties(), &file))
        .transpose()?;
    let sources = config
        .layers
        .iter()
        .map(|(name, text)| (name.clone(), LayerText::Source(text.clone())));
    let group = Arc::new(LayerGroup {
        id: GROUP.to_owned(),
        sources: sources.collect(),
        base: base.clone(),
        annotations: HashSet::new(),
    });
    let boxes = layer.boxes()?.into_iter().map(|found| {
        let wrong = |problem: String| CollectionError::Row {
            file: file.clone(),
            row: format!("the box {}", found.id),
            problem,
        };
        let [a, b] = found.corners;
        let bounds =
            BoxNm::from_corners(a, b).ok_or_else(|| wrong("a corner is not finite".to_owned()))?;
        let mut tags = config.tags.clone();
        if let Some(property) = tag_property {
            let tag = label(property, &found.properties).map_err(wrong)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(TaggedBox {
            id: found.id.to_string(),
            tags,
            bounds,
            layers: Arc::clone(&group),
        })
    });
    Ok(Collection {
        boxes: boxes.collect::<Result<_, CollectionError>>()?,
        other_rows: IndexMap::new(),
        source: file,
    })
}

/// The property called `name`, if its values have names.
fn tag_property<'l>(
    name: &str,
    properties: &'l [PropertySpec],
    file: &str,
) -> Result<&'l PropertySpec, CollectionError> {
    let wrong = |problem: String| CollectionError::TagProperty {
        file: file.to_owned(),
        problem,
    };
    let names = || properties.iter().map(|p| p.id.as_str());
    let Some(property) = properties.iter().find(|p| p.id == name) else {
        let hint = nearest(name, names())
            .map(|hint| format!("; did you mean `{hint}`?"))
            .unwrap_or_default();
        let known: Vec<&str> = names().collect();
        return Err(wrong(format!(
            "none is called `{name}`, which `tag_property` names; there are {}{hint}",
            known.join(", ")
        )));
    };
    match property.enum_labels.is_empty()
        || property.enum_labels.len() != property.enum_values.len()
    {
        true => Err(wrong(format!(
            "`{name}`, which `tag_property` names, has no `enum_labels`, expected one for each of its `enum_values`"
        ))),
        false => Ok(property),
    }
}

/// The name of the value that a box has.
fn label(property: &PropertySpec, record: &[u8]) -> Result<String, String> {
    let value = property.number(record);
    let position = property.enum_values.iter().position(|v| Some(*v) == value);
    position
        .and_then(|i| property.enum_labels.get(i).cloned())
        .ok_or_else(|| {
            format!(
                "its `{}` is {}, expected one of {:?}",
                property.id,
                value.map_or("nothing".to_owned(), |v| v.to_string()),
                property.enum_values
            )
        })
}

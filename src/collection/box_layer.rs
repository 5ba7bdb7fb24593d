//! Boxes that are precomputed annotations of type AXIS_ALIGNED_BOUNDING_BOX.
//!
//! A box has the id of its annotation. Its tags come from the config, and from a property whose values have labels.

use std::sync::Arc;

use super::shared_box::with_shared;
use super::{CollectionError, LayerGroup, TaggedBox};
use crate::config::{BoxLayerConfig, nearest};
use crate::geometry::BoxNm;
use crate::points::{PointLayer, PropertyNumber, PropertySpec};
use crate::storage::{Location, SourceUrl, Storage};

/// Reads the layer: its location for messages, and its boxes.
pub(super) fn read(
    config: &BoxLayerConfig,
    shared_tags: &[String],
    layers: &Arc<LayerGroup>,
    base: &Location,
    storage: &Storage,
) -> Result<(String, Vec<TaggedBox>), CollectionError> {
    let source = SourceUrl::parse(&config.url, base)?;
    let file = source.location.to_string();
    let layer = PointLayer::open(&source, storage)?;
    let tag_property = config
        .tag_property
        .as_ref()
        .map(|name| tag_property(name, layer.properties(), &file))
        .transpose()?;
    let boxes = layer.boxes()?.into_iter().map(|found| {
        let wrong = |problem: String| CollectionError::Row {
            file: file.clone(),
            row: format!("the box {}", found.id),
            problem,
        };
        let [a, b] = found.corners;
        let bounds =
            BoxNm::from_corners(a, b).ok_or_else(|| wrong("a corner is not finite".to_owned()))?;
        let of_property = tag_property.map(|property| label(property, &found.properties));
        let of_property = of_property.transpose().map_err(wrong)?;
        Ok(TaggedBox {
            id: found.id.to_string(),
            tags: with_shared(shared_tags, of_property.into_iter()),
            bounds,
            layers: Arc::clone(layers),
        })
    });
    let boxes = boxes.collect::<Result<_, CollectionError>>()?;
    Ok((file, boxes))
}

/// The property `name`, if its values have labels.
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
            "there is no property `{name}`, which `tag_property` names; the properties are {}{hint}",
            known.join(", ")
        )));
    };
    let has_labels = !property.enum_labels.is_empty()
        && property.enum_labels.len() == property.enum_values.len();
    if !has_labels {
        return Err(wrong(format!(
            "`{name}`, which `tag_property` names, has no `enum_labels`, expected one for each of its `enum_values`"
        )));
    }
    Ok(property)
}

/// The label of a box's value.
fn label(property: &PropertySpec, record: &[u8]) -> Result<String, String> {
    let value = property.number(record);
    let is_value = |v: &f64| value.is_some_and(|value| value.is_equal(PropertyNumber::of_f64(*v)));
    let position = property.enum_values.iter().position(is_value);
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

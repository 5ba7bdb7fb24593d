//! Layers of objects that are images.

use indexmap::IndexMap;

use super::sources::Sources;
use crate::config::Transform;
use crate::plan::Plan;

/// Warnings about layers that are images by their metadata although arrays show objects of them: the wrong layer may be named.
pub(crate) fn image_warnings(plan: &Plan, sources: &Sources) -> Vec<String> {
    let mut keys_of_layers: IndexMap<&str, Vec<String>> = IndexMap::new();
    for (planned, (name, config)) in plan.arrays.iter().zip(&plan.config.arrays) {
        let mut volumes = planned.source_of_group.iter().map(|s| &sources.volumes[*s]);
        let shows_objects = matches!(config.transform, Transform::ObjectAt(_));
        if shows_objects && volumes.any(|volume| volume.is_image()) {
            let keys = keys_of_layers.entry(&config.layer).or_default();
            keys.push(format!("`arrays.{name}.layer`"));
        }
    }
    let warnings = keys_of_layers.into_iter().map(|(layer, keys)| {
        let keys = keys.join(", ");
        format!(
            "the layer `{layer}` is an image, as its info says, but its values are used as the ids of objects; expected a segmentation at {keys} in the config"
        )
    });
    warnings.collect()
}

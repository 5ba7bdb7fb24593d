//! Opens volumes, with or without a transform.

use std::sync::Arc;

use super::error::VolumeError;
use super::graphene;
use super::interface::Volume;
use super::open_format::{list_resolutions, open_untransformed};
use super::transformed;
use crate::config::LayerConfig;
use crate::geometry::Resolution;
use crate::storage::{SourceUrl, Storage};

/// Opens the volume at `source` at the scale with the given `resolution`, with default settings.
#[cfg(test)]
pub fn open(
    source: &SourceUrl,
    resolution: &Resolution,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    open_layer(source, resolution, &LayerConfig::default(), storage)
}

/// The resolutions of the volume at `source`.
pub fn resolutions(
    source: &SourceUrl,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<Vec<Resolution>, VolumeError> {
    list_resolutions(|none| open_layer(source, none, layer, storage))
}

/// Opens the volume at `source` at the scale with the given `resolution`, with the layer's settings from the config.
pub fn open_layer(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    let supervoxels;
    let source = match source.format.as_deref() {
        Some(graphene::FORMAT) => {
            supervoxels = graphene::supervoxels(source, layer, storage)?;
            &supervoxels
        }
        _ => source,
    };
    match &source.transform {
        None => open_untransformed(source, resolution, layer, storage),
        Some(transform) => transformed::open(source, transform, resolution, layer, storage),
    }
}

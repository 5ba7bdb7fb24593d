//! Opens a volume that decides where points are.

use std::sync::Arc;

use super::error::PointsError;
use crate::config::LayerConfig;
use crate::geometry::Resolution;
use crate::storage::{SourceUrl, Storage};
use crate::volume::{self, Volume};

/// Opens the volume at `source` at the scale with the given `resolution`, which `key` in the config sets.
pub(super) fn open_volume(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
    key: &'static str,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, PointsError> {
    volume::open_layer(source, resolution, layer, storage).map_err(|e| {
        if e.missing_scale().is_none() {
            return e.into();
        }
        PointsError::NoScale {
            key,
            problem: Box::new(e),
        }
    })
}

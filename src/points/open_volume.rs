//! Opens volumes with the roots of their supervoxels, for points and for windows.

use std::sync::Arc;

use super::error::PointsError;
use super::table::read_roots;
use crate::config::LayerConfig;
use crate::fault::Fault;
use crate::geometry::Resolution;
use crate::storage::{Location, SourceUrl, Storage};
use crate::volume::{self, RootMap, Volume, VolumeError};

/// Opens the volume at `source` at the scale with the given `resolution`. `roots` is the table of the roots of its supervoxels.
pub(crate) fn open_layer_with_roots(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
    roots: Option<&Location>,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    let volume = volume::open_layer(source, resolution, layer, storage)?;
    let missing = layer.roots.as_ref().map(|config| config.missing);
    match (read_layer_roots(source, layer, roots, storage)?, missing) {
        (Some(roots), Some(missing)) => volume::with_roots(volume, roots, missing),
        _ => Ok(volume),
    }
}

/// The roots of the supervoxels of the volume at `source`, if `roots` is their table. A job reads a table once, unless two threads begin
/// at the same time.
pub(crate) fn read_layer_roots(
    source: &SourceUrl,
    layer: &LayerConfig,
    roots: Option<&Location>,
    storage: &Storage,
) -> Result<Option<Arc<RootMap>>, VolumeError> {
    let table = layer.roots.as_ref().zip(roots);
    let read = table.map(|(config, file)| read_roots(file, config, storage));
    read.transpose().map_err(|e| VolumeError::Roots {
        location: source.location.to_string(),
        kind: e.kind(),
        source: Box::new(e),
    })
}

/// Opens a volume that decides where points are, as [`open_layer_with_roots`]. `key` in the config sets the resolution.
pub(super) fn open_volume(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
    roots: Option<&Location>,
    key: &'static str,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, PointsError> {
    open_layer_with_roots(source, resolution, layer, roots, storage).map_err(|e| {
        if e.missing_scale().is_none() {
            return e.into();
        }
        PointsError::NoScale {
            key,
            problem: Box::new(e),
        }
    })
}

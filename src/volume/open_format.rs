//! Opens volumes by their format, without a transform.

use std::sync::Arc;

use super::error::VolumeError;
use super::format::VolumeFormat;
use super::hdf5::Hdf5Volume;
use super::interface::Volume;
use super::n5::N5Volume;
use super::precomputed::PrecomputedVolume;
use super::tiff::TiffVolume;
use super::zarr::ZarrVolume;
use crate::config::LayerConfig;
use crate::geometry::Resolution;
use crate::storage::{SourceUrl, Storage};

/// Opens the volume at `source` without its transform.
pub(super) fn open_untransformed(
    source: &SourceUrl,
    resolution: &Resolution,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    let location = &source.location;
    match VolumeFormat::of_source(source, storage)? {
        VolumeFormat::Precomputed => {
            if layer.places_voxels() {
                return Err(VolumeError::RedundantLayerConfig {
                    location: location.to_string(),
                });
            }
            let volume = PrecomputedVolume::open(location, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
        VolumeFormat::Zarr(version) => {
            let volume = ZarrVolume::open(location, version, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
        VolumeFormat::Hdf5 => {
            let volume = Hdf5Volume::open(source, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
        VolumeFormat::Tiff => {
            let volume = TiffVolume::open(location, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
        VolumeFormat::N5 => {
            let volume = N5Volume::open(location, resolution, layer, storage)?;
            Ok(Arc::new(volume))
        }
    }
}

/// The resolutions of the volume that `open` opens at a given resolution.
pub(super) fn list_resolutions(
    open: impl FnOnce(&Resolution) -> Result<Arc<dyn Volume>, VolumeError>,
) -> Result<Vec<Resolution>, VolumeError> {
    // No scale has this resolution, so the error lists those that exist.
    let Some(none) = Resolution::new([f64::MIN_POSITIVE; 3]) else {
        unreachable!("a positive number is a resolution")
    };
    match open(&none) {
        Err(VolumeError::NoScale { available, .. }) => Ok(available),
        Err(e) => Err(e),
        Ok(volume) => Ok(vec![volume.meta().resolution]),
    }
}

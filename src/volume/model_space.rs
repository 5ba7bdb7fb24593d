//! The dimensions of a volume as Neuroglancer defines them: their names, and the voxel size of the first scale.
//!
//! A viewer state's `transform` refers to these dimensions: `x`, `y`, `z` of precomputed volumes; the names of a
//! Zarr array in its own order, or `d0`, `d1`, ... (v3: `dim_0`, ...) if it has none; the names of N5 dimensions.
//! Offsets that only other tools write (plain Zarr arrays, N5) are not part of it: such an array starts at 0.

use super::error::VolumeError;
use super::format::VolumeFormat;
use super::{hdf5, n5, precomputed, tiff, zarr};
use crate::config::LayerConfig;
use crate::geometry::{AXES, Resolution, SourceDimension};
use crate::storage::{SourceUrl, Storage};

/// The dimensions of a volume, with units.
pub(super) struct ModelSpace {
    pub dimensions: Vec<SourceDimension>,
    /// Whether the source names its dimensions.
    pub is_named: bool,
    /// Why the voxel size is unknown, if it is.
    pub unscaled: Option<VolumeError>,
    /// Whether the first voxel is at 0, whatever the attributes say.
    pub begins_at_zero: bool,
}

/// Reads the dimensions of the volume at `source`. `resolutions` returns its scales, the first one first.
pub(super) fn read(
    source: &SourceUrl,
    layer: &LayerConfig,
    resolutions: impl Fn(&LayerConfig) -> Result<Vec<Resolution>, VolumeError>,
    storage: &Storage,
) -> Result<ModelSpace, VolumeError> {
    let location = &source.location;
    let (named, base) = match VolumeFormat::of_source(source, storage)? {
        VolumeFormat::Precomputed => {
            let (named, base) = precomputed::model_space(location, storage)?;
            (named, Some(base))
        }
        VolumeFormat::Zarr(version) => {
            (zarr::model_space(location, version, layer, storage)?, None)
        }
        VolumeFormat::Hdf5 => (hdf5::model_space(source, layer, storage)?, None),
        VolumeFormat::Tiff => (tiff::model_space(), None),
        VolumeFormat::N5 => (n5::model_space(location, layer, storage)?, None),
    };
    let (base, unscaled) = match base {
        Some(base) => (Some(base), None),
        None => first_voxel_size(resolutions(layer))?,
    };
    let dimension = |name: &String| {
        let axis = AXES.iter().position(|axis| name.eq_ignore_ascii_case(axis));
        SourceDimension {
            name: name.clone(),
            unit_nm: axis.and_then(|axis| Some(base?[axis] / named.factors[axis])),
        }
    };
    Ok(ModelSpace {
        dimensions: named.names.iter().map(dimension).collect(),
        is_named: named.is_named,
        unscaled,
        begins_at_zero: named.begins_at_zero,
    })
}

/// The voxel size of the first scale, or why it is unknown.
fn first_voxel_size(
    resolutions: Result<Vec<Resolution>, VolumeError>,
) -> Result<(Option<[f64; 3]>, Option<VolumeError>), VolumeError> {
    match resolutions {
        Ok(all) => Ok((all.first().map(Resolution::nm), None)),
        // The transform defines it instead of attributes that lack it or contradict each other.
        Err(e @ (VolumeError::Incomplete { .. } | VolumeError::InvalidMetadata { .. })) => {
            Ok((None, Some(e)))
        }
        Err(e) => Err(e),
    }
}

/// A letter for each of `rank` dimensions: x, y, z at the positions `xyz`, other letters for the rest.
pub(super) fn axis_letters(rank: usize, xyz: &[usize; 3]) -> String {
    let mut others = "tcsuvwabdefghijklmnopqr".chars();
    let letter = |d: usize| match xyz.iter().position(|p| *p == d) {
        Some(axis) => AXES[axis].chars().next(),
        None => others.next(),
    };
    (0..rank).filter_map(letter).collect()
}

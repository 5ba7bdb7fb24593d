//! What Neuroglancer knows of a volume's dimensions: their names, and the size of a voxel of the first scale.
//!
//! A viewer state's `transform` speaks of these, and of no others: `x`, `y`, `z` of precomputed volumes; the names of a
//! Zarr array in its own order, or `d0`, `d1`, ... (v3: `dim_0`, ...) where it has none; the names of N5's dimensions.
//! Offsets that only other tools write (plain Zarr arrays, N5) are not part of it: such an array begins at 0.

use super::format::VolumeFormat;
use super::{VolumeError, n5, precomputed, zarr};
use crate::config::LayerConfig;
use crate::geometry::{AXES, Resolution, SourceDimension};
use crate::storage::SourceUrl;

/// The dimensions of a volume.
pub(super) struct ModelSpace {
    pub dimensions: Vec<SourceDimension>,
    /// Whether the source names them.
    pub is_named: bool,
    /// Why the source does not say how large its voxels are, if it does not.
    pub unscaled: Option<VolumeError>,
    /// Whether its first voxel is at 0, whatever else is written beside it.
    pub begins_at_zero: bool,
}

/// What a format says of its dimensions.
pub(super) struct FormatDimensions {
    pub names: Vec<String>,
    pub is_named: bool,
    pub begins_at_zero: bool,
    /// Size of the voxels of the one scale, in voxels of the model space, along x, y, z.
    pub factors: [f64; 3],
}

/// Reads what the volume at `source` says of its dimensions. `resolutions` says which scales it has, the first one
/// first.
pub(super) fn read(
    source: &SourceUrl,
    layer: &LayerConfig,
    resolutions: impl Fn(&LayerConfig) -> Result<Vec<Resolution>, VolumeError>,
) -> Result<ModelSpace, VolumeError> {
    let location = &source.location;
    let format = match source.format.as_deref() {
        Some(name) => VolumeFormat::from_name(name),
        None => Some(VolumeFormat::detect(location)?),
    };
    let (named, base) = match format {
        Some(VolumeFormat::Precomputed) => {
            let (named, base) = precomputed::model_space(location)?;
            (named, Some(base))
        }
        Some(VolumeFormat::Zarr(version)) => (zarr::model_space(location, version, layer)?, None),
        Some(VolumeFormat::N5) => (n5::model_space(location, layer)?, None),
        None => return Err(super::unknown_format(source)),
    };
    let (base, unscaled) = match base {
        Some(base) => (Some(base), None),
        None => first(resolutions(layer))?,
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

/// Size of the voxels of the first scale, or why the source does not say it.
fn first(
    resolutions: Result<Vec<Resolution>, VolumeError>,
) -> Result<(Option<[f64; 3]>, Option<VolumeError>), VolumeError> {
    match resolutions {
        Ok(all) => Ok((all.first().map(Resolution::nm), None)),
        // A transform says it in place of attributes that lack it or contradict each other.
        Err(e @ (VolumeError::Incomplete { .. } | VolumeError::InvalidMetadata { .. })) => {
            Ok((None, Some(e)))
        }
        Err(e) => Err(e),
    }
}

/// One letter for each of `rank` dimensions: those of x, y, z at the positions `xyz`, others for the rest.
pub(super) fn letters(rank: usize, xyz: &[usize; 3]) -> String {
    let mut others = "tcsuvwabdefghijklmnopqr".chars();
    let letter = |d: usize| match xyz.iter().position(|p| *p == d) {
        Some(axis) => AXES[axis].chars().next(),
        None => others.next(),
    };
    (0..rank).filter_map(letter).collect()
}

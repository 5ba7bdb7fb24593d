//! The first voxel of an array, from the offset in its attributes.

use super::array::SpatialArray;
use super::document::AttributesDocument;
use super::scale;
use super::units::{Units, format_nm, length_in_nm};
use crate::config::LayerConfig;
use crate::geometry::{AXES, MAX_VOXEL, Resolution};
use crate::volume::VolumeError;
use crate::volume::axes::ArrayAxes;
use crate::volume::first_voxel::first_voxel_of_center;

/// Tolerance for whole voxels, for rounding errors of decimal numbers.
const TOLERANCE_VOXELS: f64 = 0.01;

/// The voxel of the grid that is the array's first, from the config, or else from the attributes. `stated` is the
/// resolution in the attributes.
pub(super) fn first_voxel(
    array: &SpatialArray<'_>,
    axes: &ArrayAxes,
    layer: &LayerConfig,
    stated: Option<Resolution>,
) -> Result<[i64; 3], VolumeError> {
    if let Some(voxel_offset) = layer.voxel_offset {
        return Ok(voxel_offset);
    }
    let corner = corner_nm(array, axes)?;
    let center = scale::transform(array)?.map(|(document, t)| (document, t.center_nm));
    let Some(resolution) = layer.resolution.or(stated) else {
        return Ok([0; 3]);
    };
    if let (Some(config), Some(stated)) = (layer.resolution, stated)
        && !config.matches(&stated)
        && let Some((document, nm)) = [&corner, &center]
            .into_iter()
            .flatten()
            .find(|(_, nm)| nm != &[0.0; 3])
    {
        return Err(document.invalid(
            "offset",
            format!(
                "found an offset of {} and voxels of {}, but `resolution` in the config's `layers` is {}: set `voxel_offset` there too",
                format_nm(nm),
                format_nm(&stated.nm()),
                format_nm(&config.nm())
            ),
        ));
    }
    let of_corner = corner
        .map(|(document, nm)| whole_voxel(&document, nm, &resolution))
        .transpose()?;
    let of_center = match &center {
        None => None,
        Some((document, nm)) => {
            let voxel = first_voxel_of_center(*nm, &resolution);
            let far = || {
                document.invalid(
                    "transform",
                    format!(
                        "found the first voxel at {}, which is out of range",
                        format_nm(nm)
                    ),
                )
            };
            Some(voxel.ok_or_else(far)?)
        }
    };
    match (of_corner, of_center) {
        (Some(corner), Some(center)) if corner != center => Err(array.own.invalid(
            "offset",
            format!(
                "the first voxel is {corner:?} (x y z), but `transform` says {center:?}: set the right one as `voxel_offset` in the config's `layers`"
            ),
        )),
        (corner, center) => Ok(corner.or(center).unwrap_or_default()),
    }
}

/// The lower corner of the first voxel, and the document that defines it.
fn corner_nm<'a>(
    array: &SpatialArray<'a>,
    axes: &ArrayAxes,
) -> Result<Option<(AttributesDocument<'a>, [f64; 3])>, VolumeError> {
    let documents = [Some(array.own), array.parent.map(|p| p.document)];
    for document in documents.into_iter().flatten() {
        let Some(mut list) = document.numbers("offset")? else {
            continue;
        };
        let reversed = scale::is_reversed(array, &document, "offset", &list)?;
        if reversed {
            list.reverse();
        }
        let values = array.xyz_of(&list, axes).ok_or_else(|| {
            let problem = format!(
                "found {list:?} for the dimensions {:?}, expected one number for each, or for x, y, z",
                array.shape
            );
            document.invalid("offset", problem)
        })?;
        let units = offset_units(array, &document, axes, reversed, values != [0.0; 3])?;
        let mut corner = [0.0; 3];
        for d in 0..3 {
            corner[d] = length_in_nm(values[d], &units[d])
                .map_err(|e| document.invalid("offset_unit", e))?;
        }
        return Ok(Some((document, corner)));
    }
    Ok(None)
}

/// The units of the offset: its own, those of all lists, or nm.
fn offset_units(
    array: &SpatialArray<'_>,
    document: &AttributesDocument<'_>,
    axes: &ArrayAxes,
    reversed: bool,
    needed: bool,
) -> Result<[String; 3], VolumeError> {
    for key in ["offset_unit", "offset_units", "units", "unit"] {
        match document.units(key)? {
            None => {}
            Some(Units::One(unit)) => return Ok(std::array::from_fn(|_| unit.clone())),
            Some(Units::Each(mut list)) => {
                if reversed {
                    list.reverse();
                }
                let problem = || {
                    document.invalid(key, format!("found {list:?} for the dimensions {:?}, expected a unit for each, or for x, y, z", array.shape))
                };
                return array.xyz_of(&list, axes).ok_or_else(problem);
            }
        }
    }
    let other = document
        .get("pixelResolution")
        .and_then(|p| p.get("unit"))
        .and_then(|u| u.as_str());
    match other.filter(|unit| needed && length_in_nm(1.0, unit).ok() != Some(1.0)) {
        None => Ok(Default::default()),
        Some(unit) => Err(document.invalid(
            "offset",
            format!("it has no unit, but `pixelResolution` has {unit:?}: set the position of the array as `voxel_offset` in the config's `layers`"),
        )),
    }
}

/// The voxel with this lower corner. The corner must be on the voxel grid.
fn whole_voxel(
    document: &AttributesDocument<'_>,
    corner_nm: [f64; 3],
    resolution: &Resolution,
) -> Result<[i64; 3], VolumeError> {
    let mut first = [0; 3];
    for d in 0..3 {
        let (corner, size) = (corner_nm[d], resolution.nm()[d]);
        let voxels = corner / size;
        if voxels.is_nan() || voxels.abs() > MAX_VOXEL as f64 {
            let problem = format!("found {}, which is out of range", format_nm(&corner_nm));
            return Err(document.invalid("offset", problem));
        }
        if (voxels - voxels.round()).abs() > TOLERANCE_VOXELS {
            let axis = AXES[d];
            return Err(document.invalid(
                "offset",
                format!(
                    "found {corner} nm along {axis}, which is {voxels} voxels of {size} nm, expected whole voxels: windows are cut on whole voxels. Set the first voxel as `voxel_offset` in the config's `layers`"
                ),
            ));
        }
        first[d] = voxels.round() as i64;
    }
    Ok(first)
}

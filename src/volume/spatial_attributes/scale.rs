//! The size of an array's voxels, from its attributes and those of its pyramid.

use serde_json::Value;

use super::array::{DimensionOrder, SpatialArray};
use super::document::AttributesDocument;
use super::units::{Units, format_nm, length_in_nm};
use crate::geometry::{AXES, Resolution};
use crate::hdf5::is_unsupported;
use crate::volume::VolumeError;
use crate::volume::axes::ArrayAxes;

/// Keys of the voxel size. In a pyramid they define the size at level 0.
const SIZE_KEYS: [&str; 3] = ["pixelResolution", "resolution", "voxel_size"];

/// A voxel size, and the attribute that defines it.
struct StatedSize {
    path: String,
    nm: [f64; 3],
}

/// CellMap's `transform`, along x, y, z.
pub(super) struct CellMapTransform {
    scale_nm: [f64; 3],
    pub(super) center_nm: [f64; 3],
}

/// The resolution in the array's attributes, or in its group's. `None` if neither defines one.
pub(super) fn resolution(
    array: &SpatialArray<'_>,
    axes: &ArrayAxes,
) -> Result<Option<Resolution>, VolumeError> {
    let mut stated = Vec::new();
    if let Some((_, transform)) = transform(array)? {
        stated.push(StatedSize {
            path: "transform".to_owned(),
            nm: transform.scale_nm,
        });
    }
    for key in SIZE_KEYS {
        if let Some(size) = size_nm(array, &array.own, axes, key)? {
            let nm = size_at_level(array, axes, key, size, stated.first())?;
            stated.push(StatedSize {
                path: key.to_owned(),
                nm,
            });
        }
    }
    if stated.is_empty() {
        stated.extend(size_from_group(array, axes)?);
    }
    let Some(first) = stated.first() else {
        return Ok(None);
    };
    let size = |s: &StatedSize| {
        Resolution::new(s.nm).ok_or_else(|| {
            let problem = format!(
                "found {}, expected numbers greater than 0",
                format_nm(&s.nm)
            );
            array.own.invalid(&s.path, problem)
        })
    };
    let resolution = size(first)?;
    for other in &stated[1..] {
        if !size(other)?.matches(&resolution) {
            return Err(array.own.invalid(
                &first.path,
                format!(
                    "it defines voxels of {}, but `{}` defines {}: set the right size as `resolution` in the config's `layers`",
                    format_nm(&first.nm),
                    other.path,
                    format_nm(&other.nm)
                ),
            ));
        }
    }
    Ok(Some(resolution))
}

/// The voxel size of `array` if its attribute `key` is `size`: that size, or that size times the downsampling factors.
fn size_at_level(
    array: &SpatialArray<'_>,
    axes: &ArrayAxes,
    key: &str,
    size: [f64; 3],
    transform: Option<&StatedSize>,
) -> Result<[f64; 3], VolumeError> {
    let own = factors(array, axes, true)?;
    let of_group = match own {
        Some(_) => None,
        None => factors(array, axes, false)?,
    };
    let Some(factors) = own.or(of_group).filter(|f| f != &[1.0; 3]) else {
        return Ok(size);
    };
    let times = |size: [f64; 3]| std::array::from_fn(|d| size[d] * factors[d]);
    let product: [f64; 3] = times(size);
    if let Some(transform) = transform {
        return Ok(if sizes_match(&transform.nm, &product) {
            product
        } else {
            size
        });
    }
    let base = base_size(array, axes)?;
    if base.is_some_and(|base| sizes_match(&base, &size)) {
        return Ok(product);
    }
    if base.is_some_and(|base| sizes_match(&times(base), &size)) {
        return Ok(size);
    }
    match (key, own.is_some()) {
        // N5Viewer and Neuroglancer multiply.
        ("pixelResolution", true) if base.is_none() => Ok(product),
        // CellMap writes each level's own size, and the factors into the group.
        (_, false) if base.is_none() => Ok(size),
        _ => Err(array.own.invalid(
            key,
            format!(
                "found {} and downsampling factors {factors:?}: the voxels of this level have this size or, multiplied, {}. Set the right size as `resolution` in the config's `layers`",
                format_nm(&size),
                format_nm(&product)
            ),
        )),
    }
}

/// The voxel size of the pyramid's level 0, if the group or that level defines it.
fn base_size(array: &SpatialArray<'_>, axes: &ArrayAxes) -> Result<Option<[f64; 3]>, VolumeError> {
    let Some(parent) = &array.parent else {
        return Ok(None);
    };
    for document in [Some(parent.document), parent.base].into_iter().flatten() {
        for key in SIZE_KEYS {
            if let Some(size) = size_nm(array, &document, axes, key)? {
                return Ok(Some(size));
            }
        }
    }
    Ok(None)
}

/// The voxel size from the group: the size at level 0 times the factors of this level.
fn size_from_group(
    array: &SpatialArray<'_>,
    axes: &ArrayAxes,
) -> Result<Option<StatedSize>, VolumeError> {
    let Some(parent) = &array.parent else {
        return Ok(None);
    };
    for key in SIZE_KEYS {
        let Some(size) = size_nm(array, &parent.document, axes, key)? else {
            continue;
        };
        let own = factors(array, axes, true)?;
        let factors = match own {
            Some(own) => Some(own),
            None => factors(array, axes, false)?,
        };
        let factors = match (factors, parent.level()) {
            (Some(factors), _) => factors,
            (None, None | Some(0)) => [1.0; 3],
            (None, Some(level)) => {
                let problem = format!(
                    "the group defines a resolution, but neither it nor {} defines the downsamplingFactors of its level s{level}",
                    array.own.object
                );
                return Err(parent.document.invalid(key, problem));
            }
        };
        return Ok(Some(StatedSize {
            path: key.to_owned(),
            nm: std::array::from_fn(|d| size[d] * factors[d]),
        }));
    }
    Ok(None)
}

/// How many voxels of level 0 make one voxel of this level, from the array itself (`own`) or from its group.
fn factors(
    array: &SpatialArray<'_>,
    axes: &ArrayAxes,
    own: bool,
) -> Result<Option<[f64; 3]>, VolumeError> {
    const KEY: &str = "downsamplingFactors";
    let (document, key, list) = if own {
        let Some(list) = array.own.numbers(KEY)? else {
            return Ok(None);
        };
        (array.own, KEY, list)
    } else {
        let Some((parent, level)) = array.parent.and_then(|p| Some((p, p.level()?))) else {
            return Ok(None);
        };
        let of_level = |key| Some((key, parent.document.get(key)?.get(level)?));
        let mut found = ["scales", KEY].into_iter().filter_map(of_level);
        let Some((key, value)) = found.find(|(_, value)| value.is_array()) else {
            return Ok(None);
        };
        let list = parent.document.as_numbers(key, value)?;
        (parent.document, key, list)
    };
    let wrong =
        |expected: &str| document.invalid(key, format!("found {list:?}, expected {expected}"));
    let list = if is_reversed(array, &document, "pixelResolution", &list)? {
        list.iter().rev().copied().collect()
    } else {
        list.clone()
    };
    let factors = array
        .xyz_of(&list, axes)
        .ok_or_else(|| wrong("a factor for each dimension, or for x, y, z"))?;
    if !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
        return Err(wrong("numbers greater than 0"));
    }
    Ok(Some(factors))
}

/// The size in `key` of `document`, in nm.
fn size_nm(
    array: &SpatialArray<'_>,
    document: &AttributesDocument<'_>,
    axes: &ArrayAxes,
    key: &str,
) -> Result<Option<[f64; 3]>, VolumeError> {
    let (mut list, own_unit) = match document.get(key) {
        None => return Ok(None),
        Some(value @ Value::Object(object)) if !is_unsupported(value) => {
            let path = format!("{key}.dimensions");
            let list = object.get("dimensions").unwrap_or(&Value::Null);
            let unit = object.get("unit").and_then(Value::as_str);
            (document.as_numbers(&path, list)?, unit)
        }
        Some(list) => (document.as_numbers(key, list)?, None),
    };
    let reversed = is_reversed(array, document, key, &list)?;
    if reversed {
        list.reverse();
    }
    let wrong = |path: &str, found: String| {
        let shape = array.shape;
        let problem = format!(
            "found {found} for the dimensions {shape:?}, expected one for each, or for x, y, z"
        );
        document.invalid(path, problem)
    };
    let values = array
        .xyz_of(&list, axes)
        .ok_or_else(|| wrong(key, format!("{list:?}")))?;
    let units = units_of_size(document, key, own_unit)?;
    let (at, units) = match units {
        None => (key, Default::default()),
        Some((at, Units::One(unit))) => (at, std::array::from_fn(|_| unit.clone())),
        Some((at, Units::Each(mut units))) => {
            if reversed {
                units.reverse();
            }
            let picked = array.xyz_of(&units, axes);
            (at, picked.ok_or_else(|| wrong(at, format!("{units:?}")))?)
        }
    };
    let mut size = [0.0; 3];
    for d in 0..3 {
        size[d] = length_in_nm(values[d], &units[d]).map_err(|e| document.invalid(at, e))?;
    }
    Ok(Some(size))
}

/// The units of the size in `key`, and the member that defines them. `own_unit` is the unit inside `key`.
fn units_of_size<'k>(
    document: &AttributesDocument<'_>,
    key: &'k str,
    own_unit: Option<&str>,
) -> Result<Option<(&'k str, Units)>, VolumeError> {
    if let Some(unit) = own_unit {
        return Ok(Some((key, Units::One(unit.to_owned()))));
    }
    for key in ["resolution_unit", "resolution_units", "units", "unit"] {
        if let Some(units) = document.units(key)? {
            return Ok(Some((key, units)));
        }
    }
    Ok(None)
}

/// Whether a list in `document` has the reverse of the order of the array's dimensions. Fails if that is unknown and
/// the order makes a difference.
pub(super) fn is_reversed(
    array: &SpatialArray<'_>,
    document: &AttributesDocument<'_>,
    key: &str,
    list: &[f64],
) -> Result<bool, VolumeError> {
    let symmetric = list.iter().eq(list.iter().rev());
    let has = |key: &str| document.get(key).is_some();
    let funlib = has("voxel_size") && !has("resolution") && !has("pixelResolution");
    let of_funlib = key == "voxel_size" || (key == "offset" && funlib);
    let (reversed, sure) = match array.order {
        // From 0.5 on, funlib.persistence writes lists in numpy's order into N5.
        DimensionOrder::F if of_funlib => (true, has("axis_names")),
        // Java's N5 library writes its own order into Zarr. Python tools expect numpy's order there.
        DimensionOrder::C if key == "pixelResolution" => (true, false),
        _ => (false, true),
    };
    if sure || symmetric || has("transform") {
        return Ok(reversed);
    }
    Err(document.invalid(
        key,
        format!(
            "found {list:?}, which some tools write in the order of the array's dimensions and others in the reverse order: set `resolution` and `voxel_offset` (x y z) in the config's `layers`"
        ),
    ))
}

/// The `transform` of the array, or the one for it in its group.
pub(super) fn transform<'a>(
    array: &SpatialArray<'a>,
) -> Result<Option<(AttributesDocument<'a>, CellMapTransform)>, VolumeError> {
    if let Some(value) = array.own.get("transform") {
        let transform = parse_transform(value).map_err(|e| array.own.invalid("transform", e))?;
        return Ok(Some((array.own, transform)));
    }
    let Some(parent) = array.parent else {
        return Ok(None);
    };
    let multiscales = parent.document.get("multiscales").and_then(|m| m.get(0));
    let datasets = multiscales.and_then(|m| m.get("datasets")?.as_array());
    let of_array = |d: &&Value| d.get("path").and_then(Value::as_str) == Some(parent.name);
    let listed = datasets.and_then(|d| d.iter().find(of_array)?.get("transform"));
    let transform = listed.map(|value| {
        let path = "multiscales[0].datasets";
        parse_transform(value).map_err(|e| {
            parent
                .document
                .invalid(path, format!("{}: {e}", parent.name))
        })
    });
    Ok(transform.transpose()?.map(|t| (parent.document, t)))
}

fn parse_transform(value: &Value) -> Result<CellMapTransform, String> {
    let list = |key: &str| {
        let list = value.get(key).and_then(Value::as_array);
        list.ok_or_else(|| {
            format!("found no list `{key}`, expected lists axes, scale, translate and units")
        })
    };
    let (names, scale) = (list("axes")?, list("scale")?);
    let (translate, units) = (list("translate")?, list("units")?);
    let rank = names.len();
    if [scale.len(), translate.len(), units.len()] != [rank; 3] {
        return Err(format!(
            "found lists of different lengths, expected {rank} values in each"
        ));
    }
    let mut transform = CellMapTransform {
        scale_nm: [0.0; 3],
        center_nm: [0.0; 3],
    };
    for (d, name) in AXES.into_iter().enumerate() {
        let is_axis = |a: &Value| a.as_str().is_some_and(|a| a.eq_ignore_ascii_case(name));
        let axis = names.iter().position(is_axis);
        let axis = axis.ok_or_else(|| format!("found no axis {name}, expected x, y and z"))?;
        let unit = units[axis].as_str().unwrap_or_default();
        let length = |of: &Value| {
            let number = of
                .as_f64()
                .ok_or_else(|| format!("found {of}, expected a number"))?;
            length_in_nm(number, unit)
        };
        transform.scale_nm[d] = length(&scale[axis])?;
        transform.center_nm[d] = length(&translate[axis])?;
    }
    Ok(transform)
}

/// Whether two sizes are equal except for rounding errors of decimal numbers.
fn sizes_match(a: &[f64; 3], b: &[f64; 3]) -> bool {
    match (Resolution::new(*a), Resolution::new(*b)) {
        (Some(a), Some(b)) => a.matches(&b),
        _ => false,
    }
}

//! OME-Zarr (NGFF 0.4 and 0.5) multiscale images: finds the level with a given resolution, and its position.
//!
//! The `coordinateTransformations` of the level and then of the image are scales and translations. They are combined to
//! one scale and one translation per axis. The axes define the units. The translation is the centre of the first voxel;
//! [`first_voxel_of_center`] rounds it.
//!
//! The crate `ome_zarr_metadata` is not used: it reads scales and translations as `f32`, which moves arrays with large
//! offsets, and it rejects unknown members and images without a version.

use serde::Deserialize;
use serde_json::{Value, json};

use super::node::Node;
use crate::geometry::{AXES, Resolution, length_nm};
use crate::volume::VolumeError;
use crate::volume::first_voxel::first_voxel_of_center;
use crate::volume::unit_names::unit_symbol;

/// One level of an image.
#[derive(Clone, Debug)]
pub(super) struct OmeLevel {
    /// The key of its array, relative to the group.
    pub path: String,
    /// Names of the array's dimensions.
    pub axes: Vec<String>,
    pub resolution: Resolution,
    pub first_voxel: [i64; 3],
}

#[derive(Deserialize)]
struct Multiscale {
    axes: Vec<OmeAxis>,
    datasets: Vec<OmeDataset>,
    #[serde(default, rename = "coordinateTransformations")]
    transformations: Vec<Transformation>,
}

#[derive(Deserialize)]
struct OmeAxis {
    name: String,
    unit: Option<String>,
}

#[derive(Deserialize)]
struct OmeDataset {
    path: String,
    #[serde(rename = "coordinateTransformations")]
    transformations: Vec<Transformation>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Transformation {
    Identity,
    Scale { scale: Vec<f64> },
    Translation { translation: Vec<f64> },
}

/// The level of the image in `node` with the resolution `wanted`.
pub(super) fn level(node: &Node, wanted: &Resolution) -> Result<OmeLevel, VolumeError> {
    let (at, multiscale) = multiscale(node)?;
    let mut available = Vec::new();
    for (i, dataset) in multiscale.datasets.iter().enumerate() {
        let invalid = |problem| node.invalid(format!("{at}.datasets[{i}]"), problem);
        let placed = level_position(&multiscale, dataset).map_err(invalid)?;
        if placed.resolution.matches(wanted) {
            let voxel = first_voxel_of_center(placed.center_nm, &placed.resolution);
            let first_voxel = voxel.ok_or_else(|| {
                let nm = placed.center_nm;
                invalid(format!(
                    "found the first voxel at {nm:?} nm, which is out of range"
                ))
            })?;
            return Ok(OmeLevel {
                path: dataset.path.trim_matches('/').to_owned(),
                axes: multiscale.axes.iter().map(|a| a.name.clone()).collect(),
                resolution: placed.resolution,
                first_voxel,
            });
        }
        available.push(placed.resolution);
    }
    Err(VolumeError::NoScale {
        object: node.object.clone(),
        wanted: *wanted,
        available,
        config_may_set: false,
    })
}

/// The names of the image's axes, in the order of its arrays.
pub(super) fn axis_names(node: &Node) -> Result<Vec<String>, VolumeError> {
    let (_, multiscale) = multiscale(node)?;
    Ok(multiscale.axes.into_iter().map(|a| a.name).collect())
}

/// The image's metadata and its path in the document.
fn multiscale(node: &Node) -> Result<(String, Multiscale), VolumeError> {
    let attributes = &node.attributes;
    let (at, list) = match attributes.get("ome").and_then(|o| o.get("multiscales")) {
        Some(list) => ("attributes.ome.multiscales", Some(list)),
        None => ("multiscales", attributes.get("multiscales")),
    };
    let images = match list {
        Some(Value::Array(images)) => images.as_slice(),
        Some(found) => {
            return Err(node.invalid(
                at.into(),
                format!("found {found}, expected a list of images"),
            ));
        }
        None => {
            let problem = "this Zarr group is not an OME-Zarr image, expected `multiscales` metadata: use an array inside it, or the folder of the image, as the source";
            return Err(node.invalid(".".into(), problem.into()));
        }
    };
    let [image] = images else {
        let problem = format!(
            "found {} images, expected one: use the array of one level as the source, and set `resolution` and `voxel_offset` in the config's `layers`",
            images.len()
        );
        return Err(node.invalid(at.into(), problem));
    };
    let at = format!("{at}[0]");
    let cosem = cosem_as_ome(image);
    let multiscale = serde_path_to_error::deserialize(cosem.as_ref().unwrap_or(image)).map_err(|e| {
        let version = image.get("version").and_then(Value::as_str);
        let version = version.map_or(String::new(), |v| format!(" (this says {v})"));
        node.invalid(
            format!("{at}.{}", e.path()),
            format!("{}; expected an image of OME-Zarr 0.4 or 0.5{version} with scales and translations", e.inner()),
        )
    })?;
    Ok((at, multiscale))
}

/// Converts a COSEM image to OME-Zarr. It has no axes, but a `transform` for each level.
fn cosem_as_ome(image: &Value) -> Option<Value> {
    if image.get("axes").is_some() {
        return None;
    }
    let list = |dataset: &Value, key: &str| {
        let transform = dataset.get("transform")?;
        let mut list = transform.get(key)?.as_array()?.clone();
        // Slowest axis first, unless `order` is `F`.
        if transform.get("order").is_some_and(|order| order == "F") {
            list.reverse();
        }
        Some(list)
    };
    let datasets = image.get("datasets")?.as_array()?;
    let (names, units) = (
        list(datasets.first()?, "axes")?,
        list(datasets.first()?, "units")?,
    );
    let level = |dataset: &Value| {
        let all_equal = list(dataset, "axes")? == names && list(dataset, "units")? == units;
        let (scale, translation) = (list(dataset, "scale")?, list(dataset, "translate")?);
        let transformations = [
            json!({"type": "scale", "scale": scale}),
            json!({"type": "translation", "translation": translation}),
        ];
        let path = dataset.get("path")?;
        all_equal.then(|| json!({"path": path, "coordinateTransformations": transformations}))
    };
    let axes = names.iter().zip(&units);
    let axes = axes.map(|(name, unit)| json!({"name": name, "unit": unit}));
    Some(json!({
        "axes": axes.collect::<Vec<_>>(),
        "datasets": datasets.iter().map(level).collect::<Option<Vec<_>>>()?,
    }))
}

/// A level's resolution and the centre of its first voxel.
struct LevelPosition {
    resolution: Resolution,
    center_nm: [f64; 3],
}

fn level_position(multiscale: &Multiscale, dataset: &OmeDataset) -> Result<LevelPosition, String> {
    let rank = multiscale.axes.len();
    let (mut scale, mut translation) = (vec![1.0; rank], vec![0.0; rank]);
    for transformation in dataset
        .transformations
        .iter()
        .chain(&multiscale.transformations)
    {
        let (values, name) = match transformation {
            Transformation::Identity => continue,
            Transformation::Scale { scale } => (scale, "scale"),
            Transformation::Translation { translation } => (translation, "translation"),
        };
        if values.len() != rank {
            return Err(format!(
                "its {name} has {} values, expected one for each of the {rank} axes",
                values.len()
            ));
        }
        for (d, v) in values.iter().enumerate() {
            match transformation {
                Transformation::Translation { .. } => translation[d] += v,
                _ => {
                    scale[d] *= v;
                    translation[d] *= v;
                }
            }
        }
    }
    let (mut resolution, mut center_nm) = ([0.0; 3], [0.0; 3]);
    for (d, name) in AXES.into_iter().enumerate() {
        let axis = multiscale
            .axes
            .iter()
            .position(|a| a.name.eq_ignore_ascii_case(name));
        let axis = axis.ok_or_else(|| format!("found no axis {name}, expected x, y and z"))?;
        let unit = multiscale.axes[axis].unit.as_deref();
        let to_nm = |v| {
            length_nm(v, unit_symbol(unit.unwrap_or_default())).ok_or_else(|| {
                format!("the unit of axis {name} is {unit:?}, expected a unit of length, such as \"nanometer\": alternatively, use the array of one level as the source, and set `resolution` and `voxel_offset` in the config's `layers`")
            })
        };
        resolution[d] = to_nm(scale[axis])?;
        center_nm[d] = to_nm(translation[axis])?;
    }
    let resolution = Resolution::new(resolution).ok_or_else(|| {
        format!("found a scale of {resolution:?} nm, expected numbers greater than 0")
    })?;
    Ok(LevelPosition {
        resolution,
        center_nm,
    })
}

#[cfg(test)]
mod tests;

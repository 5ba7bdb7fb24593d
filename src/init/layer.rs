//! The contents of layers: each is opened once, and only its metadata are read.

use rayon::prelude::*;

use super::content::{AnnotationFacts, Content, OpenedLayer, VolumeFacts};
use super::error_chain::chain;
use super::source::Found;
use super::{InitError, table_columns};
use crate::collection::LayerGroup;
use crate::config::LayerConfig;
use crate::data_type::DataType;
use crate::geometry::Resolution;
use crate::neuroglancer::{ANNOTATIONS, VOLUME, info_kind, read_info};
use crate::points::{Anchor, PointLayer, PropertySpec};
use crate::storage::{SourceUrl, Storage};
use crate::volume;

/// Parts of names of label volumes, for volumes whose metadata do not tell images from labels.
const LABEL_WORDS: [&str; 11] = [
    "seg",
    "label",
    "mask",
    "cell",
    "object",
    "instance",
    "nuclei",
    "neuron",
    "gt",
    "supervoxel",
    "ids",
];

/// Opens every layer and table that was found. `resolution` is that of volumes that do not state theirs.
pub(super) fn open_all(
    found: &Found,
    resolution: Option<Resolution>,
    storage: &Storage,
) -> Vec<OpenedLayer> {
    let names: Vec<&str> = found.layers.names().collect();
    let layers = names.par_iter().map(|name| {
        let kind = found.types.get(*name).map(String::as_str);
        OpenedLayer {
            name: (*name).to_owned(),
            source: found.layers.source(name).ok(),
            content: open(&found.layers, name, kind, resolution, storage),
        }
    });
    let mut opened: Vec<OpenedLayer> = layers.collect();
    let bounds = opened.iter().find_map(|layer| match &layer.content {
        Content::Volume(volume) => Some((volume.bounds, volume.scales[0])),
        _ => None,
    });
    opened.extend(found.tables.iter().map(|(name, location)| OpenedLayer {
        name: name.clone(),
        source: None,
        content: table_columns::open(location, bounds, storage),
    }));
    opened
}

/// The layer `name` of `group`; `kind` is its type in a viewer state.
fn open(
    group: &LayerGroup,
    name: &str,
    kind: Option<&str>,
    resolution: Option<Resolution>,
    storage: &Storage,
) -> Content {
    let source = match group.source(name) {
        Ok(source) => source,
        Err(e) => return Content::Unusable(chain(&e)),
    };
    let info = match source.format.as_deref() {
        None | Some("precomputed" | "neuroglancer-precomputed") => {
            read_info(&source.location, "an info file", storage).ok()
        }
        _ => None,
    };
    let what = info.as_ref().and_then(|info| info_kind(&info.value));
    let is_local = matches!(source.format.as_deref(), Some("neuroglancer-state"));
    if kind == Some("annotation") || is_local || what == Some(ANNOTATIONS) {
        return annotations(group, name, storage);
    }
    if let Some(other) = what.filter(|what| *what != VOLUME) {
        return Content::Unusable(format!("it holds {other}, not a volume or annotations"));
    }
    let says = info.as_ref().and_then(|info| info.value.get("type"));
    let is_segmentation = says.is_some_and(|says| says == "segmentation");
    let kind = kind.or(is_segmentation.then_some("segmentation"));
    let open = |layer| open_volume(&source, name, kind, layer, storage);
    let opened = open(LayerConfig::default()).or_else(|e| match resolution {
        None => Err(e),
        given => open(LayerConfig {
            resolution: given,
            ..LayerConfig::default()
        }),
    });
    opened.map_or_else(Content::Unusable, Content::Volume)
}

/// The volume with this entry in `layers` of the config.
fn open_volume(
    source: &SourceUrl,
    name: &str,
    kind: Option<&str>,
    layer: LayerConfig,
    storage: &Storage,
) -> Result<VolumeFacts, String> {
    let of_layer = |e: volume::VolumeError| chain(&e.of_layer(name));
    let mut scales = volume::resolutions(source, &layer, storage).map_err(of_layer)?;
    let voxel_nm3 = |r: &Resolution| r.nm().iter().product::<f64>();
    scales.sort_by(|a, b| voxel_nm3(a).total_cmp(&voxel_nm3(b)));
    let finest = scales.first().ok_or("it has no scale")?;
    let opened = volume::open_layer(source, finest, &layer, storage).map_err(of_layer)?;
    let meta = opened.meta();
    let is_labels = match kind {
        Some("segmentation") => true,
        Some("image") => looks_like_labels("", meta.data_type),
        _ => looks_like_labels(name, meta.data_type),
    };
    Ok(VolumeFacts {
        bounds: meta.grid.bounds().nm(finest),
        data_type: meta.data_type,
        is_labels,
        scales,
        given_resolution: layer.resolution,
    })
}

/// Whether a volume that does not say what it holds probably holds labels. (The info of many label volumes says `image`,
/// which is what some writers write for all volumes.)
fn looks_like_labels(name: &str, data_type: DataType) -> bool {
    let name = name.to_lowercase();
    match data_type {
        DataType::UInt32 | DataType::UInt64 | DataType::Int32 | DataType::Int64 => true,
        DataType::Float32 | DataType::Float64 => false,
        _ => LABEL_WORDS.iter().any(|word| name.contains(word)),
    }
}

fn annotations(group: &LayerGroup, name: &str, storage: &Storage) -> Content {
    let opened = group.point_source(name).map_err(|e| chain(&e));
    let opened = opened.and_then(|source| source.open(storage).map_err(|e| chain(&e)));
    match opened {
        Ok(layer) => Content::Annotations(facts(&layer)),
        Err(e) => Content::Unusable(e),
    }
}

fn facts(layer: &PointLayer) -> AnnotationFacts {
    let is_labelled =
        |p: &&PropertySpec| !p.enum_labels.is_empty() && p.enum_labels.len() == p.enum_values.len();
    let labelled = layer.properties().iter().find(is_labelled);
    AnnotationFacts {
        kind: layer.kind(),
        extent: layer.extent(Anchor::Midpoint).ok().flatten(),
        labelled_property: labelled.map(|p| p.id.clone()),
    }
}

/// The error where no layer is a volume.
pub(super) fn no_volume(found: &Found, layers: &[OpenedLayer]) -> InitError {
    let problems = layers.iter().map(|layer| {
        let problem = match &layer.content {
            Content::Unusable(why) => why,
            _ => "it holds no voxels",
        };
        format!("`{}`: {problem}", layer.name)
    });
    InitError::NoVolume {
        source_name: found.name.clone(),
        problems: problems.collect(),
    }
}

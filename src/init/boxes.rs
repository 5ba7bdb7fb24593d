//! The boxes of a draft: from a collection, a table or a layer, or an invented box around the annotations.

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::content::{Content, OpenedLayer};
use super::grid::Grid;
use super::source::{CollectionRef, Found, quoted};
use super::split::{TagSplits, chosen_for_validation, of_tags};
use super::{InitError, Target, text};
use crate::collection::{Collection, TaggedBox};
use crate::config::{
    BoxLayerConfig, BoxTableConfig, BoxesConfig, BoxesSource, CollectionConfig, CollectionSource,
    LengthUnit,
};
use crate::geometry::{AXES, BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;
use crate::points::PointSource;
use crate::storage::{Location, Storage, redacted_source};

/// Maximum number of windows along an edge of an invented box.
const MOST_WINDOWS: f64 = 64.0;

/// An invented box is split in two if it is at least this many windows long.
const LEAST_WINDOWS: f64 = 8.0;

/// The part of an invented box that is for training.
const TRAINING_PART: f64 = 0.8;

/// The collection and the splits of a config.
#[derive(Debug)]
pub(super) struct DraftedBoxes {
    pub(super) collection: Value,
    pub(super) splits: IndexMap<String, Value>,
    /// The annotation layer that holds the boxes: it holds no samples.
    pub(super) layer: Option<String>,
    pub(super) checks: Vec<String>,
}

/// The boxes in one of the forms of the config, read.
struct Boxes {
    collection: Value,
    boxes: Vec<TaggedBox>,
    layer: Option<String>,
}

/// Reads the boxes, or invents one, and decides on splits.
pub(super) fn choose(
    found: &Found,
    layers: &[OpenedLayer],
    grid: &Grid,
    target: &Target,
    storage: &Storage,
) -> Result<DraftedBoxes, InitError> {
    let (shared, mut checks) = layer_sources(found, layers, target);
    let Some(read) = read(found, layers, grid, &shared, target, storage)? else {
        return invented(layers, grid, shared, checks);
    };
    let count = read.boxes.len();
    let mut drafted = DraftedBoxes {
        collection: read.collection,
        splits: IndexMap::new(),
        layer: read.layer,
        checks: Vec::new(),
    };
    match of_tags(read.boxes.iter().flat_map(|b| &b.tags)) {
        TagSplits::Named(splits) => {
            drafted.checks.push(format!(
                "splits: {}, by the tags of the {count} boxes",
                quoted(splits.keys())
            ));
            drafted.splits = splits;
        }
        TagSplits::Other(splits) => {
            drafted.checks.push(format!(
                "splits: no tag of the {count} boxes names a split, so every box with a tag is in `train`; name the tags of \
                 your splits"
            ));
            drafted.splits = splits;
        }
        TagSplits::None => untagged(&mut drafted, &read.boxes, shared, checks.is_empty()),
    }
    drafted.checks.append(&mut checks);
    Ok(drafted)
}

/// The splits of boxes without tags: they are listed in the config, with tags.
fn untagged(
    drafted: &mut DraftedBoxes,
    boxes: &[TaggedBox],
    shared: IndexMap<String, Value>,
    lists_all_layers: bool,
) {
    let count = boxes.len();
    let one_group = boxes
        .windows(2)
        .all(|pair| pair[0].layers.id() == pair[1].layers.id());
    if !one_group || !lists_all_layers {
        drafted.splits = IndexMap::from([("train".to_owned(), json!({"none": ["val"]}))]);
        drafted.checks.push(format!(
            "splits: guessed, because none of the {count} boxes has a tag: all are in `train`; tag some boxes `val` and add \
             \"val\": [\"val\"]"
        ));
        return;
    }
    let ids: Vec<String> = boxes.iter().map(|b| b.id.clone()).collect();
    let chosen = chosen_for_validation(&ids);
    let validation = chosen.iter().filter(|c| **c).count();
    let listed = boxes.iter().zip(&chosen).map(|(b, is_val)| {
        let tag = if *is_val { "val" } else { "train" };
        json!({"id": b.id, "min": b.bounds.min(), "max": b.bounds.max(), "tags": [tag]})
    });
    let listed: Vec<Value> = listed.collect();
    drafted.collection = json!({"boxes": {"list": listed, "layers": shared}});
    drafted.splits = splits(validation > 0);
    drafted.checks.push(format!(
        "splits: guessed, because the boxes have no tags: {} of {count} boxes are `train` and {validation} `val`, chosen by a \
         seeded hash; the boxes are listed in the config, so change their `tags` there",
        count - validation
    ));
}

fn splits(has_validation: bool) -> IndexMap<String, Value> {
    let names = ["train", "val"];
    let names = &names[..1 + usize::from(has_validation)];
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!([name])))
        .collect()
}

/// The boxes of the source, in the form in which the config names them.
fn read(
    found: &Found,
    layers: &[OpenedLayer],
    grid: &Grid,
    shared: &IndexMap<String, Value>,
    target: &Target,
    storage: &Storage,
) -> Result<Option<Boxes>, InitError> {
    if let Some((name, collection)) = &found.collection {
        return Ok(Some(Boxes {
            collection: reference(name, target),
            boxes: collection.boxes.clone(),
            layer: None,
        }));
    }
    for layer in layers {
        match &layer.content {
            Content::BoxTable(location) => {
                let volumes = layers.iter().filter_map(OpenedLayer::volume);
                let bounds = volumes.map(|v| v.bounds).next();
                return of_table(location, bounds, grid, shared, target, storage).map(Some);
            }
            Content::Annotations(facts) if facts.kind == Some(GeometryKind::Box) => {
                let property = facts.labelled_property.clone();
                return of_layer(found, layer, property, shared, target, storage).map(Some);
            }
            _ => {}
        }
    }
    Ok(None)
}

/// How the config names a collection.
fn reference(name: &CollectionRef, target: &Target) -> Value {
    let state = |source: String, layer: &Option<String>| match layer {
        None => json!({"neuroglancer_state": {"source": source}}),
        Some(layer) => json!({"neuroglancer_state": {"source": source, "layer": layer}}),
    };
    match name {
        CollectionRef::Place(place) => json!(text::of_location(place, target.folder())),
        CollectionRef::StateFile(place, layer) => {
            state(text::of_location(place, target.folder()), layer)
        }
        CollectionRef::PastedState(url, layer) => state(redacted_source(url).into_owned(), layer),
    }
}

/// The boxes of a table, in the unit in which they are inside `bounds`.
fn of_table(
    location: &Location,
    bounds: Option<BoxNm>,
    grid: &Grid,
    shared: &IndexMap<String, Value>,
    target: &Target,
    storage: &Storage,
) -> Result<Boxes, InitError> {
    let (folder, file) = location.split_file().ok_or_else(|| InitError::Missing {
        source_name: location.to_string(),
    })?;
    let read = |unit, resolution| {
        let table = BoxTableConfig {
            file: file.clone(),
            unit,
            resolution,
            delimiter: None,
        };
        open(BoxesSource::Csv(table), &folder, storage)
    };
    let inside = |boxes: &[TaggedBox]| {
        let Some(bounds) = bounds else { return true };
        let middles = boxes.iter().map(|b| middle(&b.bounds));
        middles.filter(|middle| bounds.contains(middle)).count() * 2 > boxes.len()
    };
    let in_nm = read(LengthUnit::Nm, None)?;
    let written = text::of_location(location, target.folder());
    if !inside(&in_nm) {
        let in_voxels = read(LengthUnit::Voxel, Some(grid.resolution))?;
        if inside(&in_voxels) {
            let unit = json!({"csv": written, "unit": "voxel", "resolution": grid.resolution, "layers": shared});
            return Ok(Boxes {
                collection: json!({ "boxes": unit }),
                boxes: in_voxels,
                layer: None,
            });
        }
    }
    Ok(Boxes {
        collection: json!({"boxes": {"csv": written, "layers": shared}}),
        boxes: in_nm,
        layer: None,
    })
}

/// The boxes of a layer of precomputed annotations.
fn of_layer(
    found: &Found,
    layer: &OpenedLayer,
    tag_property: Option<String>,
    shared: &IndexMap<String, Value>,
    target: &Target,
    storage: &Storage,
) -> Result<Boxes, InitError> {
    let url = found
        .layers
        .written(&layer.name)
        .unwrap_or_default()
        .to_owned();
    let source = BoxesSource::Layer(BoxLayerConfig {
        url,
        tag_property: tag_property.clone(),
    });
    let boxes = open(source, found.layers.base(), storage)?;
    let written = layer
        .source
        .as_ref()
        .map(|s| text::of_layer(s, target.folder()));
    let mut others = shared.clone();
    others.shift_remove(&layer.name);
    let mut config = json!({"source": written, "layers": others});
    if let Some(property) = tag_property {
        config["tag_property"] = json!(property);
    }
    Ok(Boxes {
        collection: json!({ "boxes": config }),
        boxes,
        layer: Some(layer.name.clone()),
    })
}

fn open(
    source: BoxesSource,
    base: &Location,
    storage: &Storage,
) -> Result<Vec<TaggedBox>, InitError> {
    let config = CollectionConfig::Source(CollectionSource::Boxes(BoxesConfig {
        source,
        layers: IndexMap::new(),
        tags: Vec::new(),
    }));
    Ok(Collection::open(&config, base, storage)?.boxes)
}

/// The sources of all layers that can be used, as boxes in the config list them; and those that they cannot list.
fn layer_sources(
    found: &Found,
    layers: &[OpenedLayer],
    target: &Target,
) -> (IndexMap<String, Value>, Vec<String>) {
    let mut sources = IndexMap::new();
    let mut checks = Vec::new();
    for layer in layers {
        let is_moved = layer.source.as_ref().is_some_and(|s| s.transform.is_some());
        match &layer.content {
            Content::Volume(_) | Content::Annotations(_) if is_moved => checks.push(format!(
                "layer `{}`: the viewer state moves it by a `transform`, which boxes in the config cannot do; tag the boxes in \
                 the state (in their description) and use the state as `collection`",
                layer.name
            )),
            Content::Volume(_) | Content::Annotations(_) => {
                if let Some(source) = source_text(found, layer, target) {
                    sources.insert(layer.name.clone(), json!(source));
                }
            }
            Content::Table(..) | Content::BoxTable(_) | Content::Unusable(_) => {}
        }
    }
    (sources, checks)
}

fn source_text(found: &Found, layer: &OpenedLayer, target: &Target) -> Option<String> {
    if let Ok(PointSource::ViewerState {
        address,
        base,
        layer: Some(name),
    }) = found.layers.point_source(&layer.name)
    {
        let place = match base.resolve(&address) {
            Ok(place) if !address.contains("#!") => text::of_location(&place, target.folder()),
            _ => redacted_source(&address).into_owned(),
        };
        return Some(PointSource::text_of_state(&place, &name));
    }
    let source = layer.source.as_ref()?;
    Some(text::of_layer(source, target.folder()))
}

/// One box around the annotations, split into a part for training and a part for validation.
fn invented(
    layers: &[OpenedLayer],
    grid: &Grid,
    shared: IndexMap<String, Value>,
    mut checks: Vec<String>,
) -> Result<DraftedBoxes, InitError> {
    let whole = around(layers, grid).ok_or(InitError::NoExtent)?;
    let parts = divide(&whole, grid);
    let listed = parts
        .iter()
        .map(|(tag, part)| json!({"id": tag, "min": part.min(), "max": part.max(), "tags": [tag]}));
    let listed: Vec<Value> = listed.collect();
    let parts_text = match parts.len() {
        1 => "one box, `train`".to_owned(),
        _ => "two boxes, `train` and `val`, one window apart".to_owned(),
    };
    checks.insert(
        0,
        format!(
            "boxes: none were found, so the config has {parts_text}, from {} to {} nm; replace them by boxes in which every \
             annotation is proofread",
            corner(whole.min()),
            corner(whole.max())
        ),
    );
    Ok(DraftedBoxes {
        collection: json!({"boxes": {"list": listed, "layers": shared}}),
        splits: splits(parts.len() > 1),
        layer: None,
        checks,
    })
}

fn corner(nm: [f64; 3]) -> String {
    format!("({})", nm.map(|v| format!("{v}")).join(", "))
}

/// The box of all voxels that every volume has and the annotations cover, limited in size.
fn around(layers: &[OpenedLayer], grid: &Grid) -> Option<BoxNm> {
    let volumes: Vec<BoxNm> = layers
        .iter()
        .filter_map(OpenedLayer::volume)
        .map(|v| v.bounds)
        .collect();
    let annotations = layers
        .iter()
        .filter_map(OpenedLayer::annotations)
        .filter_map(|a| a.extent);
    let mut whole = volumes.first().copied();
    for other in volumes.iter().copied().skip(1).chain(annotations) {
        whole = whole.map(|whole| overlap(&whole, &other).unwrap_or(whole));
    }
    let whole = whole?;
    let most = grid.window_nm().map(|nm| nm * MOST_WINDOWS);
    let PointNm(middle) = middle(&whole);
    let min = |d: usize| whole.min()[d].max(middle[d] - most[d] / 2.0).floor();
    let max = |d: usize| whole.max()[d].min(middle[d] + most[d] / 2.0).ceil();
    boxed(std::array::from_fn(min), std::array::from_fn(max))
}

fn boxed(min: [f64; 3], max: [f64; 3]) -> Option<BoxNm> {
    BoxNm::from_corners(PointNm(min), PointNm(max))
}

fn middle(b: &BoxNm) -> PointNm {
    PointNm(b.min()).midpoint(&PointNm(b.max()))
}

/// What two boxes share, if it has a volume.
fn overlap(a: &BoxNm, b: &BoxNm) -> Option<BoxNm> {
    let min = std::array::from_fn(|d| a.min()[d].max(b.min()[d]));
    let max: [f64; 3] = std::array::from_fn(|d| a.max()[d].min(b.max()[d]));
    boxed(min, max).filter(|_| (0..3).all(|d| min[d] < max[d]))
}

/// The parts for training and validation: along the axis with the most windows, one window apart, so that no window of
/// one shares voxels with one of the other.
fn divide(whole: &BoxNm, grid: &Grid) -> Vec<(&'static str, BoxNm)> {
    let window = grid.window_nm();
    let windows = |d: &usize| (whole.max()[*d] - whole.min()[*d]) / window[*d];
    let longest = (0..AXES.len())
        .max_by(|a, b| windows(a).total_cmp(&windows(b)))
        .unwrap_or(0);
    if windows(&longest) < LEAST_WINDOWS {
        return vec![("train", *whole)];
    }
    let length = whole.max()[longest] - whole.min()[longest];
    let (mut train_max, mut val_min) = (whole.max(), whole.min());
    train_max[longest] = (whole.min()[longest] + length * TRAINING_PART).round();
    // A voxel more, because windows begin at whole voxels.
    let gap = window[longest] + grid.resolution.nm()[longest];
    val_min[longest] = (train_max[longest] + gap).ceil();
    match (boxed(whole.min(), train_max), boxed(val_min, whole.max())) {
        (Some(train), Some(val)) => vec![("train", train), ("val", val)],
        _ => vec![("train", *whole)],
    }
}

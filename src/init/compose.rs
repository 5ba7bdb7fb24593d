//! The config of a draft, from what the layers hold. Pure.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::boxes::DraftedBoxes;
use super::content::{Content, OpenedLayer, VolumeFacts};
use super::grid::Grid;
use super::source::{Found, quoted};
use super::text::{array_name, of_location, triple};
use super::{Draft, Target};
use crate::config::is_reserved_array_name;
use crate::neuroglancer::GeometryKind;

/// If the end of a line is on background, the nearest object within this distance is used.
const RADIUS_NM: f64 = 50.0;

/// Parts of names of label volumes that hold synapses, not cells.
const SYNAPSE_WORDS: [&str; 2] = ["syn", "cleft"];

/// The placeholder for a name that a person has to write.
pub(super) const PLACEHOLDER: &str = "NAME_OF_THE_ANNOTATION_LAYER";

/// The annotations that are samples.
struct Points<'l> {
    value: Value,
    name: &'l str,
    kind: Option<GeometryKind>,
}

/// The draft, before it is planned.
pub(super) fn compose(
    found: &Found,
    layers: &[OpenedLayer],
    grid: &Grid,
    boxes: DraftedBoxes,
    target: &Target,
) -> Draft {
    let candidates = points(found, layers, &boxes, target);
    let chosen = candidates.first();
    let is_lines = chosen.is_some_and(|points| points.kind == Some(GeometryKind::Line));
    let (arrays, object_layer) = arrays(layers, grid, is_lines);
    let points = match chosen {
        Some(points) => points.value.clone(),
        None => json!({ "layer": PLACEHOLDER }),
    };
    let mut checks = Vec::new();
    if chosen.is_none() {
        checks.push(format!(
            "points: no annotations were found; replace `{PLACEHOLDER}` by the name of an annotation layer, or by a table: \
             {{\"table\": {{\"file\": \"points.csv\", \"unit\": \"nm\", \"point\": [\"x\", \"y\", \"z\"]}}}}"
        ));
    }
    checks.extend(found.checks.iter().cloned());
    checks.extend(boxes.checks);
    checks.push(of_resolution(layers, grid));
    checks.push(of_window(grid));
    checks.extend(of_points(&candidates));
    checks.push(format!(
        "arrays: {}; remove those that you do not need",
        of_arrays(&arrays)
    ));
    if let Some(layer) = object_layer {
        checks.push(format!(
            "`target_pre` and `target_post` are the objects of `{layer}` at the start and the end of each line; swap them if \
             your lines run from post to pre. An end on background takes the nearest object within {RADIUS_NM} nm"
        ));
    }
    checks.extend(unusable(layers));
    let mut config = json!({
        "collection": boxes.collection,
        "resolution": grid.resolution,
        "window": grid.window,
        "points": points,
        "arrays": arrays,
        "splits": boxes.splits,
        "leaks": "error",
    });
    let given = given_resolutions(layers);
    if !given.is_empty() {
        config["layers"] = given.into();
    }
    Draft { config, checks }
}

/// The annotations that may be samples, the most likely first: lines, then points, then others.
fn points<'l>(
    found: &Found,
    layers: &'l [OpenedLayer],
    boxes: &DraftedBoxes,
    target: &Target,
) -> Vec<Points<'l>> {
    let of_layer = |layer: &'l OpenedLayer| {
        let (value, kind) = match &layer.content {
            Content::Annotations(facts) => (json!({ "layer": layer.name }), facts.kind),
            Content::Table(columns, kind) => {
                let mut table = json!(columns);
                let location = found.tables.get(&layer.name)?;
                table["file"] = json!(of_location(location, target.folder()));
                (json!({ "table": table }), Some(*kind))
            }
            _ => return None,
        };
        let is_box = kind == Some(GeometryKind::Box) || boxes.layer.as_ref() == Some(&layer.name);
        let name = layer.name.as_str();
        (!is_box).then_some(Points { value, name, kind })
    };
    let of_cremi = found.cremi.as_ref().map(|file| Points {
        value: json!({ "cremi": { "file": of_location(file, target.folder()) } }),
        name: "annotations",
        kind: Some(GeometryKind::Line),
    });
    let of_layers = layers.iter().filter_map(of_layer);
    let mut points: Vec<Points> = of_cremi.into_iter().chain(of_layers).collect();
    let rank = |p: &Points| {
        let kind = match p.kind {
            Some(GeometryKind::Line) => 0,
            Some(GeometryKind::Point) => 1,
            _ => 2,
        };
        (kind, !p.name.to_lowercase().contains("syn"))
    };
    points.sort_by_key(rank);
    points
}

/// The arrays, and the layer whose objects two of them show.
fn arrays(
    layers: &[OpenedLayer],
    grid: &Grid,
    is_lines: bool,
) -> (Map<String, Value>, Option<String>) {
    let volumes = || {
        layers
            .iter()
            .filter_map(|layer| Some((layer, layer.volume()?)))
    };
    let holds_cells = |layer: &OpenedLayer| {
        let name = layer.name.to_lowercase();
        !SYNAPSE_WORDS.iter().any(|word| name.contains(word))
    };
    let objects = volumes()
        .filter(|(_, volume)| is_lines && volume.holds_ids())
        .min_by_key(|(layer, _)| !holds_cells(layer));
    let mut arrays = Map::new();
    let mut add = |name: String, layer: &OpenedLayer, volume: &VolumeFacts, more: Value| {
        let role = if volume.is_labels { "target" } else { "image" };
        let mut array = json!({ "layer": layer.name, "role": role });
        if let Some((scale, interpolation)) = grid.resampled(volume) {
            array["data_resolution"] = json!(scale);
            array["interpolation"] = json!(interpolation);
        }
        if !more.is_null() {
            array["transform"] = more;
        }
        let known: Vec<String> = arrays.keys().map(|k| k.to_ascii_lowercase()).collect();
        let is_free = |name: &str| {
            !known.contains(&name.to_ascii_lowercase()) && !is_reserved_array_name(name)
        };
        let mut free = name.clone();
        let mut number = 2;
        while !is_free(&free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        arrays.insert(free, array);
    };
    for (layer, volume) in volumes().filter(|(_, volume)| !volume.is_labels) {
        add(array_name(&layer.name), layer, volume, Value::Null);
    }
    if let Some((layer, volume)) = objects {
        for (name, point) in [("target_pre", "start"), ("target_post", "end")] {
            let transform = json!({"object_at": {"point": point, "radius_nm": RADIUS_NM}});
            add(name.to_owned(), layer, volume, transform);
        }
    }
    let object_layer = objects.map(|(layer, _)| layer.name.clone());
    for (layer, volume) in volumes().filter(|(_, volume)| volume.is_labels) {
        if object_layer.as_ref() != Some(&layer.name) {
            let name = format!("target_{}", array_name(&layer.name));
            add(name, layer, volume, Value::Null);
        }
    }
    (arrays, object_layer)
}

/// The entries in `layers` of volumes whose resolution a person gave.
fn given_resolutions(layers: &[OpenedLayer]) -> Map<String, Value> {
    let given = layers.iter().filter_map(|layer| {
        let resolution = layer.volume()?.given_resolution?;
        Some((layer.name.clone(), json!({ "resolution": resolution })))
    });
    given.collect()
}

fn of_resolution(layers: &[OpenedLayer], grid: &Grid) -> String {
    let nm = triple(grid.resolution.nm());
    let volumes = layers
        .iter()
        .filter_map(|layer| Some((layer, layer.volume()?)));
    if grid.is_shared {
        format!(
            "resolution: {nm} nm, the finest that all volumes have; a coarser one makes a smaller dataset"
        )
    } else {
        let others = volumes.filter_map(|(layer, volume)| {
            let (scale, how) = grid.resampled(volume)?;
            Some(format!(
                "`{}` from {} nm (`{how}`)",
                layer.name,
                triple(scale.nm())
            ))
        });
        let others: Vec<_> = others.collect();
        format!(
            "resolution: {nm} nm, the finest that most volumes have; resampled: {}",
            others.join(", ")
        )
    }
}

fn of_window(grid: &Grid) -> String {
    let window = grid.window.map(f64::from);
    format!(
        "window: {} voxels, which are {} nm; it should hold what the network needs to see",
        triple(window),
        triple(grid.window_nm())
    )
}

fn of_points(candidates: &[Points]) -> Option<String> {
    let (chosen, others) = candidates.split_first()?;
    let kind = chosen.kind.map_or("mixed annotations".to_owned(), |kind| {
        format!("{}s", kind.name().to_lowercase())
    });
    let mut text = format!("points: the {kind} of `{}`", chosen.name);
    if chosen.kind == Some(GeometryKind::Line) {
        text.push_str(", each with its window around the midpoint (`anchor`)");
    }
    if let Some(table) = chosen.value.get("table") {
        text.push_str(&format!(
            "; check the columns and the unit `{}`, which were guessed",
            table["unit"].as_str().unwrap_or_default()
        ));
    }
    if !others.is_empty() {
        let others = others.iter().map(|p| p.name);
        text.push_str(&format!("; other annotations: {}", quoted(others)));
    }
    Some(text)
}

fn of_arrays(arrays: &Map<String, Value>) -> String {
    let by_role = |role: &str| {
        let of_role = arrays.iter().filter(|(_, array)| array["role"] == role);
        let names: Vec<&str> = of_role.map(|(name, _)| name.as_str()).collect();
        let plural = if names.len() == 1 { "" } else { "s" };
        (!names.is_empty()).then(|| format!("{role}{plural} {}", quoted(names)))
    };
    let parts: IndexMap<&str, String> = ["image", "target"]
        .into_iter()
        .filter_map(|role| Some((role, by_role(role)?)))
        .collect();
    parts.into_values().collect::<Vec<_>>().join(", ")
}

fn unusable(layers: &[OpenedLayer]) -> impl Iterator<Item = String> {
    layers.iter().filter_map(|layer| match &layer.content {
        Content::Unusable(why) => Some(format!("layer `{}` is left out: {why}", layer.name)),
        _ => None,
    })
}

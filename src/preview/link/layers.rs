//! Layers of volumes: the sources, and arrays of the dataset.

use serde_json::{Map, Value, json};

use super::coordinates::length;
use crate::dataset::SourceEntry;
use crate::geometry::AXES;
use crate::preview::picture::OVERLAY_COLORS;
use crate::preview::sample::{ArrayKind, ShownArray};

/// A source as a layer, at `url`. `array` is one that was cut from it.
pub(super) fn source(
    name: &str,
    url: &str,
    entry: &SourceEntry,
    array: Option<&ShownArray>,
) -> Value {
    let scheme = match entry.format.as_deref() {
        None => String::new(),
        Some("neuroglancer-precomputed") => "precomputed://".to_owned(),
        Some(format) => format!("{format}://"),
    };
    let kind = array.map_or(ArrayKind::Gray, |a| a.kind);
    let mut layer = layer(name, kind, array);
    layer.insert("source".into(), json!(format!("{scheme}{url}")));
    layer.into()
}

/// A sample to show, or the first one of a split.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedSample {
    pub position: u64,
    /// First voxel of its window, x, y, z.
    pub start: [f64; 3],
    /// nm per voxel, x, y, z.
    pub resolution_nm: [f64; 3],
}

/// An array of the dataset as a layer, at `url`: its windows one after the other along a dimension of its own, at the place of
/// `sample`.
pub(super) fn dataset_array(
    name: &str,
    url: &str,
    array: &ShownArray,
    sample: PlacedSample,
) -> Value {
    let [mut stored, mut shown] = [Map::new(), Map::new()];
    let mut rows = Vec::new();
    // In a viewer state, `'` marks a dimension of the layer alone, and `^` one of channels, which segmentations do not have.
    // Without these, both would be dimensions of the whole view.
    let channel = if array.kind.is_image() {
        "channel^"
    } else {
        "channel'"
    };
    for (place, name) in ["sample'", channel].into_iter().enumerate() {
        stored.insert(name.trim_end_matches(['\'', '^']).into(), json!([1, ""]));
        shown.insert(name.into(), json!([1, ""]));
        rows.push(translation(place, 0.0));
    }
    // The last three dimensions are z, y, x.
    for (place, axis) in [2, 1, 0].into_iter().enumerate() {
        let length = length(sample.resolution_nm[axis]);
        stored.insert(AXES[axis].into(), length.clone());
        shown.insert(AXES[axis].into(), length);
        rows.push(translation(place + 2, sample.start[axis]));
    }
    let mut layer = layer(name, array.kind, Some(array));
    layer.insert(
        "source".into(),
        json!({
            "url": format!("zarr3://{url}"),
            "transform": {
                "inputDimensions": stored,
                "outputDimensions": shown,
                "matrix": rows,
            },
        }),
    );
    let local = shown.iter().filter(|(name, _)| name.ends_with('\''));
    let local: Map<_, _> = local
        .map(|(name, length)| (name.clone(), length.clone()))
        .collect();
    // The middle of the sample, and of the first channel: each covers the range from its position to the next one.
    let middles = [sample.position as f64 + 0.5, 0.5];
    layer.insert("localPosition".into(), json!(middles[..local.len()]));
    layer.insert("localDimensions".into(), local.into());
    layer.into()
}

/// The row of a matrix that keeps the dimension and adds `offset`.
fn translation(dimension: usize, offset: f64) -> Vec<f64> {
    let mut row = vec![0.0; 6];
    row[dimension] = 1.0;
    row[5] = offset;
    row
}

/// A layer without its source.
fn layer(name: &str, kind: ArrayKind, array: Option<&ShownArray>) -> Map<String, Value> {
    let mut layer = Map::new();
    let is_image = kind.is_image();
    layer.insert(
        "type".into(),
        json!(if is_image { "image" } else { "segmentation" }),
    );
    layer.insert("name".into(), json!(name));
    match (kind, array) {
        (ArrayKind::Color, _) => {
            let shader = "void main() {\n  emitRGB(vec3(toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), toNormalized(getDataValue(2))));\n}\n";
            layer.insert("shader".into(), json!(shader));
        }
        (ArrayKind::Gray, Some(array)) => {
            let [low, high] = array.range;
            let value = |share: f64| low + share * (high - low);
            let range = array.contrast.map(value);
            let range = if array.data_type.is_float() {
                range
            } else {
                range.map(f64::round)
            };
            layer.insert(
                "shaderControls".into(),
                json!({ "normalized": { "range": range } }),
            );
        }
        (_, Some(array)) if !array.is_segmentation => {
            let [r, g, b] = OVERLAY_COLORS[array.color % OVERLAY_COLORS.len()];
            let color = format!("#{r:02x}{g:02x}{b:02x}");
            layer.insert("segmentDefaultColor".into(), json!(color));
        }
        _ => {}
    }
    layer
}

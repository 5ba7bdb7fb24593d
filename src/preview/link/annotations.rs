//! Annotation layers: boxes of a split, samples, dropped annotations.

use serde_json::{Value, json};

use super::coordinates::Coordinates;
use crate::dataset::BoxEntry;
use crate::preview::overview::PointList;

/// Colors of splits; further splits begin again.
const COLORS: [&str; 6] = [
    "#56b4e9", "#f08030", "#2fc598", "#e0a0c4", "#f3d05e", "#d5d9de",
];

/// The color of a split.
pub(super) fn split_color(number: usize) -> &'static str {
    COLORS[number % COLORS.len()]
}

/// The color of dropped annotations.
pub(super) const DROPPED_COLOR: &str = "#ff3030";

/// A layer of boxes.
pub(super) fn boxes(
    name: &str,
    color: &str,
    boxes: &[&BoxEntry],
    coordinates: Coordinates,
) -> Value {
    let annotations = boxes.iter().enumerate().map(|(number, b)| {
        json!({
            "type": "axis_aligned_bounding_box",
            "pointA": coordinates.voxels(b.min_nm),
            "pointB": coordinates.voxels(b.max_nm),
            "id": number.to_string(),
            "description": b.id,
        })
    });
    layer(name, color, annotations.collect(), coordinates)
}

/// A layer of points.
pub(super) fn points(name: &str, color: &str, list: &PointList, coordinates: Coordinates) -> Value {
    // An annotation may be in several boxes, but ids in a layer are unique.
    let annotations = list.points.iter().enumerate().map(|(number, point)| {
        json!({
            "type": "point",
            "point": coordinates.voxels(point.center_nm),
            "id": number.to_string(),
            "description": point.annotation_id.to_string(),
        })
    });
    layer(name, color, annotations.collect(), coordinates)
}

fn layer(name: &str, color: &str, annotations: Vec<Value>, coordinates: Coordinates) -> Value {
    json!({
        "type": "annotation",
        "source": {
            "url": "local://annotations",
            "transform": { "outputDimensions": coordinates.dimensions() },
        },
        "annotations": annotations,
        "annotationColor": color,
        "name": name,
    })
}

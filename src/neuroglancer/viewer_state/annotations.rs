//! The annotations in a viewer state, converted from the units of the layer to nm.

use serde_json::{Map, Value};

use super::error::StateError;
use super::field_path::FieldPath;
use super::layer::StateLayer;
use super::transform;
use crate::geometry::{Dimensions, PlacedAxis, Placement, PointNm, spatial_axes};
use crate::neuroglancer::GeometryKind;

/// The annotations of one layer.
#[derive(Debug)]
pub struct LocalAnnotations {
    /// The document and the path of the list in it, for messages.
    pub object: String,
    /// The annotations in the order of the document.
    pub rows: Vec<StateAnnotation>,
    /// `annotationProperties` as in the document. The values of each annotation have the same order.
    pub properties: Vec<Value>,
    /// `annotationRelationships` as in the document, or null.
    pub relationships: Value,
}

/// One annotation.
#[derive(Debug, PartialEq)]
pub struct StateAnnotation {
    /// Its id: any text.
    pub id: String,
    /// Its kind, which defines the meaning of `points`.
    pub kind: GeometryKind,
    /// A point; two end points or corners; a centre (without radii); the points of a polyline.
    pub points: Vec<PointNm>,
    /// The description that the user entered.
    pub description: Option<String>,
    /// Values of the properties. May be shorter than the list of properties.
    pub props: Vec<Value>,
    /// `segments` as in the document, or null: the related objects.
    pub segments: Value,
}

/// The meaning of a layer's coordinates.
struct LayerCoordinates {
    rank: usize,
    placed: Placement,
    /// For each dimension the range of all coordinates.
    seen: Vec<(f64, f64)>,
}

/// Reads the annotations of `layer`.
pub(super) fn read(
    layer: &StateLayer,
    viewer_dimensions: Option<&Dimensions>,
    root: &FieldPath,
) -> Result<LocalAnnotations, StateError> {
    let at = FieldPath {
        path: layer.path.clone(),
        ..root.clone()
    };
    let (names, placed) = space(layer, viewer_dimensions, &at)?;
    let mut space = LayerCoordinates {
        rank: names.len(),
        placed,
        seen: vec![(f64::INFINITY, f64::NEG_INFINITY); names.len()],
    };
    let at_rows = at.member("annotations");
    let none = Vec::new();
    let rows = match layer.members.get("annotations") {
        None | Some(Value::Null) => &none,
        Some(Value::Array(rows)) => rows,
        Some(other) => return Err(at_rows.unexpected(other, "a list of annotations")),
    };
    let rows = rows
        .iter()
        .enumerate()
        .map(|(i, row)| annotation(row, &mut space, &at_rows.item(i)))
        .collect::<Result<Vec<_>, _>>()?;
    // Annotations at different positions along other dimensions would be projected onto each other.
    for (d, name) in names.iter().enumerate() {
        let (from, to) = space.seen[d];
        if space.placed.iter().all(|axis| axis.dimension != d) && to - from > 1.0 {
            return Err(at_rows.error(
                format!("a list of annotations whose `{name}` runs from {from} to {to}"),
                "at most one position along dimensions other than x, y, z",
            ));
        }
    }
    let properties = match layer.members.get("annotationProperties") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.clone(),
        Some(other) => {
            return Err(at
                .member("annotationProperties")
                .unexpected(other, "a list of properties"));
        }
    };
    Ok(LocalAnnotations {
        object: format!("{}: {}", root.object, at_rows.path),
        rows,
        properties,
        relationships: member(&layer.members, "annotationRelationships"),
    })
}

/// The names of the layer's dimensions, and which are x, y, z: from the layer's `transform`, or else from the viewer's
/// own space.
fn space(
    layer: &StateLayer,
    viewer: Option<&Dimensions>,
    at: &FieldPath,
) -> Result<(Vec<String>, Placement), StateError> {
    if let Some(transform) = layer.local_transform(&FieldPath::root(at.object))? {
        return Ok((transform.local_names(), transform.place_local()?));
    }
    // Layers of states from before 2020 may have the size of the voxels in which they are.
    let own = layer.members.get("voxelSize").filter(|v| !v.is_null());
    let own = own.map(|value| transform::voxel_size(value, &at.member("voxelSize")));
    let own = own.transpose()?;
    let Some(dimensions) = own.as_ref().or(viewer) else {
        return Err(at.member("source.transform.outputDimensions").error(
            "missing, and so is `dimensions` of the whole state",
            "the units of the annotations in either, such as {\"x\": [4e-09, \"m\"], ...}",
        ));
    };
    let (axes, unit_nm) = spatial_axes(dimensions).map_err(|wrong| {
        let field = FieldPath {
            path: "dimensions".to_owned(),
            ..at.clone()
        };
        let field = wrong.name.map_or(field.clone(), |name| field.member(&name));
        field.error(wrong.found, wrong.expected)
    })?;
    let placed = std::array::from_fn(|i| PlacedAxis {
        dimension: axes[i],
        unit_nm: unit_nm[i],
        offset_nm: 0.0,
    });
    Ok((dimensions.keys().cloned().collect(), placed))
}

fn annotation(
    row: &Value,
    space: &mut LayerCoordinates,
    at: &FieldPath,
) -> Result<StateAnnotation, StateError> {
    let Some(row) = row.as_object() else {
        return Err(at.unexpected(row, "an annotation, which is an object"));
    };
    let text = |name: &str, expected: String| match row.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        other => Err(at
            .member(name)
            .unexpected(other.unwrap_or(&Value::Null), expected)),
    };
    let kinds = GeometryKind::names().to_lowercase();
    let kind_name = text("type", kinds.clone())?;
    let kind = GeometryKind::from_name(kind_name)
        .ok_or_else(|| at.member("type").error(format!("{kind_name:?}"), kinds))?;
    let id = text("id", "the annotation's id, a text".to_owned())?;
    let points = match kind {
        GeometryKind::Point => vec![space.point(row, "point", at)?],
        GeometryKind::Line | GeometryKind::Box => vec![
            space.point(row, "pointA", at)?,
            space.point(row, "pointB", at)?,
        ],
        GeometryKind::Ellipsoid => vec![space.point(row, "center", at)?],
        GeometryKind::Polyline => match row.get("points").and_then(Value::as_array) {
            Some(points) if !points.is_empty() => points
                .iter()
                .enumerate()
                .map(|(i, point)| space.vector(point, &at.member("points").item(i)))
                .collect::<Result<_, _>>()?,
            _ => {
                return Err(at.member("points").unexpected(
                    row.get("points").unwrap_or(&Value::Null),
                    "a list of at least one point",
                ));
            }
        },
    };
    let props = match row.get("props") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(values)) => values.clone(),
        Some(other) => return Err(at.member("props").unexpected(other, "a list of values")),
    };
    Ok(StateAnnotation {
        id: id.to_owned(),
        kind,
        points,
        description: row
            .get("description")
            .and_then(Value::as_str)
            .map(str::to_owned),
        props,
        segments: member(row, "segments"),
    })
}

fn member(members: &Map<String, Value>, name: &str) -> Value {
    members.get(name).cloned().unwrap_or_default()
}

impl LayerCoordinates {
    fn point(
        &mut self,
        row: &Map<String, Value>,
        name: &str,
        at: &FieldPath,
    ) -> Result<PointNm, StateError> {
        self.vector(row.get(name).unwrap_or(&Value::Null), &at.member(name))
    }

    fn vector(&mut self, value: &Value, at: &FieldPath) -> Result<PointNm, StateError> {
        let numbers: Option<Vec<f64>> = value
            .as_array()
            .and_then(|list| list.iter().map(Value::as_f64).collect());
        let Some(numbers) = numbers.filter(|numbers| numbers.len() == self.rank) else {
            return Err(at.unexpected(
                value,
                format!("{} numbers, one for each dimension", self.rank),
            ));
        };
        for (seen, number) in self.seen.iter_mut().zip(&numbers) {
            *seen = (seen.0.min(*number), seen.1.max(*number));
        }
        Ok(PointNm(
            self.placed.map(|axis| axis.nm(numbers[axis.dimension])),
        ))
    }
}

//! The `info` of a precomputed annotation layer: parsed, checked, and brought to axes x, y, z in nm.

use serde::Deserialize;
use serde_json::Value;

use super::grid::Grid;
use crate::geometry::{
    Dimensions, PlacedAxis, Placement, SourceDimension, SourceTransform, length_nm, spatial_axes,
};
use crate::neuroglancer::{ANNOTATIONS, GeometryKind, MortonGrid, ShardingSpec, info_kind};
use crate::points::PointsError;
use crate::points::property::{PropertyKind, PropertySpec, lay_out};
use crate::storage::DocumentError;

pub(super) const EXPECTED: &str = "the info of a precomputed annotation layer";
const TYPE: &str = "neuroglancer_annotations_v1";

/// A checked info.
#[derive(Debug)]
pub(super) struct Info {
    pub(super) kind: GeometryKind,
    /// Number of dimensions.
    pub(super) rank: usize,
    /// What lies along x, y, z.
    pub(super) placed: Placement,
    /// Where annotations lie, along every dimension in its own unit.
    pub(super) lower_bound: Vec<f64>,
    pub(super) upper_bound: Vec<f64>,
    /// In declared order.
    pub(super) properties: Vec<PropertySpec>,
    /// Bytes of all properties of a record, padding not included.
    pub(super) property_bytes: usize,
    /// `relationships` as written: what is wrong with them matters only where a job reads them.
    pub(super) relationships: Value,
    pub(super) levels: Vec<LevelInfo>,
    pub(super) warnings: Vec<String>,
}

/// One level of the spatial index.
#[derive(Debug)]
pub(super) struct LevelInfo {
    /// Its folder, relative to the info's.
    pub(super) key: String,
    pub(super) grid: Grid,
    /// How cells are found in shards, and their ids.
    pub(super) sharding: Option<(ShardingSpec, MortonGrid)>,
}

#[derive(Deserialize)]
struct RawInfo {
    dimensions: Dimensions,
    lower_bound: Vec<f64>,
    upper_bound: Vec<f64>,
    annotation_type: String,
    #[serde(default)]
    properties: Vec<RawProperty>,
    #[serde(default)]
    relationships: Value,
    spatial: Vec<RawLevel>,
}

#[derive(Deserialize)]
struct RawProperty {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    description: Option<String>,
    #[serde(default)]
    enum_values: Vec<f64>,
    #[serde(default)]
    enum_labels: Vec<String>,
}

#[derive(Deserialize)]
struct RawLevel {
    key: String,
    /// Any numbers: what is wrong with them is mended and reported.
    grid_shape: Vec<f64>,
    chunk_size: Vec<f64>,
    sharding: Option<Value>,
}

/// Names the info in errors.
pub(super) struct Blame<'a>(pub(super) &'a str);

impl Blame<'_> {
    pub(super) fn on(
        &self,
        field: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> PointsError {
        PointsError::Info {
            object: self.0.to_owned(),
            field: field.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    fn rank(&self, field: String, found: usize, rank: usize) -> Result<(), PointsError> {
        match found == rank {
            true => Ok(()),
            false => Err(self.on(
                field,
                format!("a list of {found} numbers"),
                format!("{rank}, one for each of `dimensions`"),
            )),
        }
    }
}

impl Info {
    /// Understands `value`, the contents of the file `object`, as `transform` moves the layer.
    pub(super) fn parse(
        value: &Value,
        object: &str,
        transform: Option<&SourceTransform>,
    ) -> Result<Self, PointsError> {
        let blame = Blame(object);
        check_kind(value, &blame)?;
        let raw: RawInfo = serde_path_to_error::deserialize(value).map_err(|e| {
            PointsError::Document(DocumentError::Parse {
                object: object.to_owned(),
                expected: EXPECTED,
                path: e.path().to_string(),
                source: e.into_inner(),
                note: "",
            })
        })?;
        let rank = raw.dimensions.len();
        blame.rank("lower_bound".to_owned(), raw.lower_bound.len(), rank)?;
        blame.rank("upper_bound".to_owned(), raw.upper_bound.len(), rank)?;
        let placed = place(&raw, transform, &blame)?;
        let kind = GeometryKind::from_name(&raw.annotation_type).ok_or_else(|| {
            blame.on(
                "annotation_type",
                format!("{:?}", raw.annotation_type),
                GeometryKind::names(),
            )
        })?;
        let mut properties = properties(raw.properties, &blame)?;
        let property_bytes = lay_out(&mut properties);
        let mut warnings = Vec::new();
        let mut levels = Vec::new();
        for (i, level) in raw.spatial.into_iter().enumerate() {
            let field = |member: &str| format!("spatial[{i}].{member}");
            check_key(&level.key, field("key"), &blame)?;
            blame.rank(field("chunk_size"), level.chunk_size.len(), rank)?;
            blame.rank(field("grid_shape"), level.grid_shape.len(), rank)?;
            let (grid, mended) = Grid::new(
                &raw.lower_bound,
                &raw.upper_bound,
                &level.chunk_size,
                &level.grid_shape,
            )
            .map_err(|wrong| blame.on(field("chunk_size"), wrong.found, wrong.expected))?;
            if mended {
                warnings.push(format!(
                    "{object}: `{}` is {:?}, which does not fit the bounds and `chunk_size`; read as {:?}",
                    field("grid_shape"),
                    level.grid_shape,
                    grid.shape(),
                ));
            }
            let sharding = match level.sharding.filter(|v| !v.is_null()) {
                None => None,
                Some(value) => Some(sharding(&value, &level.grid_shape, &grid, field, &blame)?),
            };
            levels.push(LevelInfo {
                key: level.key,
                grid,
                sharding,
            });
        }
        if levels.is_empty() {
            return Err(blame.on(
                "spatial",
                "empty",
                "at least one level of the spatial index",
            ));
        }
        Ok(Self {
            kind,
            rank,
            placed,
            lower_bound: raw.lower_bound,
            upper_bound: raw.upper_bound,
            properties,
            property_bytes,
            relationships: raw.relationships,
            levels,
            warnings,
        })
    }
}

/// Refuses the infos of what is not a layer of annotations.
fn check_kind(info: &Value, blame: &Blame) -> Result<(), PointsError> {
    let advice = "`points.layer` names an annotation layer, `arrays.NAME.layer` a volume";
    let expected = format!("{TYPE:?}, an annotation layer: {advice}");
    let kind = info_kind(info);
    match info.get("@type").filter(|v| !v.is_null()) {
        Some(found) if found.as_str() != Some(TYPE) => {
            let found = match kind {
                Some(kind) => format!("{found}, {kind}"),
                None => found.to_string(),
            };
            Err(blame.on("@type", found, expected))
        }
        None if kind.is_some_and(|kind| kind != ANNOTATIONS) => {
            let found = format!(
                "missing, and this is the info of {}",
                kind.unwrap_or_default()
            );
            Err(blame.on("@type", found, expected))
        }
        _ => Ok(()),
    }
}

/// What lies along x, y, z. Any further dimension must be a single position wide: annotations apart there would fall
/// together.
fn place(
    raw: &RawInfo,
    transform: Option<&SourceTransform>,
    blame: &Blame,
) -> Result<Placement, PointsError> {
    let placed = match transform {
        None => own_place(raw, blame)?,
        Some(transform) => {
            let dimensions = raw.dimensions.iter();
            let dimensions = dimensions.map(|(name, (scale, unit))| SourceDimension {
                name: name.clone(),
                unit_nm: length_nm(*scale, unit).filter(|nm| nm.is_finite() && *nm > 0.0),
            });
            transform.place(&dimensions.collect::<Vec<_>>())?
        }
    };
    let is_spatial = |d: usize| placed.iter().any(|axis| axis.dimension == d);
    let names = raw.dimensions.keys();
    for (d, name) in names.enumerate().filter(|(d, _)| !is_spatial(*d)) {
        let (from, to) = (raw.lower_bound[d], raw.upper_bound[d]);
        if to - from > 1.0 {
            return Err(blame.on(
                format!("dimensions.{name}"),
                format!("a further dimension that runs from {from} to {to}"),
                "at most one position along dimensions other than x, y, z",
            ));
        }
    }
    Ok(placed)
}

/// What lies along x, y, z where nothing moves the layer.
fn own_place(raw: &RawInfo, blame: &Blame) -> Result<Placement, PointsError> {
    let (axes, unit_nm) = spatial_axes(&raw.dimensions).map_err(|wrong| {
        let field = match wrong.name {
            Some(name) => format!("dimensions.{name}"),
            None => "dimensions".to_owned(),
        };
        blame.on(field, wrong.found, wrong.expected)
    })?;
    Ok(std::array::from_fn(|i| PlacedAxis {
        dimension: axes[i],
        unit_nm: unit_nm[i],
        offset_nm: 0.0,
    }))
}

fn properties(raw: Vec<RawProperty>, blame: &Blame) -> Result<Vec<PropertySpec>, PointsError> {
    let mut properties: Vec<PropertySpec> = Vec::with_capacity(raw.len());
    for (i, raw) in raw.into_iter().enumerate() {
        let field = |member| format!("properties[{i}].{member}");
        if let Some(expected) = PropertySpec::wrong_id(&raw.id) {
            return Err(blame.on(field("id"), format!("{:?}", raw.id), expected));
        }
        if properties.iter().any(|other| other.id == raw.id) {
            return Err(blame.on(field("id"), format!("{:?} again", raw.id), "each id once"));
        }
        let kind = PropertyKind::from_name(&raw.kind).ok_or_else(|| {
            blame.on(
                field("type"),
                format!("{:?}", raw.kind),
                PropertyKind::names(),
            )
        })?;
        let mut property = PropertySpec::new(raw.id, kind);
        property.description = raw.description;
        property.enum_values = raw.enum_values;
        property.enum_labels = raw.enum_labels;
        properties.push(property);
    }
    Ok(properties)
}

/// The `sharding` of a level. Ids are made with the `grid_shape` as declared: a writer had it too.
fn sharding(
    value: &Value,
    declared: &[f64],
    grid: &Grid,
    field: impl Fn(&str) -> String,
    blame: &Blame,
) -> Result<(ShardingSpec, MortonGrid), PointsError> {
    let spec = ShardingSpec::parse(value).map_err(|wrong| {
        let member = format!("{}.{}", field("sharding"), wrong.field);
        blame.on(member, wrong.found, wrong.expected)
    })?;
    let is_count = |n: f64| (1.0..=2f64.powi(53)).contains(&n) && n.fract() == 0.0;
    let sizes = declared.iter().zip(grid.shape());
    let shape: Vec<u64> = sizes
        .map(|(declared, mended)| match is_count(*declared) {
            true => *declared as u64,
            false => mended,
        })
        .collect();
    let ids = MortonGrid::new(&shape)
        .map_err(|e| blame.on(field("grid_shape"), e.to_string(), "fewer cells"))?;
    Ok((spec, ids))
}

/// A key is a relative path; `..` is allowed by the format, another root is not.
pub(super) fn check_key(key: &str, field: String, blame: &Blame) -> Result<(), PointsError> {
    let elsewhere = key.starts_with(['/', '\\']) || key.contains("://") || key.contains('|');
    match key.is_empty() || elsewhere {
        false => Ok(()),
        true => Err(blame.on(
            field,
            format!("{key:?}"),
            "a path relative to the info's folder",
        )),
    }
}

#[cfg(test)]
mod tests;

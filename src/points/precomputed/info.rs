//! The `info` of a precomputed annotation layer: parsed, checked, and converted to axes x, y, z in nm.

use serde::Deserialize;
use serde_json::Value;

use super::grid::CellGrid;
use crate::geometry::{
    Dimensions, PlacedAxis, Placement, SourceDimension, SourceTransform, length_nm, spatial_axes,
};
use crate::neuroglancer::{ANNOTATIONS, GeometryKind, MortonGrid, ShardingSpec, info_kind};
use crate::points::error::PointsError;
use crate::points::property::{PropertySpec, RawProperty, lay_out};
use crate::storage::DocumentError;

pub(super) const EXPECTED: &str = "the info of a precomputed annotation layer";
const TYPE: &str = "neuroglancer_annotations_v1";

/// A checked info.
#[derive(Debug)]
pub(super) struct AnnotationInfo {
    pub(super) kind: GeometryKind,
    /// Number of dimensions.
    pub(super) rank: usize,
    /// The dimensions along x, y, z.
    pub(super) placed: Placement,
    /// The bounds of annotations, along every dimension in its unit.
    pub(super) lower_bound: Vec<f64>,
    pub(super) upper_bound: Vec<f64>,
    /// In declared order.
    pub(super) properties: Vec<PropertySpec>,
    /// Bytes of all properties of a record without padding.
    pub(super) property_bytes: usize,
    /// `relationships` unparsed, because an error in them only matters if a job reads them.
    pub(super) relationships: Value,
    /// `by_id` unparsed, for the same reason.
    pub(super) by_id: Value,
    pub(super) levels: Vec<LevelInfo>,
    pub(super) warnings: Vec<String>,
}

/// One level of the spatial index.
#[derive(Debug)]
pub(super) struct LevelInfo {
    /// Its folder, relative to the info's.
    pub(super) key: String,
    pub(super) grid: CellGrid,
    /// With shards: the sharding and the ids of cells.
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
    #[serde(default)]
    by_id: Value,
    spatial: Vec<RawLevel>,
}

#[derive(Deserialize)]
struct RawLevel {
    key: String,
    /// Any numbers: wrong ones are corrected and reported.
    grid_shape: Vec<f64>,
    chunk_size: Vec<f64>,
    sharding: Option<Value>,
}

/// The name of the info file, for errors.
pub(super) struct InfoFile<'a>(pub(super) &'a str);

impl InfoFile<'_> {
    pub(super) fn wrong(
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

    fn check_rank(&self, field: String, found: usize, rank: usize) -> Result<(), PointsError> {
        if found == rank {
            return Ok(());
        }
        Err(self.wrong(
            field,
            format!("a list of {found} numbers"),
            format!("{rank}, one for each of `dimensions`"),
        ))
    }
}

impl AnnotationInfo {
    /// Parses `value`, the contents of the file `object`, with the `transform` of the layer.
    pub(super) fn parse(
        value: &Value,
        object: &str,
        transform: Option<&SourceTransform>,
    ) -> Result<Self, PointsError> {
        let info_file = InfoFile(object);
        check_kind(value, &info_file)?;
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
        info_file.check_rank("lower_bound".to_owned(), raw.lower_bound.len(), rank)?;
        info_file.check_rank("upper_bound".to_owned(), raw.upper_bound.len(), rank)?;
        let placed = place(&raw, transform, &info_file)?;
        let kind = GeometryKind::from_name(&raw.annotation_type).ok_or_else(|| {
            info_file.wrong(
                "annotation_type",
                format!("{:?}", raw.annotation_type),
                GeometryKind::names(),
            )
        })?;
        let mut properties = properties(raw.properties, &info_file)?;
        let property_bytes = lay_out(&mut properties);
        let bounds = Bounds {
            lower: &raw.lower_bound,
            upper: &raw.upper_bound,
        };
        let mut warnings = Vec::new();
        let levels = raw.spatial.into_iter().enumerate();
        let levels = levels.map(|(i, level)| level.check(i, &bounds, &info_file, &mut warnings));
        let levels: Vec<LevelInfo> = levels.collect::<Result<_, _>>()?;
        if levels.is_empty() {
            return Err(info_file.wrong(
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
            by_id: raw.by_id,
            levels,
            warnings,
        })
    }
}

/// The bounds of a layer, along every dimension in its unit.
struct Bounds<'a> {
    lower: &'a [f64],
    upper: &'a [f64],
}

impl RawLevel {
    /// Checks the level at position `i`. A wrong `grid_shape` is corrected with a warning.
    fn check(
        self,
        i: usize,
        bounds: &Bounds,
        info_file: &InfoFile,
        warnings: &mut Vec<String>,
    ) -> Result<LevelInfo, PointsError> {
        let rank = bounds.lower.len();
        let field = |member: &str| format!("spatial[{i}].{member}");
        check_key(&self.key, field("key"), info_file)?;
        info_file.check_rank(field("chunk_size"), self.chunk_size.len(), rank)?;
        info_file.check_rank(field("grid_shape"), self.grid_shape.len(), rank)?;
        let (grid, corrected) = CellGrid::new(
            bounds.lower,
            bounds.upper,
            &self.chunk_size,
            &self.grid_shape,
        )
        .map_err(|wrong| info_file.wrong(field("chunk_size"), wrong.found, wrong.expected))?;
        if corrected {
            warnings.push(format!(
                "{}: `{}` is {:?}, which does not match the bounds and `chunk_size`; it is read as {:?}",
                info_file.0,
                field("grid_shape"),
                self.grid_shape,
                grid.shape(),
            ));
        }
        let sharding = match self.sharding.filter(|v| !v.is_null()) {
            None => None,
            Some(value) => Some(sharding(&value, &self.grid_shape, &grid, field, info_file)?),
        };
        Ok(LevelInfo {
            key: self.key,
            grid,
            sharding,
        })
    }
}

/// Fails if the info is not that of an annotation layer.
fn check_kind(info: &Value, info_file: &InfoFile) -> Result<(), PointsError> {
    let advice = "`points.layer` names an annotation layer, `arrays.NAME.layer` a volume";
    let expected = format!("{TYPE:?}, an annotation layer: {advice}");
    let kind = info_kind(info);
    match info.get("@type").filter(|v| !v.is_null()) {
        Some(found) if found.as_str() != Some(TYPE) => {
            let found = match kind {
                Some(kind) => format!("{found}, {kind}"),
                None => found.to_string(),
            };
            Err(info_file.wrong("@type", found, expected))
        }
        None if kind.is_some_and(|kind| kind != ANNOTATIONS) => {
            let found = format!(
                "missing, and this is the info of {}",
                kind.unwrap_or_default()
            );
            Err(info_file.wrong("@type", found, expected))
        }
        _ => Ok(()),
    }
}

/// The dimensions along x, y, z. Any other dimension may only have a single position, because annotations at different
/// positions would be projected onto each other.
fn place(
    raw: &RawInfo,
    transform: Option<&SourceTransform>,
    info_file: &InfoFile,
) -> Result<Placement, PointsError> {
    let placed = match transform {
        None => own_place(raw, info_file)?,
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
            return Err(info_file.wrong(
                format!("dimensions.{name}"),
                format!("another dimension that ranges from {from} to {to}"),
                "at most one position along dimensions other than x, y, z",
            ));
        }
    }
    Ok(placed)
}

/// The dimensions along x, y, z without a transform.
fn own_place(raw: &RawInfo, info_file: &InfoFile) -> Result<Placement, PointsError> {
    let (axes, unit_nm) = spatial_axes(&raw.dimensions).map_err(|wrong| {
        let field = match wrong.name {
            Some(name) => format!("dimensions.{name}"),
            None => "dimensions".to_owned(),
        };
        info_file.wrong(field, wrong.found, wrong.expected)
    })?;
    Ok(std::array::from_fn(|i| PlacedAxis {
        dimension: axes[i],
        unit_nm: unit_nm[i],
        offset_nm: 0.0,
    }))
}

fn properties(
    raw: Vec<RawProperty>,
    info_file: &InfoFile,
) -> Result<Vec<PropertySpec>, PointsError> {
    let mut properties: Vec<PropertySpec> = Vec::with_capacity(raw.len());
    for (i, raw) in raw.into_iter().enumerate() {
        let property = raw.check(&properties).map_err(|e| {
            let field = format!("properties[{i}].{}", e.member);
            info_file.wrong(field, e.found, e.expected)
        })?;
        properties.push(property);
    }
    Ok(properties)
}

/// The `sharding` of a level. Ids of cells depend on the declared `grid_shape`, which the writer used too.
fn sharding(
    value: &Value,
    declared: &[f64],
    grid: &CellGrid,
    field: impl Fn(&str) -> String,
    info_file: &InfoFile,
) -> Result<(ShardingSpec, MortonGrid), PointsError> {
    let spec = ShardingSpec::parse(value).map_err(|wrong| {
        let member = format!("{}.{}", field("sharding"), wrong.field);
        info_file.wrong(member, wrong.found, wrong.expected)
    })?;
    let is_count = |n: f64| (1.0..=2f64.powi(53)).contains(&n) && n.fract() == 0.0;
    let sizes = declared.iter().zip(grid.shape());
    let shape: Vec<u64> = sizes
        .map(|(declared, corrected)| {
            if is_count(*declared) {
                *declared as u64
            } else {
                corrected
            }
        })
        .collect();
    let ids = MortonGrid::new(&shape)
        .map_err(|e| info_file.wrong(field("grid_shape"), e.to_string(), "fewer cells"))?;
    Ok((spec, ids))
}

/// Parses an optional `sharding` at the path `field`.
pub(super) fn parse_sharding(
    value: Option<Value>,
    field: String,
    info_file: &InfoFile,
) -> Result<Option<ShardingSpec>, PointsError> {
    let value = value.filter(|v| !v.is_null());
    let spec = value.map(|value| {
        ShardingSpec::parse(&value).map_err(|wrong| {
            let member = format!("{field}.{}", wrong.field);
            info_file.wrong(member, wrong.found, wrong.expected)
        })
    });
    spec.transpose()
}

/// Checks that a key is a relative path. The format allows `..`, but no other root.
pub(super) fn check_key(key: &str, field: String, info_file: &InfoFile) -> Result<(), PointsError> {
    let elsewhere = key.starts_with(['/', '\\']) || key.contains("://") || key.contains('|');
    if !key.is_empty() && !elsewhere {
        return Ok(());
    }
    Err(info_file.wrong(
        field,
        format!("{key:?}"),
        "a path relative to the info's folder",
    ))
}

#[cfg(test)]
mod tests;

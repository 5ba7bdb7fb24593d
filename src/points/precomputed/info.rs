//! The `info` of a precomputed annotation layer: parsed, checked, and brought to axes x, y, z in nm.

use serde::Deserialize;
use serde_json::Value;

use super::grid::Grid;
use crate::geometry::{
    Dimensions, PlacedAxis, Placement, SourceDimension, SourceTransform, length_nm, spatial_axes,
};
use crate::neuroglancer::{ANNOTATIONS, GeometryKind, MortonGrid, ShardingSpec, described};
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
    let kind = described(info);
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
mod tests {
    use serde_json::json;

    use super::*;

    fn info(change: impl FnOnce(&mut Value)) -> Result<Info, String> {
        let mut info = json!({
            "@type": TYPE,
            "dimensions": {"x": [4.6e-09, "m"], "y": [4.6e-09, "m"], "z": [4.5e-08, "m"]},
            "lower_bound": [0, 0, 0], "upper_bound": [100, 100, 20],
            "annotation_type": "point",
            "properties": [],
            "spatial": [{"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": [100, 100, 20], "limit": 1}],
        });
        change(&mut info);
        Info::parse(&info, "layer/info", None).map_err(|e| e.to_string())
    }

    fn axes_and_units(info: &Info) -> ([usize; 3], [f64; 3]) {
        (
            info.placed.map(|a| a.dimension),
            info.placed.map(|a| a.unit_nm),
        )
    }

    #[test]
    fn dimensions_keep_the_order_of_the_file_and_are_found_by_name() {
        let text = r#"{"dimensions": {"z": [45, "nm"], "y": [0.0046, "um"], "x": [4.6e-9, "m"]},
            "lower_bound": [0, 0, 0], "upper_bound": [9, 9, 9], "annotation_type": "LINE",
            "spatial": [{"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": [9, 9, 9]}]}"#;
        let info = Info::parse(&serde_json::from_str(text).unwrap(), "info", None).unwrap();
        assert_eq!(axes_and_units(&info), ([2, 1, 0], [4.6, 4.6, 45.0]));
    }

    #[test]
    fn three_dimensions_of_other_names_are_taken_in_order() {
        let named = |dimensions: Value| info(|i| i["dimensions"] = dimensions).unwrap();
        let i = named(json!({"d0": [1, "nm"], "d1": [2, "nm"], "d2": [3, "nm"]}));
        assert_eq!(axes_and_units(&i), ([0, 1, 2], [1.0, 2.0, 3.0]));
        let i = named(json!({"section": [3, "nm"], "x": [1, "nm"], "y": [2, "nm"]}));
        assert_eq!(axes_and_units(&i), ([1, 2, 0], [1.0, 2.0, 3.0]));
    }

    #[test]
    fn a_fourth_dimension_may_be_one_position_wide() {
        let four = |until: f64| {
            info(|i| {
                i["dimensions"]["t"] = json!([1, "s"]);
                i["lower_bound"] = json!([0, 0, 0, 0]);
                i["upper_bound"] = json!([100, 100, 20, until]);
                i["spatial"][0]["grid_shape"] = json!([1, 1, 1, 1]);
                i["spatial"][0]["chunk_size"] = json!([100, 100, 20, 1]);
            })
        };
        assert_eq!(four(1.0).unwrap().rank, 4);
        let e = four(5.0).unwrap_err();
        assert!(
            e.contains("`dimensions.t`") && e.contains("from 0 to 5"),
            "{e}"
        );
    }

    #[test]
    fn a_unit_that_is_not_a_length_is_refused_by_name() {
        for unit in ["s", "", "Hz", "px"] {
            let e = info(|i| i["dimensions"]["y"] = json!([1, unit])).unwrap_err();
            assert!(
                e.contains("layer/info: `dimensions.y` is [1.0, ") && e.contains(unit),
                "{e}"
            );
        }
        assert!(info(|i| i["dimensions"]["y"] = json!([0, "m"])).is_err());
        assert!(info(|i| i["dimensions"]["y"] = json!([-1, "m"])).is_err());
    }

    #[test]
    fn fewer_than_three_dimensions_are_refused() {
        let e = info(|i| {
            i["dimensions"] = json!({"x": [1, "nm"], "y": [1, "nm"]});
            i["lower_bound"] = json!([0, 0]);
            i["upper_bound"] = json!([1, 1]);
        });
        assert!(e.unwrap_err().contains("3 to 16"));
    }

    #[test]
    fn types_of_annotations_are_read_in_any_case_and_others_are_named() {
        for (name, kind) in [
            ("POINT", GeometryKind::Point),
            ("Line", GeometryKind::Line),
            ("axis_aligned_bounding_box", GeometryKind::Box),
            ("ellipsoid", GeometryKind::Ellipsoid),
            ("POLYLINE", GeometryKind::Polyline),
        ] {
            assert_eq!(
                info(|i| i["annotation_type"] = json!(name)).unwrap().kind,
                kind
            );
        }
        let e = info(|i| i["annotation_type"] = json!("MESH")).unwrap_err();
        assert!(e.contains("\"MESH\"") && e.contains("ELLIPSOID"), "{e}");
    }

    #[test]
    fn another_kind_of_info_is_named() {
        let e = info(|i| i["@type"] = json!("neuroglancer_multiscale_volume")).unwrap_err();
        assert!(
            e.contains("`@type` is \"neuroglancer_multiscale_volume\""),
            "{e}"
        );
    }

    #[test]
    fn an_info_of_a_volume_without_a_type_is_named_too() {
        let volume =
            json!({"type": "image", "data_type": "uint8", "num_channels": 1, "scales": []});
        let e = Info::parse(&volume, "layer/info", None)
            .unwrap_err()
            .to_string();
        for words in ["layer/info", "a volume", "`points.layer`", TYPE] {
            assert!(e.contains(words), "{e}");
        }
    }

    #[test]
    fn ids_of_sharded_cells_are_made_from_the_declared_shape_where_it_is_one() {
        let ids = |declared: Value| {
            let info = info(|i| {
                i["spatial"][0]["grid_shape"] = declared;
                i["spatial"][0]["sharding"] = json!({
                    "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 0, "hash": "identity",
                    "minishard_bits": 0, "shard_bits": 0,
                });
            });
            let level = info.unwrap().levels.remove(0);
            (level.sharding.unwrap().1, level.grid.shape())
        };
        let (grid, _) = ids(json!([7, 1, 1]));
        assert_eq!(grid, MortonGrid::new(&[7, 1, 1]).unwrap());
        let (grid, mended) = ids(json!([0, 1.5, -3]));
        assert_eq!(grid, MortonGrid::new(&mended).unwrap());
    }

    #[test]
    fn a_key_is_relative_but_may_climb() {
        assert_eq!(
            info(|i| i["spatial"][0]["key"] = json!("../s/0"))
                .unwrap()
                .levels[0]
                .key,
            "../s/0"
        );
        for key in ["/etc", "gs://bucket/s0", ""] {
            let e = info(|i| i["spatial"][0]["key"] = json!(key)).unwrap_err();
            assert!(e.contains("`spatial[0].key`"), "{e}");
        }
    }

    #[test]
    fn lists_of_another_rank_are_refused() {
        let e = info(|i| i["lower_bound"] = json!([0, 0])).unwrap_err();
        assert!(
            e.contains("`lower_bound` is a list of 2 numbers; expected 3"),
            "{e}"
        );
        assert!(info(|i| i["spatial"][0]["chunk_size"] = json!([1, 1, 1, 1])).is_err());
        assert!(info(|i| i["spatial"] = json!([])).is_err());
    }

    #[test]
    fn a_grid_shape_that_does_not_fit_is_mended_and_told() {
        assert!(info(|_| ()).unwrap().warnings.is_empty());
        let i = info(|i| i["spatial"][0]["grid_shape"] = json!([0, 1, 1])).unwrap();
        assert!(
            i.warnings[0].contains("`spatial[0].grid_shape`"),
            "{:?}",
            i.warnings
        );
    }

    #[test]
    fn properties_that_cannot_be_are_refused() {
        let with = |properties: Value| info(|i| i["properties"] = properties).unwrap_err();
        let e = with(json!([{"id": "a", "type": "uint64"}]));
        assert!(
            e.contains("`properties[0].type` is \"uint64\"") && e.contains("float32"),
            "{e}"
        );
        let e = with(json!([{"id": "a", "type": "uint8"}, {"id": "a", "type": "int8"}]));
        assert!(e.contains("`properties[1].id`"), "{e}");
        assert!(with(json!([{"id": "../a", "type": "uint8"}])).contains("properties[0].id"));
    }
}

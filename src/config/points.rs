//! Where annotations come from: a layer of the boxes' layer groups, a viewer state, or a file.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unit::delimiter_problem;
use super::{
    ChoiceConfig, CremiConfig, LengthUnit, NegativesConfig, ObjectPoint, ObjectsConfig,
    PropertyFilter,
};
use crate::geometry::Resolution;
use crate::points::{Anchor, PropertyKind};

/// Which annotations become samples, and where their windows are centered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPoints", into = "RawPoints")]
pub struct PointsConfig {
    /// Where they come from.
    pub source: PointsFrom,
    /// The point of a line that its window is centered on, and that decides whether the line is in a box.
    pub anchor: Anchor,
    /// Where the first end of each of them is, if it is in another layer.
    pub start: Option<EndConfig>,
    /// Where the last end of each of them is, if it is in another layer.
    pub end: Option<EndConfig>,
    /// Which of them become samples.
    pub choose: ChoiceConfig,
    /// Random points beside them.
    pub negatives: Option<NegativesConfig>,
}

/// Where annotations come from.
#[derive(Clone, Debug, PartialEq)]
pub enum PointsFrom {
    /// The layer of this name in each box's layer group.
    Layer(String),
    /// The layers of these names in each box's layer group.
    Layers(Vec<String>),
    /// Local annotations of a viewer state, for all boxes.
    NeuroglancerState(StatePointsConfig),
    /// A table, for all boxes.
    Table(TableConfig),
    /// The annotations of a CREMI file, for all boxes.
    Cremi(CremiConfig),
    /// The objects of a segmentation in each box's layer group.
    Objects(ObjectsConfig),
}

/// The form in the config.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PointsConfig")]
struct RawPoints {
    /// Name of the annotation layer in the boxes' layer groups. Exactly one of `layer`, `layers`, `neuroglancer_state`, `table`,
    /// `cremi` and `objects` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
    /// Names of several annotation layers in the boxes' layer groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<String>>,
    /// Annotations in a Neuroglancer viewer state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    neuroglancer_state: Option<StatePointsConfig>,
    /// Annotations in a table: CSV, TSV, Parquet, Arrow (Feather) or JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "csv")]
    table: Option<TableConfig>,
    /// Annotations in a CREMI file (HDF5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cremi: Option<CremiConfig>,
    /// The objects of a segmentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<ObjectsConfig>,
    /// The point of a line that its window is centered on, and that decides whether the line is in a box.
    #[serde(default)]
    anchor: Anchor,
    /// The first end of each annotation, if it is in another layer: that of the annotation with the same id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<EndConfig>,
    /// The last end of each annotation, if it is in another layer: that of the annotation with the same id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<EndConfig>,
    /// Which of the annotations inside a box become samples. By default all.
    #[serde(default, skip_serializing_if = "ChoiceConfig::is_default")]
    choose: ChoiceConfig,
    /// Random points in the boxes that are no annotations, as further samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    negatives: Option<NegativesConfig>,
}

/// An end of the annotations in another layer, by their ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndConfig {
    /// Name of an annotation layer: of the state with `neuroglancer_state`, otherwise of the boxes' layer groups.
    pub layer: String,
}

/// Annotations in a Neuroglancer viewer state (`local://annotations`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatePointsConfig {
    /// Path of the state's JSON, relative to the config's folder, or a pasted Neuroglancer URL.
    pub source: String,
    /// The annotation layer. By default the only layer with annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Several annotation layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<String>>,
}

/// A table with one annotation per row: CSV or TSV with a header, Parquet, Arrow (Feather), or JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// Path of the file, or of the folder of a tabular layer, relative to the config's folder.
    pub file: String,
    /// The unit of all coordinates.
    pub unit: LengthUnit,
    /// Size of a voxel in nm, x y z, for the unit `voxel` and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>")]
    pub resolution: Option<Resolution>,
    /// The columns of a point, or of the centre of a line whose ends are given: x, y, z, or one column of lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<PositionColumns>,
    /// The columns of a line's first end. Given with `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<PositionColumns>,
    /// The columns of a line's last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<PositionColumns>,
    /// The column of ids, whole numbers from 0 to 2^64 - 1. By default rows are numbered from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Columns with ids of objects that the annotation is related to, each a list such as `[101, 102]`, or one id. Needs `id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relationships: Vec<String>,
    /// Columns to keep as properties, each with its type.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub properties: IndexMap<String, PropertyKind>,
    /// The character between fields of CSV. By default a tab in files named `*.tsv`, otherwise a comma.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
}

/// The columns of a position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected the names of three columns, such as [\"x\", \"y\", \"z\"], or of one column of lists, such as \"pt_position\""
)]
pub enum PositionColumns {
    /// A column for each of x, y, z.
    Three([String; 3]),
    /// One column of lists: `[x, y, z]`, or `[x y z]` in text.
    List(String),
}

impl PointsConfig {
    /// The name of the annotations in messages: the layer's name, or the file.
    pub fn name(&self) -> String {
        match &self.source {
            PointsFrom::Layer(layer) => layer.clone(),
            PointsFrom::Layers(layers) => layers.join("`, `"),
            PointsFrom::NeuroglancerState(state) => match (&state.layer, &state.layers) {
                (Some(layer), _) => layer.clone(),
                (None, Some(layers)) => layers.join("`, `"),
                (None, None) => "annotations".to_owned(),
            },
            PointsFrom::Table(table) => table.file.clone(),
            PointsFrom::Cremi(cremi) => cremi.file.clone(),
            PointsFrom::Objects(objects) => objects.layer.clone(),
        }
    }

    /// The key that names the annotations.
    pub(crate) fn source_key(&self) -> &'static str {
        match &self.source {
            PointsFrom::Layer(_) => "points.layer",
            PointsFrom::Layers(_) => "points.layers",
            PointsFrom::NeuroglancerState(_) => "points.neuroglancer_state",
            PointsFrom::Table(_) => "points.table",
            PointsFrom::Cremi(_) => "points.cremi",
            PointsFrom::Objects(_) => "points.objects",
        }
    }

    /// Where the first and the last end are, if they are in another layer: the key, the end, and its layer.
    pub(crate) fn ends(&self) -> [(&'static str, ObjectPoint, Option<&EndConfig>); 2] {
        [
            ("points.start", ObjectPoint::Start, self.start.as_ref()),
            ("points.end", ObjectPoint::End, self.end.as_ref()),
        ]
    }

    /// The filters on properties: those in `choose`, and those that follow from the source.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (&str, PropertyFilter)> {
        let chosen = self.choose.filter.iter();
        let chosen = chosen.map(|(name, filter)| (name.as_str(), filter.clone()));
        let of_source = match &self.source {
            PointsFrom::Objects(objects) => objects.filters(),
            _ => Vec::new(),
        };
        chosen.chain(of_source)
    }
}

impl PointsFrom {
    /// The first invalid value, if there is one.
    fn problem(&self) -> Option<String> {
        match self {
            Self::Layer(_) | Self::Cremi(_) => None,
            Self::Layers(layers) => problem_of_names(layers),
            Self::NeuroglancerState(state) => match (&state.layer, &state.layers) {
                (Some(_), Some(_)) => Some(
                    "`neuroglancer_state` has `layer` and `layers`, expected at most one of them"
                        .to_owned(),
                ),
                (None, Some(layers)) => problem_of_names(layers),
                (_, None) => None,
            },
            Self::Table(table) => table.problem(),
            Self::Objects(objects) => objects.problem(),
        }
    }
}

/// What is wrong with the names of several layers.
fn problem_of_names(layers: &[String]) -> Option<String> {
    let is_repeated = |(i, name): (usize, &String)| layers[..i].contains(name);
    let repeated = layers.iter().enumerate().find(|named| is_repeated(*named));
    match repeated {
        Some((_, name)) => Some(format!(
            "`layers` has `{name}` twice, expected each layer once"
        )),
        None if layers.is_empty() => {
            Some("`layers` is empty, expected the names of annotation layers".to_owned())
        }
        None => None,
    }
}

impl TableConfig {
    /// The columns of the first end of a line, or of a point.
    pub(crate) fn first(&self) -> Option<&PositionColumns> {
        self.start.as_ref().or(self.point.as_ref())
    }

    /// The columns of the centre of a line, if it is given beside the ends.
    pub(crate) fn center(&self) -> Option<&PositionColumns> {
        self.point.as_ref().filter(|_| self.start.is_some())
    }

    /// The first invalid value, if there is one.
    fn problem(&self) -> Option<String> {
        if let Some(problem) = self.unit.problem(self.resolution) {
            return Some(format!("`table` {problem}"));
        }
        match (&self.point, &self.start, &self.end) {
            (Some(_), None, None) | (_, Some(_), Some(_)) => {}
            _ => {
                return Some(
                    "`table` names neither a point nor a line, expected the columns of `point`, or of `start` and `end`, or of all three"
                        .to_owned(),
                );
            }
        }
        if !self.relationships.is_empty() && self.id.is_none() {
            return Some(
                "`table` has `relationships` and no `id`, expected the column of the ids by which related objects are found"
                    .to_owned(),
            );
        }
        let is_repeated = |(i, name): &(usize, &String)| self.relationships[..*i].contains(*name);
        if let Some((_, name)) = self.relationships.iter().enumerate().find(is_repeated) {
            return Some(format!(
                "`table.relationships` has `{name}` twice, expected each column once"
            ));
        }
        delimiter_problem(self.delimiter).map(|problem| format!("`table.delimiter` is {problem}"))
    }
}

impl TryFrom<RawPoints> for PointsConfig {
    type Error = String;

    fn try_from(raw: RawPoints) -> Result<Self, String> {
        let sources = [
            raw.layer.map(PointsFrom::Layer),
            raw.layers.map(PointsFrom::Layers),
            raw.neuroglancer_state.map(PointsFrom::NeuroglancerState),
            raw.table.map(PointsFrom::Table),
            raw.cremi.map(PointsFrom::Cremi),
            raw.objects.map(PointsFrom::Objects),
        ];
        let mut sources = sources.into_iter().flatten();
        let (source, found) = match (sources.next(), sources.next()) {
            (Some(source), None) => (source, None),
            (Some(source), Some(_)) => (source, Some("several sources")),
            (None, _) => (PointsFrom::Layers(Vec::new()), Some("no source")),
        };
        if let Some(found) = found {
            return Err(format!(
                "found {found} of annotations, expected one of `layer`, `layers`, `neuroglancer_state`, `table`, `cremi`, `objects`"
            ));
        }
        if let Some(problem) = source.problem() {
            return Err(problem);
        }
        if let Some(problem) = raw.choose.problem() {
            return Err(format!("`choose`: {problem}"));
        }
        let of_negatives = raw.negatives.as_ref().and_then(NegativesConfig::problem);
        match of_negatives {
            Some(problem) => Err(format!("`negatives`: {problem}")),
            None => Ok(Self {
                source,
                anchor: raw.anchor,
                start: raw.start,
                end: raw.end,
                choose: raw.choose,
                negatives: raw.negatives,
            }),
        }
    }
}

impl From<PointsConfig> for RawPoints {
    fn from(config: PointsConfig) -> Self {
        let mut raw = RawPoints {
            layer: None,
            layers: None,
            neuroglancer_state: None,
            table: None,
            cremi: None,
            objects: None,
            anchor: config.anchor,
            start: config.start,
            end: config.end,
            choose: config.choose,
            negatives: config.negatives,
        };
        match config.source {
            PointsFrom::Layer(layer) => raw.layer = Some(layer),
            PointsFrom::Layers(layers) => raw.layers = Some(layers),
            PointsFrom::NeuroglancerState(state) => raw.neuroglancer_state = Some(state),
            PointsFrom::Table(table) => raw.table = Some(table),
            PointsFrom::Cremi(cremi) => raw.cremi = Some(cremi),
            PointsFrom::Objects(objects) => raw.objects = Some(objects),
        }
        raw
    }
}

impl JsonSchema for PointsConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        RawPoints::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        RawPoints::json_schema(generator)
    }
}

//! Boxes without a collection file: a list in the config, a table, or a layer of precomputed annotations.

use std::collections::HashMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LengthUnit;
use super::unit::delimiter_problem;
use crate::geometry::Resolution;

/// Boxes, and the layers that all of them share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenBoxes", into = "WrittenBoxes")]
pub struct BoxesConfig {
    /// Where the boxes are.
    pub source: BoxesSource,
    /// The layers that samples of these boxes are cut out of: name, then source.
    pub layers: IndexMap<String, String>,
    /// Tags that every box has.
    pub tags: Vec<String>,
}

/// Where boxes are.
#[derive(Clone, Debug, PartialEq)]
pub enum BoxesSource {
    /// In the config.
    List(BoxListConfig),
    /// In a table.
    Csv(BoxTableConfig),
    /// In a layer of precomputed annotations.
    Layer(BoxLayerConfig),
}

/// Boxes in the config.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxListConfig {
    /// The boxes.
    pub boxes: Vec<ListedBox>,
    /// The unit of their corners.
    pub unit: LengthUnit,
    /// Size of the voxels of the unit `voxel`.
    pub resolution: Option<Resolution>,
}

/// A table with a box per row.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxTableConfig {
    /// Path or URL of the file.
    pub file: String,
    /// The unit of the corners.
    pub unit: LengthUnit,
    /// Size of the voxels of the unit `voxel`.
    pub resolution: Option<Resolution>,
    /// The character between fields.
    pub delimiter: Option<char>,
}

/// A layer of precomputed annotations that are boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxLayerConfig {
    /// Where the layer is.
    pub url: String,
    /// The property whose label is a tag.
    pub tag_property: Option<String>,
}

/// A box in the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedBox {
    /// The box's id. Without it, its position in the list, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A corner: x, y, z.
    pub min: [f64; 3],
    /// The opposite corner: x, y, z. Corners may come in any order.
    pub max: [f64; 3],
    /// The box's tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// The form in the config.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BoxesConfig")]
struct WrittenBoxes {
    /// The boxes. Exactly one of `list`, `csv` and `source` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<Vec<ListedBox>>,
    /// Path or URL of a table with one box per row. Relative to the config's folder. Its columns are `min_x`, `min_y`,
    /// `min_z`, `max_x`, `max_y`, `max_z`, or `min` and `max` with cells such as `[0, 0, 0]`; `tags`, separated by
    /// commas, semicolons or spaces, and `id` are optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    csv: Option<String>,
    /// A layer of precomputed annotations of type AXIS_ALIGNED_BOUNDING_BOX, such as `precomputed://file://./boxes`.
    /// Relative to the config's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The unit of the corners in `list` or `csv`. By default nm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<LengthUnit>,
    /// Size of a voxel in nm, x y z, for the unit `voxel` and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>")]
    resolution: Option<Resolution>,
    /// The character between the fields of `csv`. By default a tab in files named `*.tsv`, otherwise a comma.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delimiter: Option<char>,
    /// The layers that samples of these boxes are cut out of: name, then source. Volumes and annotation layers.
    #[schemars(length(min = 1))]
    layers: IndexMap<String, String>,
    /// Tags that every box has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// A property of the boxes in `source` with `enum_labels`: the label of its value is a tag, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag_property: Option<String>,
}

impl BoxesConfig {
    /// JSON path (below `boxes`) and description of the first invalid value, if there is one.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        if self.layers.is_empty() {
            let problem = "found no layer, expected the layers that samples are cut out of";
            return Some((".layers".to_owned(), problem.to_owned()));
        }
        match &self.source {
            BoxesSource::List(list) => list.problem(),
            BoxesSource::Csv(table) => {
                let problem = delimiter_problem(table.delimiter)?;
                Some((".delimiter".to_owned(), format!("found {problem}")))
            }
            BoxesSource::Layer(_) => None,
        }
    }
}

impl BoxListConfig {
    /// The id of every box, in the order of the list.
    pub(crate) fn ids(&self) -> impl Iterator<Item = String> {
        let boxes = self.boxes.iter().enumerate();
        boxes.map(|(i, one)| one.id.clone().unwrap_or_else(|| i.to_string()))
    }

    fn problem(&self) -> Option<(String, String)> {
        if self.boxes.is_empty() {
            let problem = "found no box, expected at least one".to_owned();
            return Some((".list".to_owned(), problem));
        }
        let mut known = HashMap::new();
        self.ids().enumerate().find_map(|(i, id)| {
            if let Some(problem) = self.boxes[i].no_volume() {
                return Some((format!(".list[{i}]"), problem));
            }
            let other = known.insert(id.clone(), i)?;
            let problem = format!(
                "found the id {id:?}, which list[{other}] has too, expected one box per id (a box without `id` has its \
                 position in the list as its id)"
            );
            Some((format!(".list[{i}].id"), problem))
        })
    }
}

impl ListedBox {
    fn no_volume(&self) -> Option<String> {
        no_volume(self.min, self.max)
    }
}

/// The error of a box between `min` and `max` that has no volume, if it has none.
pub(crate) fn no_volume(min: [f64; 3], max: [f64; 3]) -> Option<String> {
    let d = (0..3).find(|d| min[*d] == max[*d])?;
    let axis = crate::geometry::AXES[d];
    Some(format!(
        "`min` and `max` are both {} along {axis}, expected a box with a volume",
        min[d]
    ))
}

impl TryFrom<WrittenBoxes> for BoxesConfig {
    type Error = String;

    fn try_from(written: WrittenBoxes) -> Result<Self, String> {
        let unit = written.unit.unwrap_or_default();
        let resolution = written.resolution;
        let not_here = |given: bool, key: &str, only: &str| {
            if given {
                Err(format!(
                    "found `{key}`, which only boxes in {only} can have; remove it"
                ))
            } else {
                Ok(())
            }
        };
        if let Some(problem) = unit.problem(resolution) {
            return Err(format!("it {problem}"));
        }
        let of_table = written.delimiter.is_some();
        let of_layer = written.tag_property.is_some();
        let of_numbers = written.unit.is_some() || resolution.is_some();
        let source = match (written.list, written.csv, written.source) {
            (Some(boxes), None, None) => {
                not_here(of_table, "delimiter", "a table (`csv`)")?;
                not_here(of_layer, "tag_property", "a layer (`source`)")?;
                BoxesSource::List(BoxListConfig {
                    boxes,
                    unit,
                    resolution,
                })
            }
            (None, Some(file), None) => {
                not_here(of_layer, "tag_property", "a layer (`source`)")?;
                BoxesSource::Csv(BoxTableConfig {
                    file,
                    unit,
                    resolution,
                    delimiter: written.delimiter,
                })
            }
            (None, None, Some(url)) => {
                not_here(of_table, "delimiter", "a table (`csv`)")?;
                not_here(of_numbers, "unit", "`list` or `csv`")?;
                BoxesSource::Layer(BoxLayerConfig {
                    url,
                    tag_property: written.tag_property,
                })
            }
            (None, None, None) => {
                return Err("found no boxes, expected one of `list`, `csv`, `source`".to_owned());
            }
            _ => {
                return Err(
                    "found several sources of boxes, expected exactly one of `list`, `csv`, `source`"
                        .to_owned(),
                );
            }
        };
        Ok(Self {
            source,
            layers: written.layers,
            tags: written.tags,
        })
    }
}

impl From<BoxesConfig> for WrittenBoxes {
    fn from(config: BoxesConfig) -> Self {
        let mut written = Self {
            list: None,
            csv: None,
            source: None,
            unit: None,
            resolution: None,
            delimiter: None,
            layers: config.layers,
            tags: config.tags,
            tag_property: None,
        };
        let shown = |unit| Some(unit).filter(|unit| *unit != LengthUnit::Nm);
        match config.source {
            BoxesSource::List(list) => {
                written.list = Some(list.boxes);
                (written.unit, written.resolution) = (shown(list.unit), list.resolution);
            }
            BoxesSource::Csv(table) => {
                written.csv = Some(table.file);
                (written.unit, written.resolution) = (shown(table.unit), table.resolution);
                written.delimiter = table.delimiter;
            }
            BoxesSource::Layer(layer) => {
                written.source = Some(layer.url);
                written.tag_property = layer.tag_property;
            }
        }
        written
    }
}

impl JsonSchema for BoxesConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        WrittenBoxes::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        WrittenBoxes::json_schema(generator)
    }
}

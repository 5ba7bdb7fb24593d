//! Annotations inside boxes.
//!
//! In go the source of a point layer and the boxes of a collection; out comes, for every box, each
//! annotation whose anchor lies in it, once, ordered by id. Nothing is dropped silently: what could not be
//! used is counted in a [`PointsReport`], and a layer that contradicts itself is an error. Sources are
//! Neuroglancer's precomputed format (`precomputed`), viewer states (`state`) and tables (`csv`), which a
//! `table` in memory stands for; all produce the same batches and share everything behind them (`gather`).

mod csv;
mod error;
mod gather;
mod place;
mod precomputed;
mod property;
mod source;
mod state;
mod table;

use std::collections::HashSet;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::nearest;
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;
use crate::storage::{MemoryBudget, SourceUrl};

pub(crate) use csv::{TableError, TableRecords, table_delimiter};
pub use error::PointsError;
pub use property::{PropertyKind, PropertySpec};
pub use source::PointSource;

/// Which position of an annotation stands for it: decides its box and centres its window.
///
/// Boxes and ellipsoids have no ends: whatever the anchor, their centre stands for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// Half way between the two ends of a line; of a polyline, the middle by length.
    #[default]
    Midpoint,
    /// The first end.
    Start,
    /// The last end.
    End,
}

/// One annotation of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// Its number in the layer.
    pub id: u64,
    /// The position that stands for it.
    pub anchor: PointNm,
    /// First and last end of a line or polyline; a point, or the centre of a box or ellipsoid, twice.
    pub ends: [PointNm; 2],
    /// The values of all properties as stored; [`PropertySpec::bytes`] finds one.
    pub properties: Box<[u8]>,
}

/// A box of a layer of boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedBox {
    /// Its number in the layer.
    pub id: u64,
    /// Two opposite corners, in any order.
    pub corners: [PointNm; 2],
    /// The values of all properties as stored; [`PropertySpec::bytes`] finds one.
    pub properties: Box<[u8]>,
}

/// The annotations of a layer that lie in some boxes.
#[derive(Clone, Debug)]
pub struct PointsInBoxes {
    /// For every box, in the order asked for: its annotations by ascending id, each id once.
    pub per_box: Vec<Vec<Annotation>>,
    /// What was read for it, and what was odd.
    pub report: PointsReport,
}

/// What was read of a layer, and what was odd about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PointsReport {
    /// Cells of the spatial index that were read.
    pub cells_read: u64,
    /// Cells that were asked for but are not stored: they hold no annotations.
    pub cells_empty: u64,
    /// Different ids in the cells read, inside boxes or not.
    pub annotations_read: u64,
    /// Records beyond the first of an id: lines are stored in every cell that they cross, and some
    /// writers store every annotation on every level.
    pub repeated_records: u64,
    /// Annotations without a finite position; they are in no box and not in `annotations_read`.
    pub not_finite: NotFinite,
    /// Oddities of the layer that did not keep it from being read.
    pub warnings: Vec<String>,
}

/// Annotations that were left out because a coordinate is infinite or not a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotFinite {
    /// How many ids.
    pub annotations: u64,
    /// The lowest such id, and the file that holds it.
    pub example: Option<(u64, String)>,
}

/// An annotation layer, opened. The description of a precomputed layer and the header of a table are read and
/// checked, their annotations are not; states are read whole.
#[derive(Debug)]
pub struct PointLayer {
    layer: Layer,
}

#[derive(Debug)]
enum Layer {
    Precomputed(Box<precomputed::Layer>),
    Csv(Box<csv::Layer>),
    Table(table::Table),
}

impl PointLayer {
    /// Reads what the precomputed layer at `source` says about itself. What is read of it later is within `budget`.
    pub fn open(source: &SourceUrl, budget: &MemoryBudget) -> Result<Self, PointsError> {
        match source.format.as_deref() {
            None | Some("precomputed" | "neuroglancer-precomputed") => {
                let layer = precomputed::Layer::open(
                    &source.location,
                    source.transform.as_deref(),
                    budget,
                )?;
                Ok(Self {
                    layer: Layer::Precomputed(Box::new(layer)),
                })
            }
            Some(found) => Err(PointsError::Format {
                location: source.location.to_string(),
                found: found.to_owned(),
            }),
        }
    }

    fn of_csv(layer: csv::Layer) -> Self {
        Self {
            layer: Layer::Csv(Box::new(layer)),
        }
    }

    fn of_table(table: table::Table) -> Self {
        Self {
            layer: Layer::Table(table),
        }
    }

    /// The properties that every annotation has, in declared order.
    pub fn properties(&self) -> &[PropertySpec] {
        match &self.layer {
            Layer::Precomputed(layer) => layer.properties(),
            Layer::Csv(layer) => layer.properties(),
            Layer::Table(table) => table.properties(),
        }
    }

    /// What the annotations are; `None` where they are of several kinds.
    pub(crate) fn kind(&self) -> Option<GeometryKind> {
        match &self.layer {
            Layer::Precomputed(layer) => Some(layer.kind()),
            Layer::Csv(layer) => Some(layer.kind()),
            Layer::Table(table) => table.kind(),
        }
    }

    /// One line for people: kind of annotations, where they lie, levels, properties.
    pub fn describe(&self) -> String {
        match &self.layer {
            Layer::Precomputed(layer) => layer.describe(),
            Layer::Csv(layer) => layer.describe(),
            Layer::Table(table) => table.describe(),
        }
    }

    /// Every box of a precomputed layer of boxes, by ascending id.
    pub fn boxes(&self) -> Result<Vec<AnnotatedBox>, PointsError> {
        match &self.layer {
            Layer::Precomputed(layer) => layer.boxes(),
            Layer::Csv(_) | Layer::Table(_) => Err(PointsError::Format {
                location: self.describe(),
                found: "a table".to_owned(),
            }),
        }
    }

    /// The ids of the annotations that are related to objects: by every relationship in `wanted`, to at least one
    /// of the objects listed with it.
    pub fn related(
        &self,
        wanted: &IndexMap<String, Vec<u64>>,
    ) -> Result<HashSet<u64>, PointsError> {
        let names = match &self.layer {
            Layer::Precomputed(layer) => layer.relationships()?,
            Layer::Csv(_) => Vec::new(),
            Layer::Table(table) => table.relationships()?.to_vec(),
        };
        let mut all: Option<HashSet<u64>> = None;
        for (name, objects) in wanted {
            let position = names.iter().position(|n| n == name);
            let position = position.ok_or_else(|| self.no_relationship(name, &names))?;
            let ids = match &self.layer {
                Layer::Precomputed(layer) => layer.related(position, objects)?,
                Layer::Csv(_) => HashSet::new(),
                Layer::Table(table) => table.related(position, objects),
            };
            all = Some(match all {
                None => ids,
                Some(all) => all.intersection(&ids).copied().collect(),
            });
        }
        Ok(all.unwrap_or_default())
    }

    fn no_relationship(&self, name: &str, names: &[String]) -> PointsError {
        let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
        let known = match (&self.layer, quoted.is_empty()) {
            (Layer::Csv(_), _) => "none, because a table has no relationships".to_owned(),
            (_, true) => "none".to_owned(),
            (_, false) => quoted.join(", "),
        };
        PointsError::NoRelationship {
            name: name.to_owned(),
            object: match &self.layer {
                Layer::Precomputed(layer) => layer.location(),
                Layer::Csv(layer) => layer.object().to_owned(),
                Layer::Table(table) => table.object().to_owned(),
            },
            known,
            hint: nearest(name, names.iter().map(String::as_str)).map(str::to_owned),
        }
    }

    /// Where annotations lie, inside boxes or not: of a precomputed layer as its info says, of a table the box around
    /// all anchors. `None` where there is none with a finite position.
    pub fn extent(&self, anchor: Anchor) -> Result<Option<BoxNm>, PointsError> {
        match &self.layer {
            Layer::Precomputed(layer) => Ok(layer.extent()),
            Layer::Csv(layer) => layer.extent(anchor),
            Layer::Table(table) => Ok(table.extent(anchor)),
        }
    }

    /// The annotations whose anchor lies in each of `boxes`.
    ///
    /// Reads only the cells of the spatial index that some box needs, each once, in parallel.
    pub fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<PointsInBoxes, PointsError> {
        match &self.layer {
            Layer::Precomputed(layer) => layer.read_boxes(boxes, anchor),
            Layer::Csv(layer) => layer.read_boxes(boxes, anchor),
            Layer::Table(table) => table.read_boxes(boxes, anchor),
        }
    }
}

#[cfg(test)]
mod tests;

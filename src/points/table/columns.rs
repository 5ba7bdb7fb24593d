//! The columns in the config, and the annotation in a row of a table.

use super::cells::RowCells;
use super::near_boxes::NearBoxes;
use super::row::{RoundedNumbers, RowGeometry, TableRow};
use crate::config::{PositionColumns, TableConfig, nearest};
use crate::geometry::PointNm;
use crate::neuroglancer::GeometryKind;
use crate::points::annotation::{Anchor, InBox};
use crate::points::error::PointsError;
use crate::points::merge::BoxIndex;
use crate::points::property::{PropertySpec, lay_out, record_bytes};

/// Columns that a message names.
const NAMED_COLUMNS: usize = 50;

/// The position of the only column with this name. The error describes the problem.
pub(super) fn find_column<'a>(
    name: &str,
    columns: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize, String> {
    let mut matching = columns.clone().enumerate().filter(|(_, c)| *c == name);
    match (matching.next(), matching.next()) {
        (Some((position, _)), None) => Ok(position),
        (Some(_), Some(_)) => Err(format!("it has two columns `{name}`, expected one")),
        (None, _) => {
            let hint = nearest(name, columns.clone())
                .map(|hint| format!("; did you mean `{hint}`?"))
                .unwrap_or_default();
            let known: Vec<&str> = columns.take(NAMED_COLUMNS).collect();
            let known = known.join(", ");
            Err(format!(
                "it has no column `{name}`; its columns are {known}{hint}"
            ))
        }
    }
}

/// The columns of a position, by their numbers in [`AnnotationColumns::names`].
#[derive(Clone, Copy, Debug)]
pub(super) enum PositionCells {
    /// A column for each of x, y, z.
    Three([usize; 3]),
    /// One column of lists.
    List(usize),
}

/// The columns of an annotation that the config names.
#[derive(Debug)]
pub(super) struct AnnotationColumns {
    /// The names of all columns, each once.
    pub names: Vec<String>,
    pub id: Option<usize>,
    /// The first end of a line, or the point.
    pub start: PositionCells,
    pub end: Option<PositionCells>,
    /// The centre of a line.
    pub center: Option<PositionCells>,
    pub unit_nm: [f64; 3],
    /// The columns of the properties, in the order of the config.
    properties: Vec<usize>,
    /// The properties, with the layout of records.
    pub specs: Vec<PropertySpec>,
}

impl AnnotationColumns {
    /// The error describes the problem.
    pub fn new(config: &TableConfig) -> Result<Self, String> {
        let mut names: Vec<String> = Vec::new();
        let mut column = |name: &String| {
            names.iter().position(|n| n == name).unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            })
        };
        let id = config.id.as_ref().map(&mut column);
        let mut position = |columns: &PositionColumns| match columns {
            PositionColumns::List(name) => PositionCells::List(column(name)),
            PositionColumns::Three(names) => {
                PositionCells::Three(names.each_ref().map(&mut column))
            }
        };
        let start = config.first().map(&mut position);
        let end = config.end.as_ref().map(&mut position);
        let center = config.center().map(&mut position);
        let properties = config.properties.keys().map(&mut column).collect();
        let specs = config.properties.iter();
        let specs = specs.map(|(name, kind)| PropertySpec::of_table(name, *kind));
        let mut specs = specs.collect::<Result<Vec<_>, String>>()?;
        lay_out(&mut specs);
        Ok(Self {
            id,
            start: start.ok_or("the config has no columns for positions")?,
            end,
            center,
            unit_nm: config.unit.nm(config.resolution),
            properties,
            specs,
            names,
        })
    }

    pub fn kind(&self) -> GeometryKind {
        match self.end {
            Some(_) => GeometryKind::Line,
            None => GeometryKind::Point,
        }
    }

    /// What decides which rows are near a box; `None` if positions are lists, whose statistics mix the axes, or if the bounds of
    /// three positions decide.
    pub fn near<'a>(&'a self, boxes: &'a BoxIndex<'a>, anchor: Anchor) -> Option<NearBoxes<'a>> {
        let names = |position: PositionCells| match position {
            PositionCells::Three(columns) => Some(columns.map(|c| self.names[c].as_str())),
            PositionCells::List(_) => None,
        };
        // As in `RowGeometry::position`.
        let (first, second) = match (self.end, anchor) {
            (Some(end), _) if boxes.in_box() == InBox::ByBounds => match self.center {
                Some(_) => return None,
                None => (self.start, Some(end)),
            },
            (None, _) | (_, Anchor::Start) => (self.start, None),
            (Some(end), Anchor::End) => (end, None),
            (Some(end), Anchor::Midpoint) => match self.center {
                Some(center) => (center, None),
                None => (self.start, Some(end)),
            },
        };
        let other_end = match second {
            None => None,
            Some(second) => Some(names(second)?),
        };
        Some(NearBoxes {
            boxes,
            unit_nm: self.unit_nm,
            position: names(first)?,
            other_end,
        })
    }

    /// The id and the positions of a row. `rounded` counts ids that may have been rounded.
    pub fn row(
        &self,
        cells: &impl RowCells,
        rounded: &mut RoundedNumbers,
    ) -> Result<TableRow, PointsError> {
        let number = cells.number();
        let id = match self.id {
            None => cells.row(),
            Some(column) => {
                let id = cells.whole_number(column)?;
                if id.may_be_rounded {
                    rounded.note(cells, column);
                }
                id.value
            }
        };
        let point = |position: PositionCells| self.point(cells, position);
        Ok(TableRow {
            id,
            number,
            geometry: RowGeometry {
                first: point(self.start)?,
                last: self.end.map(point).transpose()?,
                center: self.center.map(point).transpose()?,
            },
        })
    }

    /// The properties of a row, as a record. `rounded` counts whole numbers that may have been rounded.
    pub fn properties(
        &self,
        cells: &impl RowCells,
        rounded: &mut RoundedNumbers,
    ) -> Result<Vec<u8>, PointsError> {
        let mut record = vec![0; record_bytes(&self.specs)];
        for (column, spec) in self.properties.iter().zip(&self.specs) {
            cells.write_property(*column, spec, &mut record)?;
            if spec.kind.is_whole_number() && cells.may_be_rounded(*column) {
                rounded.note(cells, *column);
            }
        }
        Ok(record)
    }

    fn point(
        &self,
        cells: &impl RowCells,
        position: PositionCells,
    ) -> Result<PointNm, PointsError> {
        let mut point = match position {
            PositionCells::List(column) => cells.position(column)?,
            PositionCells::Three(columns) => {
                let mut point = [0.0; 3];
                for (coordinate, column) in point.iter_mut().zip(columns) {
                    *coordinate = cells.coordinate(column)?;
                }
                point
            }
        };
        for (coordinate, unit_nm) in point.iter_mut().zip(self.unit_nm) {
            *coordinate *= unit_nm;
        }
        Ok(PointNm(point))
    }
}

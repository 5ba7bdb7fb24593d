//! A row of a table of any format.

use super::cells::RowCells;
use super::ids::{NOT_FINITE, digest};
use crate::geometry::PointNm;
use crate::neuroglancer::GeometryKind;
use crate::points::annotation::Anchor;
use crate::points::position::AnnotationPosition;

/// A row whose id and positions are parsed.
pub(super) struct TableRow {
    pub id: u64,
    /// The line of a text on which it starts, or the number of the row, from 0.
    pub number: u64,
    pub geometry: RowGeometry,
}

/// The positions of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowGeometry {
    /// The point, or the first end of a line.
    pub first: PointNm,
    /// The last end of a line.
    pub last: Option<PointNm>,
    /// The centre of a line, if it is not its middle.
    pub center: Option<PointNm>,
}

impl RowGeometry {
    /// The position of the annotation, if all coordinates are finite, and the digest of the geometry.
    pub fn place(&self, anchor: Anchor) -> (Option<AnnotationPosition>, u64) {
        let position = self.position(anchor);
        let digest = position.map_or(NOT_FINITE, |_| digest(self.points()));
        (position, digest)
    }

    /// All positions, for messages.
    pub fn describe(&self) -> String {
        let points: Vec<String> = self.points().map(|point| point.to_string()).collect();
        points.join(" - ")
    }

    /// All positions.
    fn points(&self) -> impl Iterator<Item = PointNm> + Clone {
        [Some(self.first), self.last, self.center]
            .into_iter()
            .flatten()
    }

    /// The position of the annotation; `None` if a coordinate is not finite.
    fn position(&self, anchor: Anchor) -> Option<AnnotationPosition> {
        let kind = match self.last {
            None => GeometryKind::Point,
            Some(_) => GeometryKind::Line,
        };
        let ends = [Some(self.first), self.last].into_iter().flatten();
        let position = AnnotationPosition::of(kind, ends, anchor)?;
        match self.center {
            Some(center) if anchor == Anchor::Midpoint => {
                center.is_finite().then_some(AnnotationPosition {
                    anchor: center,
                    ..position
                })
            }
            _ => Some(position),
        }
    }
}

/// Whole numbers that the table's writer may have rounded: ids, and properties of annotations in boxes.
#[derive(Debug, Default)]
pub(super) struct RoundedNumbers {
    count: u64,
    /// The first one: what its cell has, its column, and the number of its row.
    example: Option<(String, usize, u64)>,
}

impl RoundedNumbers {
    /// Counts the number in a cell.
    pub fn note(&mut self, cells: &impl RowCells, column: usize) {
        let example = || (cells.describe(column), column, cells.number());
        self.example.get_or_insert_with(example);
        self.count += 1;
    }

    /// Adds those of a part of the table, in which rows have numbers after `first`.
    pub fn add(&mut self, of_part: Self, first: u64) {
        let of_part_example = of_part.example;
        let example = of_part_example.map(|(found, column, row)| (found, column, row + first));
        self.example = self.example.take().or(example);
        self.count += of_part.count;
    }

    /// The warning about them, if there are any. `names` are those of the columns; `row_name` names the row with a number.
    pub fn warning(&self, names: &[String], row_name: impl Fn(u64) -> String) -> Option<String> {
        let (found, column, row) = self.example.as_ref()?;
        Some(format!(
            "{} whole numbers are stored as floats, and the program that wrote the table may have rounded them, for example {found} in \
             `{}` of {}: float64 is exact up to 2^53, float32 up to 2^24, float16 up to 2^11; write them as integers",
            self.count,
            names.get(*column).map_or("", String::as_str),
            row_name(*row),
        ))
    }
}

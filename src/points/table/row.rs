//! A row of a table of any format.

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

/// Ids that the table's writer may have rounded.
#[derive(Debug, Default)]
pub(super) struct RoundedIds {
    rows: u64,
    /// The first such id and the number of its row.
    example: (u64, u64),
}

impl RoundedIds {
    pub fn note(&mut self, id: u64, number: u64) {
        if self.rows == 0 {
            self.example = (id, number);
        }
        self.rows += 1;
    }

    /// Adds those of a part of the table, in which rows have numbers after `first`.
    pub fn add(&mut self, of_part: &Self, first: u64) {
        if self.rows == 0 && of_part.rows > 0 {
            let (id, number) = of_part.example;
            self.example = (id, first + number);
        }
        self.rows += of_part.rows;
    }

    /// The warning about them, if there are any. `row_name` names the row with a number.
    pub fn warning(&self, object: &str, row_name: impl Fn(u64) -> String) -> Option<String> {
        let (id, number) = self.example;
        (self.rows > 0).then(|| {
            format!(
                "{object}: {} ids are written as floats and are above 2^53, for example {id}.0 in {}: the \
                 program that wrote the table may have rounded them; write ids as whole numbers",
                self.rows,
                row_name(number)
            )
        })
    }
}

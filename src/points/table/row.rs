//! A row of a table of any format.

use super::columnar_file::RowColumns;
use super::ids::{NOT_FINITE, digest};
use crate::geometry::PointNm;
use crate::neuroglancer::GeometryKind;
use crate::points::annotation::Anchor;
use crate::points::error::PointsError;
use crate::points::position::AnnotationPosition;
use crate::points::property::PropertySpec;

/// What is expected of an id.
pub(super) const ID_EXPECTED: &str =
    "a whole number from 0 to 18446744073709551615, such as 101 or 101.0";

/// What is expected of a position in one column.
pub(super) const POSITION_EXPECTED: &str = "a list of three numbers, such as [101, 202, 33]";

/// A row whose id and positions are parsed.
pub(super) struct TableRow<'r> {
    pub id: u64,
    /// The line of a text on which it starts, or the number of the row, from 0.
    pub number: u64,
    pub geometry: RowGeometry,
    pub properties: RowProperties<'r>,
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

/// The properties of a row.
pub(super) enum RowProperties<'r> {
    /// As a record.
    Record(&'r [u8]),
    /// In columns, not parsed yet.
    Columns(RowColumns<'r>),
}

impl RowProperties<'_> {
    /// The properties as a record, by the layout of `specs`; `record` has its length.
    pub fn record<'a>(
        &'a self,
        specs: &[PropertySpec],
        record: &'a mut [u8],
    ) -> Result<&'a [u8], PointsError> {
        match self {
            Self::Record(record) => Ok(record),
            Self::Columns(columns) => {
                columns.write_properties(specs, record)?;
                Ok(record)
            }
        }
    }
}

impl TableRow<'_> {
    /// Its position, and the digest of its geometry.
    pub fn position(&self, anchor: Anchor) -> (Option<AnnotationPosition>, u64) {
        let position = self.geometry.position(anchor);
        let digest = position.map_or(NOT_FINITE, |_| digest(self.geometry.points()));
        (position, digest)
    }

    pub fn geometry(&self) -> String {
        let points = self.geometry.points();
        let points: Vec<String> = points.map(|point| point.to_string()).collect();
        points.join(" - ")
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

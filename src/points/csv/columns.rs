//! The columns in the config, found in a table's header, and the fields of a row in these columns.

use ::csv::StringRecord;

use super::id::{WholeNumber, whole_number};
use crate::config::{CsvConfig, nearest};
use crate::geometry::PointNm;
use crate::neuroglancer::GeometryKind;
use crate::points::error::PointsError;
use crate::points::property::PropertySpec;

/// Columns that a message names.
const NAMED_COLUMNS: usize = 50;

/// A column: its name and its position.
#[derive(Debug)]
pub(super) struct CsvColumn {
    name: String,
    position: usize,
}

impl CsvColumn {
    /// The only column with this name. The error describes the problem.
    fn find(name: &str, header: &StringRecord) -> Result<Self, String> {
        let mut matching = (0..).zip(header).filter(|(_, column)| *column == name);
        match (matching.next(), matching.next()) {
            (Some((position, _)), None) => Ok(Self {
                name: name.to_owned(),
                position,
            }),
            (Some(_), Some(_)) => Err(format!("it has two columns `{name}`, expected one")),
            (None, _) => {
                let hint = nearest(name, header.iter())
                    .map(|hint| format!("; did you mean `{hint}`?"))
                    .unwrap_or_default();
                let known: Vec<&str> = header.iter().take(NAMED_COLUMNS).collect();
                let known = known.join(", ");
                Err(format!(
                    "it has no column `{name}`; its columns are {known}{hint}"
                ))
            }
        }
    }
}

/// The columns in the config.
#[derive(Debug)]
pub(super) struct CsvColumns {
    pub(super) id: Option<CsvColumn>,
    /// The first end of a line, or the point.
    pub(super) start: [CsvColumn; 3],
    pub(super) end: Option<[CsvColumn; 3]>,
    pub(super) unit_nm: [f64; 3],
    pub(super) properties: Vec<(CsvColumn, PropertySpec)>,
}

impl CsvColumns {
    /// Finds the columns in `header`; `object` is the file, for messages.
    pub(super) fn find(
        header: &StringRecord,
        config: &CsvConfig,
        object: &str,
    ) -> Result<Self, PointsError> {
        let wrong = |problem: String| PointsError::Columns {
            object: object.to_owned(),
            problem,
        };
        let column = |name: &String| CsvColumn::find(name, header).map_err(wrong);
        let three = |names: &[String; 3]| -> Result<[CsvColumn; 3], PointsError> {
            let [x, y, z] = names;
            Ok([column(x)?, column(y)?, column(z)?])
        };
        let start = config.point.as_ref().or(config.start.as_ref());
        let Some(start) = start else {
            return Err(wrong("the config has no columns for positions".to_owned()));
        };
        let properties = config.properties.iter().map(|(name, kind)| {
            if let Some(expected) = PropertySpec::wrong_id(name) {
                return Err(wrong(format!(
                    "the column {name:?} cannot be a property; expected {expected}"
                )));
            }
            Ok((column(name)?, PropertySpec::new(name.clone(), *kind)))
        });
        Ok(Self {
            id: config.id.as_ref().map(column).transpose()?,
            start: three(start)?,
            end: config.end.as_ref().map(three).transpose()?,
            unit_nm: config.unit.nm(config.resolution),
            properties: properties.collect::<Result<_, _>>()?,
        })
    }
}

/// The fields of one row.
pub(super) struct RowFields<'r> {
    pub(super) record: &'r StringRecord,
    pub(super) object: &'r str,
    /// The line on which the row starts, as an editor counts.
    pub(super) line: u64,
}

impl RowFields<'_> {
    pub(super) fn text(&self, column: &CsvColumn) -> &str {
        self.record.get(column.position).unwrap_or_default()
    }

    /// The whole number in a column of ids.
    pub(super) fn id(&self, column: &CsvColumn) -> Result<WholeNumber, PointsError> {
        whole_number(self.text(column)).ok_or_else(|| {
            let expected = "a whole number from 0 to 18446744073709551615, such as 101 or 101.0";
            self.wrong(column, expected)
        })
    }

    /// The kind of annotation, and its ends; both ends of a point are the same.
    pub(super) fn geometry(
        &self,
        columns: &CsvColumns,
    ) -> Result<(GeometryKind, [PointNm; 2]), PointsError> {
        let first = self.point(&columns.start, columns.unit_nm)?;
        match &columns.end {
            None => Ok((GeometryKind::Point, [first; 2])),
            Some(end) => {
                let last = self.point(end, columns.unit_nm)?;
                Ok((GeometryKind::Line, [first, last]))
            }
        }
    }

    fn point(&self, columns: &[CsvColumn; 3], unit_nm: [f64; 3]) -> Result<PointNm, PointsError> {
        let mut point = [0.0; 3];
        for (d, column) in columns.iter().enumerate() {
            let number: f64 = self
                .text(column)
                .parse()
                .map_err(|_| self.wrong(column, "a number"))?;
            point[d] = number * unit_nm[d];
        }
        Ok(PointNm(point))
    }

    pub(super) fn wrong(&self, column: &CsvColumn, expected: impl Into<String>) -> PointsError {
        PointsError::Row {
            object: format!("{}: line {}", self.object, self.line),
            field: column.name.clone(),
            found: match self.text(column) {
                "" => "empty".to_owned(),
                text => format!("{:?}", text.chars().take(80).collect::<String>()),
            },
            expected: expected.into(),
        }
    }
}

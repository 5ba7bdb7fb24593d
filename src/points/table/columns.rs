//! The columns in the config, found in a table's header, and the fields of a row in these columns.

use ::csv::StringRecord;

use super::id::{WholeNumber, whole_number};
use super::position_text::parse_position;
use super::row::{
    ID_EXPECTED, POSITION_EXPECTED, RoundedIds, RowGeometry, RowProperties, TableRow,
};
use crate::config::{PositionColumns, TableConfig, nearest};
use crate::geometry::PointNm;
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
        Ok(Self {
            name: name.to_owned(),
            position: find_column(name, header.iter())?,
        })
    }
}

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

/// The columns of a position.
#[derive(Debug)]
pub(super) enum CsvPosition {
    /// A column for each of x, y, z.
    Three([CsvColumn; 3]),
    /// One column of lists.
    List(CsvColumn),
}

/// The columns in the config.
#[derive(Debug)]
pub(super) struct CsvColumns {
    pub(super) id: Option<CsvColumn>,
    /// The first end of a line, or the point.
    pub(super) start: CsvPosition,
    pub(super) end: Option<CsvPosition>,
    /// The centre of a line.
    pub(super) center: Option<CsvPosition>,
    pub(super) unit_nm: [f64; 3],
    pub(super) properties: Vec<(CsvColumn, PropertySpec)>,
}

impl CsvColumns {
    /// The properties.
    pub(super) fn specs(&self) -> impl Iterator<Item = &PropertySpec> {
        self.properties.iter().map(|(_, spec)| spec)
    }

    /// Finds the columns in `header`; `object` is the file, for messages.
    pub(super) fn find(
        header: &StringRecord,
        config: &TableConfig,
        object: &str,
    ) -> Result<Self, PointsError> {
        let wrong = |problem: String| PointsError::Columns {
            object: object.to_owned(),
            problem,
        };
        let column = |name: &String| CsvColumn::find(name, header).map_err(wrong);
        let position = |columns: &PositionColumns| -> Result<CsvPosition, PointsError> {
            Ok(match columns {
                PositionColumns::List(name) => CsvPosition::List(column(name)?),
                PositionColumns::Three([x, y, z]) => {
                    CsvPosition::Three([column(x)?, column(y)?, column(z)?])
                }
            })
        };
        let Some(start) = config.first() else {
            return Err(wrong("the config has no columns for positions".to_owned()));
        };
        let properties = config.properties.iter().map(|(name, kind)| {
            let spec = PropertySpec::of_table(name, *kind).map_err(wrong)?;
            Ok::<_, PointsError>((column(name)?, spec))
        });
        Ok(Self {
            id: config.id.as_ref().map(column).transpose()?,
            start: position(start)?,
            end: config.end.as_ref().map(position).transpose()?,
            center: config.center().map(position).transpose()?,
            unit_nm: config.unit.nm(config.resolution),
            properties: properties.collect::<Result<_, _>>()?,
        })
    }
}

/// The fields of one row.
pub(super) struct RowFields<'r> {
    pub(super) record: &'r StringRecord,
    pub(super) object: &'r str,
    /// What `number` counts: "line" or "row".
    pub(super) word: &'r str,
    /// The line on which the row starts, as an editor counts, or the number of the row, from 0.
    pub(super) number: u64,
}

impl RowFields<'_> {
    fn text(&self, column: &CsvColumn) -> &str {
        self.record.get(column.position).unwrap_or_default()
    }

    /// The whole number in a column of ids.
    fn id(&self, column: &CsvColumn) -> Result<WholeNumber, PointsError> {
        whole_number(self.text(column)).ok_or_else(|| self.wrong(column, ID_EXPECTED))
    }

    /// Calls `visit` with the row. `row` is its number, from 0, which is its id without a column of ids; `values` is a buffer for a
    /// record with the layout of `properties`.
    pub(super) fn visit(
        &self,
        columns: &CsvColumns,
        properties: &[PropertySpec],
        row: u64,
        values: &mut [u8],
        rounded: &mut Option<&mut RoundedIds>,
        visit: &mut dyn FnMut(TableRow<'_>) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let id = match &columns.id {
            None => row,
            Some(column) => {
                let id = self.id(column)?;
                if let Some(rounded) = rounded.as_mut().filter(|_| id.may_be_rounded) {
                    rounded.note(id.value, self.number);
                }
                id.value
            }
        };
        let geometry = self.geometry(columns)?;
        for ((column, _), spec) in columns.properties.iter().zip(properties) {
            let written = spec.write(self.text(column), values);
            written.map_err(|expected| self.wrong(column, expected))?;
        }
        visit(TableRow {
            id,
            number: self.number,
            geometry,
            properties: RowProperties::Record(values),
        })
    }

    /// The positions of the row.
    fn geometry(&self, columns: &CsvColumns) -> Result<RowGeometry, PointsError> {
        let point = |position: &CsvPosition| self.point(position, columns.unit_nm);
        Ok(RowGeometry {
            first: point(&columns.start)?,
            last: columns.end.as_ref().map(point).transpose()?,
            center: columns.center.as_ref().map(point).transpose()?,
        })
    }

    fn point(&self, position: &CsvPosition, unit_nm: [f64; 3]) -> Result<PointNm, PointsError> {
        let mut point = match position {
            CsvPosition::List(column) => {
                let position = parse_position(self.text(column));
                position.ok_or_else(|| self.wrong(column, POSITION_EXPECTED))?
            }
            CsvPosition::Three(columns) => {
                let mut point = [0.0; 3];
                for (d, column) in columns.iter().enumerate() {
                    let number = self.text(column).parse();
                    point[d] = number.map_err(|_| self.wrong(column, "a number"))?;
                }
                point
            }
        };
        for (d, coordinate) in point.iter_mut().enumerate() {
            *coordinate *= unit_nm[d];
        }
        Ok(PointNm(point))
    }

    fn wrong(&self, column: &CsvColumn, expected: impl Into<String>) -> PointsError {
        PointsError::Row {
            object: format!("{}: {} {}", self.object, self.word, self.number),
            field: column.name.clone(),
            found: match self.text(column) {
                "" => "empty".to_owned(),
                text => format!("{:?}", text.chars().take(80).collect::<String>()),
            },
            expected: expected.into(),
        }
    }
}

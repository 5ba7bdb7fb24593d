//! Tables that are stored column by column: Parquet and Arrow. Only the columns that the config names are read.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::arrow_file::ArrowFile;
use super::arrow_value::{self, ArrowValue};
use super::columns::find_column;
use super::format::TableFormat;
use super::near_boxes::NearBoxes;
use super::object_reader::ObjectReader;
use super::parquet_file::ParquetFile;
use super::row::{
    ID_EXPECTED, POSITION_EXPECTED, RoundedIds, RowGeometry, RowProperties, TableRow,
};
use super::row_numbers::RowNumbers;
use crate::config::{PositionColumns, TableConfig};
use crate::geometry::PointNm;
use crate::points::annotation::Anchor;
use crate::points::error::PointsError;
use crate::points::merge::BoxIndex;
use crate::points::property::PropertySpec;

/// An open table with its columns.
#[derive(Debug)]
pub(super) struct ColumnarFile {
    object: String,
    batches: Batches,
    /// Positions in the schema of the columns that are read, ascending.
    projection: Vec<usize>,
    id: Option<ColumnarColumn>,
    start: ColumnarPosition,
    end: Option<ColumnarPosition>,
    /// The centre of a line.
    center: Option<ColumnarPosition>,
    properties: Vec<(ColumnarColumn, PropertySpec)>,
    unit_nm: [f64; 3],
}

#[derive(Debug)]
enum Batches {
    Parquet(ParquetFile),
    Arrow(ArrowFile),
}

/// A column: its name, and its place among those that are read.
#[derive(Debug)]
struct ColumnarColumn {
    name: String,
    place: usize,
}

/// The columns of a position.
#[derive(Debug)]
enum ColumnarPosition {
    Three([ColumnarColumn; 3], [String; 3]),
    List(ColumnarColumn),
}

impl ColumnarFile {
    /// Opens the table in a file that is not CSV. Record batches of an Arrow file may have at most `limit_bytes`.
    pub fn open(
        object: &str,
        format: TableFormat,
        reader: ObjectReader,
        config: &TableConfig,
        limit_bytes: u64,
    ) -> Result<Self, PointsError> {
        let batches = Batches::open(object, format, reader, limit_bytes)?;
        let wrong = |problem: String| PointsError::Columns {
            object: object.to_owned(),
            problem,
        };
        let projection = projection(batches.schema(), config).map_err(wrong)?;
        let column = |name: &str| {
            let found = find(batches.schema(), name)?;
            let place = projection.binary_search(&found).unwrap_or_default();
            Ok(ColumnarColumn {
                name: name.to_owned(),
                place,
            })
        };
        let position = |columns: &PositionColumns| match columns {
            PositionColumns::List(name) => Ok(ColumnarPosition::List(column(name)?)),
            PositionColumns::Three([x, y, z]) => Ok(ColumnarPosition::Three(
                [column(x)?, column(y)?, column(z)?],
                [x.clone(), y.clone(), z.clone()],
            )),
        };
        let start = config.first();
        let start =
            start.ok_or_else(|| wrong("the config has no columns for positions".to_owned()));
        let optional = |columns: Option<&PositionColumns>| columns.map(position).transpose();
        let properties = config
            .properties
            .iter()
            .map(|(name, kind)| Ok((column(name)?, PropertySpec::of_table(name, *kind)?)));
        let properties: Result<_, String> = properties.collect();
        let id = config.id.as_deref().map(column).transpose();
        Ok(Self {
            id: id.map_err(wrong)?,
            start: position(start?).map_err(wrong)?,
            end: optional(config.end.as_ref()).map_err(wrong)?,
            center: optional(config.center()).map_err(wrong)?,
            properties: properties.map_err(wrong)?,
            unit_nm: config.unit.nm(config.resolution),
            object: object.to_owned(),
            projection,
            batches,
        })
    }

    /// The names of the columns of a table in a file that is not CSV.
    pub fn column_names(
        object: &str,
        format: TableFormat,
        reader: ObjectReader,
    ) -> Result<Vec<String>, PointsError> {
        let batches = Batches::open(object, format, reader, 0)?;
        let fields = batches.schema().fields().iter();
        Ok(fields.map(|field| field.name().clone()).collect())
    }

    pub fn object(&self) -> &str {
        &self.object
    }

    pub fn properties(&self) -> impl Iterator<Item = &PropertySpec> {
        self.properties.iter().map(|(_, spec)| spec)
    }

    pub fn has_lines(&self) -> bool {
        self.end.is_some()
    }

    /// Calls `visit` with every row, in order; with boxes, at least with those whose anchor is in one.
    pub fn for_each_row(
        &self,
        boxes: Option<(&BoxIndex<'_>, Anchor)>,
        rounded: &mut Option<&mut RoundedIds>,
        visit: &mut dyn FnMut(TableRow<'_>) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let near = boxes.and_then(|(boxes, anchor)| self.near(boxes, anchor));
        let mut of_batch = |batch: &RecordBatch, numbers: &mut RowNumbers| {
            for row in 0..batch.num_rows() {
                let columns = RowColumns {
                    file: self,
                    batch,
                    row,
                    number: numbers.next(),
                };
                columns.visit(rounded, visit)?;
            }
            Ok(())
        };
        match &self.batches {
            Batches::Parquet(file) => {
                file.for_each_batch(&self.projection, near.as_ref(), &mut of_batch)
            }
            Batches::Arrow(file) => file.for_each_batch(&self.projection, &mut of_batch),
        }
    }

    /// What decides which rows are near a box; `None` if positions are lists, whose statistics mix the axes.
    fn near<'a>(&'a self, boxes: &'a BoxIndex<'a>, anchor: Anchor) -> Option<NearBoxes<'a>> {
        let names = |position: &'a ColumnarPosition| match position {
            ColumnarPosition::Three(_, names) => Some(names),
            ColumnarPosition::List(_) => None,
        };
        // As in `RowGeometry::position`.
        let (first, second) = match (&self.end, anchor) {
            (None, _) | (_, Anchor::Start) => (&self.start, None),
            (Some(end), Anchor::End) => (end, None),
            (Some(end), Anchor::Midpoint) => match &self.center {
                Some(center) => (center, None),
                None => (&self.start, Some(end)),
            },
        };
        let second = match second {
            None => None,
            Some(second) => Some(names(second)?),
        };
        Some(NearBoxes {
            boxes,
            unit_nm: self.unit_nm,
            position: names(first)?,
            other_end: second,
        })
    }
}

impl Batches {
    fn open(
        object: &str,
        format: TableFormat,
        reader: ObjectReader,
        limit_bytes: u64,
    ) -> Result<Self, PointsError> {
        Ok(match format {
            TableFormat::Arrow => Self::Arrow(ArrowFile::open(object, reader, limit_bytes)?),
            _ => Self::Parquet(ParquetFile::open(object, reader)?),
        })
    }

    fn schema(&self) -> &Schema {
        match self {
            Self::Parquet(file) => file.schema(),
            Self::Arrow(file) => file.schema(),
        }
    }
}

/// The position in the schema of the column with this name, whose type must be supported.
fn find(schema: &Schema, name: &str) -> Result<usize, String> {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let found = find_column(name, names)?;
    let data_type = schema.field(found).data_type();
    if arrow_value::is_supported(data_type) {
        Ok(found)
    } else {
        Err(format!(
            "its column `{name}` has the type {data_type}; expected numbers, text, or lists of numbers"
        ))
    }
}

/// The positions in the schema of all columns in the config, ascending.
fn projection(schema: &Schema, config: &TableConfig) -> Result<Vec<usize>, String> {
    let positions = [&config.point, &config.start, &config.end];
    let positions = positions.into_iter().flatten().flat_map(|p| match p {
        PositionColumns::Three(names) => names.as_slice(),
        PositionColumns::List(name) => std::slice::from_ref(name),
    });
    let names = positions.chain(&config.id).chain(config.properties.keys());
    let found: BTreeSet<usize> = names
        .map(|name| find(schema, name))
        .collect::<Result<_, _>>()?;
    Ok(found.into_iter().collect())
}

/// The columns of one row.
#[derive(Clone, Copy)]
pub(super) struct RowColumns<'r> {
    file: &'r ColumnarFile,
    batch: &'r RecordBatch,
    /// Position in the batch.
    row: usize,
    /// Position in the table.
    number: u64,
}

impl<'r> RowColumns<'r> {
    fn visit(
        self,
        rounded: &mut Option<&mut RoundedIds>,
        visit: &mut dyn FnMut(TableRow<'_>) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let id = match &self.file.id {
            None => self.number,
            Some(column) => {
                let id = self.value(column).id();
                let id = id.ok_or_else(|| self.wrong(column, ID_EXPECTED))?;
                if let Some(rounded) = rounded.as_mut().filter(|_| id.may_be_rounded) {
                    rounded.note(id.value, self.number);
                }
                id.value
            }
        };
        let point = |position: &ColumnarPosition| self.point(position);
        let geometry = RowGeometry {
            first: point(&self.file.start)?,
            last: self.file.end.as_ref().map(point).transpose()?,
            center: self.file.center.as_ref().map(point).transpose()?,
        };
        visit(TableRow {
            id,
            number: self.number,
            geometry,
            properties: RowProperties::Columns(self),
        })
    }

    fn value(&self, column: &ColumnarColumn) -> ArrowValue<'r> {
        arrow_value::value(self.batch.column(column.place).as_ref(), self.row)
    }

    fn point(&self, position: &ColumnarPosition) -> Result<PointNm, PointsError> {
        let unit_nm = self.file.unit_nm;
        let mut point = match position {
            ColumnarPosition::List(column) => {
                let position = self.value(column).position();
                position.ok_or_else(|| self.wrong(column, POSITION_EXPECTED))?
            }
            ColumnarPosition::Three(columns, _) => {
                let mut point = [0.0; 3];
                for (axis, column) in columns.iter().enumerate() {
                    let number = self.value(column).number();
                    point[axis] = number.ok_or_else(|| self.wrong(column, "a number"))?;
                }
                point
            }
        };
        for (axis, coordinate) in point.iter_mut().enumerate() {
            *coordinate *= unit_nm[axis];
        }
        Ok(PointNm(point))
    }

    /// Writes the properties to a record, by the layout of `specs`, which are those of the file.
    pub fn write_properties(
        &self,
        specs: &[PropertySpec],
        record: &mut [u8],
    ) -> Result<(), PointsError> {
        for ((column, _), spec) in self.file.properties.iter().zip(specs) {
            let written = spec.write(&self.value(column).text(), record);
            written.map_err(|expected| self.wrong(column, &expected))?;
        }
        Ok(())
    }

    fn wrong(&self, column: &ColumnarColumn, expected: &str) -> PointsError {
        PointsError::Row {
            object: format!("{}: row {}", self.file.object, self.number),
            field: column.name.clone(),
            found: self.value(column).describe(),
            expected: expected.to_owned(),
        }
    }
}

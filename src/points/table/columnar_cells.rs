//! The cells of a row in columns of Arrow arrays.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

use super::arrow_value::{ArrowValue, value};
use super::cells::{ID_EXPECTED, OBJECTS_EXPECTED, POSITION_EXPECTED, RowCells};
use super::id::WholeNumber;
use crate::points::error::PointsError;
use crate::points::property::PropertySpec;

/// The columns of a batch that a reader wants.
pub(super) struct BatchColumns<'b> {
    columns: Vec<Column<'b>>,
    names: &'b [String],
    object: &'b str,
}

struct Column<'b> {
    array: &'b dyn Array,
    numbers: Numbers<'b>,
}

/// The numbers of a column of a frequent type without missing values.
enum Numbers<'b> {
    Int32(&'b [i32]),
    Int64(&'b [i64]),
    Uint64(&'b [u64]),
    Float32(&'b [f32]),
    Float64(&'b [f64]),
    Other,
}

impl<'b> BatchColumns<'b> {
    /// The columns `names` of `batch`, which are at `places`.
    pub fn new(
        batch: &'b RecordBatch,
        names: &'b [String],
        places: &[usize],
        object: &'b str,
    ) -> Self {
        let column = |place: &usize| {
            let array = batch.column(*place).as_ref();
            Column {
                array,
                numbers: Numbers::of(array),
            }
        };
        Self {
            columns: places.iter().map(column).collect(),
            names,
            object,
        }
    }
}

impl<'b> Numbers<'b> {
    fn of(array: &'b dyn Array) -> Self {
        if array.null_count() > 0 {
            return Self::Other;
        }
        match array.data_type() {
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::UInt64 => Self::Uint64(array.as_primitive::<UInt64Type>().values()),
            DataType::Float32 => Self::Float32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Self::Float64(array.as_primitive::<Float64Type>().values()),
            _ => Self::Other,
        }
    }
}

/// The cells of a row of a batch.
pub(super) struct ColumnarCells<'r> {
    pub columns: &'r BatchColumns<'r>,
    /// Position in the batch.
    pub place: usize,
    /// Number of the row in the file, from 0.
    pub row: u64,
}

impl<'r> ColumnarCells<'r> {
    fn value(&self, column: usize) -> ArrowValue<'r> {
        let column = self.columns.columns.get(column);
        column.map_or(ArrowValue::Null, |column| value(column.array, self.place))
    }

    fn numbers(&self, column: usize) -> &Numbers<'r> {
        let column = self.columns.columns.get(column);
        column.map_or(&Numbers::Other, |column| &column.numbers)
    }
}

impl RowCells for ColumnarCells<'_> {
    fn number(&self) -> u64 {
        self.row
    }

    fn row(&self) -> u64 {
        self.row
    }

    fn whole_number(&self, column: usize) -> Result<WholeNumber, PointsError> {
        let id = match self.numbers(column) {
            Numbers::Uint64(values) => values.get(self.place).map(|v| WholeNumber::exact(*v)),
            Numbers::Int64(values) => {
                let value = values.get(self.place).and_then(|v| u64::try_from(*v).ok());
                value.map(WholeNumber::exact)
            }
            _ => self.value(column).id(),
        };
        id.ok_or_else(|| self.wrong(column, ID_EXPECTED))
    }

    fn whole_numbers(&self, column: usize) -> Result<Vec<WholeNumber>, PointsError> {
        let numbers = self.value(column).ids();
        numbers.ok_or_else(|| self.wrong(column, OBJECTS_EXPECTED))
    }

    fn coordinate(&self, column: usize) -> Result<f64, PointsError> {
        let number = match self.numbers(column) {
            Numbers::Int32(values) => values.get(self.place).map(|v| f64::from(*v)),
            Numbers::Int64(values) => values.get(self.place).map(|v| *v as f64),
            Numbers::Uint64(values) => values.get(self.place).map(|v| *v as f64),
            Numbers::Float32(values) => values.get(self.place).map(|v| f64::from(*v)),
            Numbers::Float64(values) => values.get(self.place).copied(),
            Numbers::Other => self.value(column).number(),
        };
        number.ok_or_else(|| self.wrong(column, "a number"))
    }

    fn position(&self, column: usize) -> Result<[f64; 3], PointsError> {
        let position = self.value(column).position();
        position.ok_or_else(|| self.wrong(column, POSITION_EXPECTED))
    }

    fn write_property(
        &self,
        column: usize,
        spec: &PropertySpec,
        record: &mut [u8],
    ) -> Result<(), PointsError> {
        let value = self.value(column);
        let text = if spec.kind.is_whole_number() {
            value.whole_text()
        } else {
            value.text()
        };
        let written = spec.write(&text, record);
        written.map_err(|expected| self.wrong(column, &expected))
    }

    fn may_be_rounded(&self, column: usize) -> bool {
        self.value(column).may_be_rounded()
    }

    fn describe(&self, column: usize) -> String {
        self.value(column).describe()
    }

    fn wrong(&self, column: usize, expected: &str) -> PointsError {
        PointsError::Row {
            object: format!("{}: row {}", self.columns.object, self.row),
            field: self.columns.names.get(column).cloned().unwrap_or_default(),
            found: self.describe(column),
            expected: expected.to_owned(),
        }
    }
}

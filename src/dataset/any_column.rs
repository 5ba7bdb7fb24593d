//! Columns of any type of numbers, for readers that show every column and know none.

use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use zarrs::array::ElementOwned;

use super::DatasetError;
use super::column_reader::ColumnReader;
use super::stored::StoredArray;
use crate::data_type::with_type;
use crate::storage::Store;

/// A number in a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ColumnNumber {
    /// Of an unsigned type.
    Unsigned(u64),
    /// Of a signed type.
    Signed(i64),
    /// Of a floating-point type.
    Float(f64),
}

impl ColumnNumber {
    /// The nearest floating-point number.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(v) => v as f64,
            Self::Signed(v) => v as f64,
            Self::Float(v) => v,
        }
    }
}

impl std::fmt::Display for ColumnNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(v) => v.fmt(f),
            Self::Signed(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
        }
    }
}

/// Integers that a JSON reader with 64-bit floats cannot hold are strings; NaN and infinity are, too.
impl Serialize for ColumnNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: u64 = 1 << 53;
        match *self {
            Self::Unsigned(v) if v <= EXACT => serializer.serialize_u64(v),
            Self::Signed(v) if v.unsigned_abs() <= EXACT => serializer.serialize_i64(v),
            Self::Float(v) if v.is_finite() => serializer.serialize_f64(v),
            _ => serializer.collect_str(self),
        }
    }
}

macro_rules! number_from {
    ($($type:ty => $kind:ident),*) => {
        $(impl From<$type> for ColumnNumber {
            fn from(value: $type) -> Self {
                Self::$kind(value.into())
            }
        })*
    };
}
number_from!(u8 => Unsigned, u16 => Unsigned, u32 => Unsigned, u64 => Unsigned, i8 => Signed, i16 => Signed, i32 => Signed,
    i64 => Signed, f64 => Float);

/// The number with the fewest digits that is nearest to it, as people wrote it: 0.1, not 0.10000000149011612.
impl From<f32> for ColumnNumber {
    fn from(value: f32) -> Self {
        let text = value.to_string();
        Self::Float(text.parse().unwrap_or_else(|_| value.into()))
    }
}

/// A column of any type.
#[derive(Debug)]
pub(crate) struct AnyColumn(Box<dyn Cells>);

/// What does not depend on the type of a column.
trait Cells: std::fmt::Debug + Send + Sync {
    fn rows(&self, rows: Range<u64>) -> Result<Vec<ColumnNumber>, DatasetError>;
    fn row_values(&self) -> usize;
    fn labels(&self) -> Vec<(f64, String)>;
}

impl<T> Cells for ColumnReader<T>
where
    T: ElementOwned + Clone + Into<ColumnNumber> + std::fmt::Debug + Send + Sync,
{
    fn rows(&self, rows: Range<u64>) -> Result<Vec<ColumnNumber>, DatasetError> {
        let values = ColumnReader::rows(self, rows)?;
        Ok(values.into_iter().map(Into::into).collect())
    }

    fn row_values(&self) -> usize {
        ColumnReader::row_values(self)
    }

    fn labels(&self) -> Vec<(f64, String)> {
        ColumnReader::labels(self)
    }
}

impl AnyColumn {
    /// The column in `folder`, which has `rows` rows.
    pub fn open(store: Arc<dyn Store>, folder: String, rows: u64) -> Result<Self, DatasetError> {
        let (stored, data_type) = StoredArray::column_of_any_type(&*store, &folder, rows)?;
        Ok(with_type!(data_type, T => Self(Box::new(
            ColumnReader::<T>::of(store, folder, stored, rows)
        ))))
    }

    /// The values of some rows, row by row. Rows after the last one are left out.
    pub fn rows(&self, rows: Range<u64>) -> Result<Vec<ColumnNumber>, DatasetError> {
        self.0.rows(rows)
    }

    /// Number of values in a row.
    pub fn row_values(&self) -> usize {
        self.0.row_values()
    }

    /// The values that have labels, with these.
    pub fn labels(&self) -> Vec<(f64, String)> {
        self.0.labels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_a_float_cannot_hold_and_nan_are_strings_in_json() {
        let json = |number: ColumnNumber| serde_json::to_string(&number).unwrap();
        assert_eq!(json(7u8.into()), "7");
        assert_eq!(json(u64::MAX.into()), "\"18446744073709551615\"");
        assert_eq!(json((1u64 << 53).into()), "9007199254740992");
        assert_eq!(json(((1u64 << 53) + 1).into()), "\"9007199254740993\"");
        assert_eq!(json(i64::MIN.into()), "\"-9223372036854775808\"");
        assert_eq!(json((-3i32).into()), "-3");
        assert_eq!(json(0.1f32.into()), "0.1");
        assert_eq!(json(f32::INFINITY.into()), "\"inf\"");
        assert_eq!(json(f64::NAN.into()), "\"NaN\"");
    }
}

//! Values in columns of Arrow arrays: ids, coordinates and texts, exactly as stored.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::id::{FloatPrecision, WholeNumber, may_be_rounded, whole_number, whole_numbers};
use super::position_text::parse_position;

/// A value in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ArrowValue<'a> {
    Null,
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// As `float32`, whose shortest text differs from that of the same `float64`.
    Single(f32),
    /// As `float16`, with the same value.
    Half(f32),
    Text(&'a str),
    /// The elements of a list.
    List(ArrayRef),
}

/// Whether values of this type can be read.
pub(super) fn is_supported(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_supported(values),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => {
            element.data_type().is_numeric() && is_supported(element.data_type())
        }
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => false,
        other => other.is_numeric() || *other == DataType::Null,
    }
}

/// The value in a row of a column, whose type [`is_supported`].
pub(super) fn value(column: &dyn Array, row: usize) -> ArrowValue<'_> {
    if column.is_null(row) {
        return ArrowValue::Null;
    }
    match column.data_type() {
        DataType::UInt8 => {
            ArrowValue::Unsigned(column.as_primitive::<UInt8Type>().value(row).into())
        }
        DataType::UInt16 => {
            ArrowValue::Unsigned(column.as_primitive::<UInt16Type>().value(row).into())
        }
        DataType::UInt32 => {
            ArrowValue::Unsigned(column.as_primitive::<UInt32Type>().value(row).into())
        }
        DataType::UInt64 => ArrowValue::Unsigned(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Int8 => ArrowValue::Signed(column.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => ArrowValue::Signed(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => ArrowValue::Signed(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => ArrowValue::Signed(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float16 => {
            ArrowValue::Half(column.as_primitive::<Float16Type>().value(row).to_f32())
        }
        DataType::Float32 => ArrowValue::Single(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => ArrowValue::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => ArrowValue::Unsigned(column.as_boolean().value(row).into()),
        DataType::Utf8 => ArrowValue::Text(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => ArrowValue::Text(column.as_string::<i64>().value(row)),
        DataType::Utf8View => ArrowValue::Text(column.as_string_view().value(row)),
        DataType::List(_) => ArrowValue::List(column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => ArrowValue::List(column.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => ArrowValue::List(column.as_fixed_size_list().value(row)),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let key = value(dictionary.keys(), row);
            let values = dictionary.values();
            let place = match key {
                ArrowValue::Unsigned(key) => usize::try_from(key).ok(),
                ArrowValue::Signed(key) => usize::try_from(key).ok(),
                _ => None,
            };
            match place.filter(|place| *place < values.len()) {
                Some(place) => value(values.as_ref(), place),
                None => ArrowValue::Null,
            }
        }
        _ => ArrowValue::Null,
    }
}

impl ArrowValue<'_> {
    /// The value as a text that a property can be parsed from; empty if it is missing.
    pub fn text(&self) -> String {
        match self {
            Self::Null | Self::List(_) => String::new(),
            Self::Unsigned(v) => v.to_string(),
            Self::Signed(v) => v.to_string(),
            Self::Float(v) => v.to_string(),
            Self::Single(v) | Self::Half(v) => v.to_string(),
            Self::Text(text) => (*text).to_owned(),
        }
    }

    /// What a message says that was found.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "missing (null)".to_owned(),
            Self::List(list) => format!("a list of {} values", list.len()),
            Self::Text(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
            number => number.whole_text(),
        }
    }

    /// The value as a text that a whole number can be parsed from. The shortest text of a large float is that of another number.
    pub fn whole_text(&self) -> String {
        match self {
            Self::Float(v) if v.fract() == 0.0 => format!("{v:.0}"),
            Self::Single(v) | Self::Half(v) if v.fract() == 0.0 => format!("{v:.0}"),
            other => other.text(),
        }
    }

    /// A whole number from 0 to 2^64 - 1.
    pub fn id(&self) -> Option<WholeNumber> {
        match self {
            Self::Unsigned(v) => Some(WholeNumber::exact(*v)),
            Self::Signed(v) => u64::try_from(*v).ok().map(WholeNumber::exact),
            Self::Text(text) => whole_number(text.trim()),
            Self::Float(_) | Self::Single(_) | Self::Half(_) => Some(WholeNumber {
                value: self.whole_text().parse().ok()?,
                may_be_rounded: self.may_be_rounded(),
            }),
            Self::Null | Self::List(_) => None,
        }
    }

    /// Whole numbers from 0 to 2^64 - 1: those of a list, or one; none if the value is missing.
    pub fn ids(&self) -> Option<Vec<WholeNumber>> {
        match self {
            Self::Null => Some(Vec::new()),
            Self::Text(text) => whole_numbers(text.trim()),
            Self::List(list) => (0..list.len())
                .filter(|i| !list.is_null(*i))
                .map(|i| value(list.as_ref(), i).id())
                .collect(),
            number => Some(vec![number.id()?]),
        }
    }

    /// Whether it is a whole number as a float that its writer may have rounded.
    pub fn may_be_rounded(&self) -> bool {
        match self {
            Self::Float(v) => FloatPrecision::Float64.may_be_rounded(*v),
            Self::Single(v) => FloatPrecision::Float32.may_be_rounded((*v).into()),
            Self::Half(v) => FloatPrecision::Float16.may_be_rounded((*v).into()),
            Self::Text(text) => may_be_rounded(text.trim()),
            Self::Null | Self::Unsigned(_) | Self::Signed(_) | Self::List(_) => false,
        }
    }

    /// A coordinate. A missing one is NaN, as in a field of CSV that says `nan`.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Null => Some(f64::NAN),
            Self::Unsigned(v) => Some(*v as f64),
            Self::Signed(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            Self::Single(v) | Self::Half(v) => Some((*v).into()),
            Self::Text(text) => text.trim().parse().ok(),
            Self::List(_) => None,
        }
    }

    /// The position in a list, or in a text such as `[x, y, z]`.
    pub fn position(&self) -> Option<[f64; 3]> {
        match self {
            Self::Null => Some([f64::NAN; 3]),
            Self::Text(text) => parse_position(text),
            Self::List(list) if list.len() == 3 => {
                let mut position = [0.0; 3];
                for (axis, number) in position.iter_mut().enumerate() {
                    *number = value(list.as_ref(), axis).number()?;
                }
                Some(position)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::{ArrowPrimitiveType, Int16Type};
    use arrow_array::{
        DictionaryArray, Float16Array, Float32Array, Float64Array, Int64Array, ListArray,
        StringArray, UInt64Array,
    };

    use super::*;

    type Half = <Float16Type as ArrowPrimitiveType>::Native;

    fn id(column: &dyn Array, row: usize) -> Option<(u64, bool)> {
        let id = value(column, row).id()?;
        Some((id.value, id.may_be_rounded))
    }

    #[test]
    fn ids_of_every_type_are_exact_and_rounded_ones_are_noticed() {
        let last = UInt64Array::from(vec![Some(u64::MAX), None]);
        assert_eq!(id(&last, 0), Some((u64::MAX, false)));
        assert_eq!(id(&last, 1), None);
        let signed = Int64Array::from(vec![9_007_199_254_740_993, -1]);
        assert_eq!(id(&signed, 0), Some((9_007_199_254_740_993, false)));
        assert_eq!(id(&signed, 1), None);
        let floats = Float64Array::from(vec![101.0, 101.5, 9_007_199_254_740_992.0, f64::NAN]);
        assert_eq!(id(&floats, 0), Some((101, false)));
        assert_eq!(id(&floats, 1), None);
        assert_eq!(id(&floats, 2), Some((9_007_199_254_740_992, true)));
        assert_eq!(id(&floats, 3), None);
        let texts = StringArray::from(vec!["864691135463611009", "x"]);
        assert_eq!(id(&texts, 0), Some((864_691_135_463_611_009, false)));
        assert_eq!(id(&texts, 1), None);
    }

    #[test]
    fn floats_of_every_type_are_exact_up_to_the_first_number_that_others_are_rounded_to() {
        let singles = Float32Array::from(vec![16_777_215.0, 16_777_216.0, 8.646_911e17, -1.0]);
        assert_eq!(id(&singles, 0), Some((16_777_215, false)));
        // 16777217 is rounded to it.
        assert_eq!(id(&singles, 1), Some((16_777_216, true)));
        // The exact value, not the shortest text with zeros.
        assert_eq!(id(&singles, 2), Some((864_691_128_455_135_232, true)));
        assert_eq!(id(&singles, 3), None);
        let halves = [2047.0, 2048.0, 0.5, f32::INFINITY];
        let halves = Float16Array::from_iter_values(halves.map(Half::from_f32));
        assert_eq!(id(&halves, 0), Some((2047, false)));
        assert_eq!(id(&halves, 1), Some((2048, true)));
        assert_eq!((id(&halves, 2), id(&halves, 3)), (None, None));
        let doubles = Float64Array::from(vec![
            864_691_135_463_611_008.0,
            -9.1e15,
            1.8446744073709552e19,
        ]);
        assert_eq!(value(&doubles, 0).whole_text(), "864691135463611008");
        assert!(value(&doubles, 1).may_be_rounded());
        assert_eq!(id(&doubles, 2), None);
    }

    #[test]
    fn lists_of_decimals_are_not_supported() {
        let list = |element| DataType::new_list(element, true);
        assert!(is_supported(&list(DataType::Float16)));
        assert!(!is_supported(&list(DataType::Decimal128(9, 2))));
    }

    #[test]
    fn positions_are_lists_or_texts() {
        let lists = ListArray::from_iter_primitive::<Int16Type, _, _>([
            Some(vec![Some(1), Some(2), Some(3)]),
            Some(vec![Some(1), Some(2)]),
            None,
        ]);
        assert_eq!(value(&lists, 0).position(), Some([1.0, 2.0, 3.0]));
        assert_eq!(value(&lists, 1).position(), None);
        assert!(value(&lists, 2).position().unwrap()[0].is_nan());
        let texts = StringArray::from(vec!["[4 5 6]"]);
        assert_eq!(value(&texts, 0).position(), Some([4.0, 5.0, 6.0]));
    }

    #[test]
    fn a_dictionary_has_the_values_of_its_keys() {
        let dictionary: DictionaryArray<Int16Type> = ["a", "b", "a"].into_iter().collect();
        let texts: Vec<_> = (0..3).map(|row| value(&dictionary, row).text()).collect();
        assert_eq!(texts, ["a", "b", "a"]);
        let column: ArrayRef = Arc::new(Float32Array::from(vec![0.1]));
        assert_eq!(value(column.as_ref(), 0).text(), "0.1");
    }
}

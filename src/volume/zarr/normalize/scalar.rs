//! Converts data types and fill values to the form that zarrs accepts.

use serde_json::{Number, Value};

use super::flaw::MetadataFlaw;
use super::members::{extension, whole_number};
use crate::data_type::DataType;

/// A supported data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarType {
    Bool,
    Number(DataType),
}

impl ScalarType {
    /// The type of a v2 array, and its `dtype` in the form that zarrs accepts. Types of one byte have no byte order.
    pub(super) fn from_dtype(found: Option<&Value>) -> Result<(Self, String), MetadataFlaw> {
        let unknown = || {
            let expected = "a boolean \"|b1\", a whole number \"|u1\", \"|i1\", \"<u2\" to \"<u8\", \"<i2\" to \"<i8\", or \"<f4\", \"<f8\" (\">\" for big-endian)";
            MetadataFlaw::new("dtype", found, expected)
        };
        let text = found.and_then(Value::as_str).ok_or_else(unknown)?;
        let (order, name) = match text.chars().next() {
            Some(order @ ('<' | '>' | '|' | '=')) => (order, &text[1..]),
            _ => ('|', text),
        };
        let scalar = match name {
            "b1" => Self::Bool,
            "u1" => Self::Number(DataType::UInt8),
            "i1" => Self::Number(DataType::Int8),
            "u2" => Self::Number(DataType::UInt16),
            "i2" => Self::Number(DataType::Int16),
            "u4" => Self::Number(DataType::UInt32),
            "i4" => Self::Number(DataType::Int32),
            "u8" => Self::Number(DataType::UInt64),
            "i8" => Self::Number(DataType::Int64),
            "f4" => Self::Number(DataType::Float32),
            "f8" => Self::Number(DataType::Float64),
            _ => return Err(unknown()),
        };
        match (scalar.bytes(), order) {
            (1, _) => Ok((scalar, format!("|{name}"))),
            (_, '<' | '>') => Ok((scalar, format!("{order}{name}"))),
            _ => Err(unknown()),
        }
    }

    /// The type of a v3 array, and its name.
    pub(super) fn from_data_type(found: Option<&Value>) -> Result<(Self, String), MetadataFlaw> {
        let names = DataType::ALL.map(|t| t.name()).join(", ");
        let expected = format!("bool or one of {names}");
        let (name, _) = extension(found, "data_type", &expected)?;
        let scalar = match name {
            "bool" => Some(Self::Bool),
            name => DataType::from_name(name).map(Self::Number),
        };
        let scalar = scalar.ok_or_else(|| MetadataFlaw::new("data_type", found, &expected))?;
        Ok((scalar, name.to_owned()))
    }

    /// Bytes per value.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Number(data_type) => data_type.size_bytes(),
        }
    }

    /// Converts the fill value. The default is 0. A value that the type cannot represent exactly is an error, because it
    /// would become a different value.
    pub(super) fn fill_value(self, found: Option<&Value>) -> Result<Value, MetadataFlaw> {
        let stated = match found {
            None | Some(Value::Null) => &Value::from(0),
            Some(value) => value,
        };
        let (value, expected) = match self {
            Self::Bool => (parse_bool(stated), "true or false".to_owned()),
            Self::Number(DataType::Float32 | DataType::Float64) => (
                parse_float(stated),
                "a number, \"NaN\", \"Infinity\" or \"-Infinity\"".to_owned(),
            ),
            Self::Number(data_type) => {
                let (least, most) = range(data_type);
                let value = whole_number(stated).or_else(|| match stated {
                    Value::Bool(truth) => Some(i128::from(*truth)),
                    Value::String(text) => parse_integer(text),
                    _ => None,
                });
                let value = value
                    .filter(|n| (least..=most).contains(n))
                    .and_then(to_json);
                let name = data_type.name();
                let expected =
                    format!("a whole number from {least} to {most}, the range of {name}");
                (value, expected)
            }
        };
        value.ok_or_else(|| MetadataFlaw::new("fill_value", found, &expected))
    }
}

fn parse_integer(text: &str) -> Option<i128> {
    let text = text.trim();
    let float = || whole_number(&Value::Number(Number::from_f64(text.parse().ok()?)?));
    text.parse().ok().or_else(float)
}

fn to_json(n: i128) -> Option<Value> {
    let unsigned = u64::try_from(n).map(Value::from);
    unsigned.or_else(|_| i64::try_from(n).map(Value::from)).ok()
}

fn range(data_type: DataType) -> (i128, i128) {
    let bits = 8 * data_type.size_bytes();
    let signed = data_type.name().starts_with("int");
    if signed {
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1);
    }
    (0, (1 << bits) - 1)
}

fn parse_bool(value: &Value) -> Option<Value> {
    let truth = match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Value::String(text) => parse_bit(parse_integer(text)?),
        value => parse_bit(whole_number(value)?),
    };
    truth.map(Value::Bool)
}

fn parse_bit(n: i128) -> Option<bool> {
    match n {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn parse_float(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::Bool(truth) => Some(Value::from(u8::from(*truth))),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "nan" => Some("NaN".into()),
            "infinity" | "+infinity" | "inf" | "+inf" => Some("Infinity".into()),
            "-infinity" | "-inf" => Some("-Infinity".into()),
            // The bits of a number. zarrs checks how many there are.
            bits if bits.starts_with("0x") => Some(text.trim().into()),
            number => Number::from_f64(number.parse().ok()?).map(Value::Number),
        },
        _ => None,
    }
}

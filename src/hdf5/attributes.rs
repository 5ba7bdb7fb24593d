//! Attributes as JSON, in which the readers of other formats expect them.
//!
//! An attribute that cannot be read is an object that says why: `{"unsupported": "compound"}`. No other attribute is an object. So
//! it is an error where a value is needed, and nowhere else.

use hdf5_reader::datatype_api::H5Type;
use hdf5_reader::error::Result;
use hdf5_reader::messages::attribute::AttributeMessage;
use hdf5_reader::messages::dataspace::DataspaceType;
use hdf5_reader::{Datatype, RawAttribute};
use serde_json::{Map, Value, json};

use super::stored_type::{check_encoding, describe_type, is_bool};
use super::texts::{ResolveReference, TextType};

/// Most values of an attribute that are read. Positions have a few.
const MAX_VALUES: u64 = 1024;

/// Most bytes of an attribute that are read.
const MAX_BYTES: usize = 64 << 10;

/// The only member of an attribute that cannot be read.
const UNSUPPORTED: &str = "unsupported";

/// All attributes. `resolve` reads a text in a heap.
pub(super) fn as_json(
    attributes: Vec<RawAttribute>,
    resolve: &ResolveReference<'_>,
) -> Map<String, Value> {
    let values = attributes.into_iter().map(|attribute| {
        let (message, encoding) = attribute.into_parts();
        let value = value(&message, &encoding, resolve);
        let value = value.unwrap_or_else(|problem| json!({ UNSUPPORTED: problem }));
        (message.name, value)
    });
    values.collect()
}

/// Whether `value` is an attribute that cannot be read.
pub(crate) fn is_unsupported(value: &Value) -> bool {
    value.get(UNSUPPORTED).is_some()
}

/// The value of an attribute, or why it cannot be read.
fn value(
    attribute: &AttributeMessage,
    encoding: &[u8],
    resolve: &ResolveReference<'_>,
) -> std::result::Result<Value, String> {
    let values = attribute.dataspace.num_elements();
    let values = values.map_err(|e| e.to_string())?;
    let bytes = attribute.raw_data.len();
    if values > MAX_VALUES || bytes > MAX_BYTES {
        return Err(format!(
            "{values} values of {bytes} bytes, more than {MAX_VALUES} values or {MAX_BYTES} bytes"
        ));
    }
    let mut list = match TextType::of(&attribute.datatype) {
        Some(text_type) => texts(attribute, text_type, values as usize, resolve)?,
        None => {
            let numbers = numbers(attribute);
            let numbers = numbers.ok_or_else(|| describe_type(&attribute.datatype))?;
            check_encoding(encoding)?;
            numbers
        }
    };
    if list.len() as u64 != values {
        return Err(format!("{bytes} bytes for {values} values"));
    }
    if attribute.dataspace.dataspace_type != DataspaceType::Scalar {
        return Ok(Value::Array(list));
    }
    // JSON has no numbers that are not finite.
    list.pop()
        .filter(|value| !value.is_null())
        .ok_or_else(|| "a number that is not finite".to_owned())
}

fn texts(
    attribute: &AttributeMessage,
    text_type: TextType,
    values: usize,
    resolve: &ResolveReference<'_>,
) -> std::result::Result<Vec<Value>, String> {
    if values == 0 {
        return Ok(Vec::new());
    }
    let mut left = MAX_BYTES;
    let mut texts = Vec::new();
    // All values have one length.
    for value in attribute
        .raw_data
        .chunks_exact((attribute.raw_data.len() / values).max(1))
    {
        let text = text_type.read(value, left, resolve);
        let text = text.map_err(|e| e.to_string())??;
        left -= text.len();
        texts.push(Value::String(text));
    }
    Ok(texts)
}

/// The values of an attribute that are numbers or truth values.
fn numbers(attribute: &AttributeMessage) -> Option<Vec<Value>> {
    match &attribute.datatype {
        Datatype::FixedPoint { size, signed, .. } => match (size, signed) {
            (1, false) => numbers_of::<u8, 1>(attribute),
            (2, false) => numbers_of::<u16, 2>(attribute),
            (4, false) => numbers_of::<u32, 4>(attribute),
            (8, false) => numbers_of::<u64, 8>(attribute),
            (1, true) => numbers_of::<i8, 1>(attribute),
            (2, true) => numbers_of::<i16, 2>(attribute),
            (4, true) => numbers_of::<i32, 4>(attribute),
            (8, true) => numbers_of::<i64, 8>(attribute),
            _ => None,
        },
        Datatype::FloatingPoint { size: 4, .. } => numbers_of::<f32, 4>(attribute),
        Datatype::FloatingPoint { size: 8, .. } => numbers_of::<f64, 8>(attribute),
        other if is_bool(other) => {
            let values = attribute.raw_data.iter();
            Some(values.map(|value| Value::Bool(*value != 0)).collect())
        }
        _ => None,
    }
}

fn numbers_of<T: H5Type + Into<Value>, const BYTES: usize>(
    attribute: &AttributeMessage,
) -> Option<Vec<Value>> {
    let (values, _) = attribute.raw_data.as_chunks::<BYTES>();
    let values = values
        .iter()
        .map(|value| T::from_bytes(value, &attribute.datatype));
    let values = values.map(|value| value.map(Into::into));
    values.collect::<Result<_>>().ok()
}

#[cfg(test)]
mod tests {
    use hdf5_reader::ByteOrder;
    use hdf5_reader::datatype_api::{StringEncoding, StringPadding, StringSize};
    use hdf5_reader::messages::dataspace::DataspaceMessage;

    use super::*;

    fn attribute(datatype: Datatype, shape: &[u64], raw_data: &[u8]) -> AttributeMessage {
        AttributeMessage {
            name: "a".to_owned(),
            datatype,
            dataspace: DataspaceMessage {
                rank: shape.len() as u8,
                dims: shape.to_vec(),
                max_dims: None,
                dataspace_type: match shape {
                    [] => DataspaceType::Scalar,
                    _ => DataspaceType::Simple,
                },
            },
            raw_data: raw_data.to_vec(),
        }
    }

    fn text(size: StringSize) -> Datatype {
        Datatype::String {
            size,
            encoding: StringEncoding::Utf8,
            padding: StringPadding::NullPad,
        }
    }

    /// The datatype message of 64-bit floating-point numbers.
    const FLOAT: [u8; 20] = [
        0x11, 0x20, 63, 0, 8, 0, 0, 0, 0, 0, 64, 0, 52, 11, 0, 52, 0xff, 3, 0, 0,
    ];

    #[test]
    fn lists_keep_all_texts_and_numbers() {
        let resolve = |_: &[u8]| -> Result<Vec<u8>> { unreachable!() };
        let names = attribute(text(StringSize::Fixed(2)), &[3], b"z\0y\0x^");
        assert_eq!(value(&names, &[], &resolve), Ok(json!(["z", "y", "x^"])));
        let name = attribute(text(StringSize::Fixed(2)), &[], b"nm");
        assert_eq!(value(&name, &[], &resolve), Ok(json!("nm")));
        let float = Datatype::FloatingPoint {
            size: 8,
            byte_order: ByteOrder::LittleEndian,
        };
        let bytes = [4.0f64, 0.5].map(f64::to_le_bytes).concat();
        let numbers = attribute(float.clone(), &[2], &bytes);
        assert_eq!(value(&numbers, &FLOAT, &resolve), Ok(json!([4.0, 0.5])));
        let truncated = attribute(float.clone(), &[2], &bytes[..15]);
        assert!(value(&truncated, &FLOAT, &resolve).is_err());
        let nan = attribute(float, &[], &f64::NAN.to_le_bytes());
        assert!(
            value(&nan, &FLOAT, &resolve)
                .unwrap_err()
                .contains("not finite")
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let resolve = |_: &[u8]| -> Result<Vec<u8>> { Ok(vec![b'a'; 40_000]) };
        let half = Datatype::FloatingPoint {
            size: 2,
            byte_order: ByteOrder::LittleEndian,
        };
        let e = value(&attribute(half, &[1], &[0; 2]), &[], &resolve).unwrap_err();
        assert_eq!(e, "float of 2 bytes");
        let long = attribute(text(StringSize::Fixed(1)), &[1025], &[b'a'; 1025]);
        assert!(
            value(&long, &[], &resolve)
                .unwrap_err()
                .contains("1025 values")
        );
        // Two references to one text of 40,000 bytes.
        let reference = [&40_000u32.to_le_bytes()[..], &[0; 12]].concat();
        let twice = attribute(text(StringSize::Variable), &[2], &reference.repeat(2));
        let e = value(&twice, &[], &resolve).unwrap_err();
        assert!(e.contains("at most 25536"), "{e}");
    }
}

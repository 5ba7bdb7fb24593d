//! Attributes as JSON, in which the readers of other formats expect them.

use hdf5_reader::{Attribute, Datatype};
use serde_json::{Map, Value};

/// Most values of an attribute that is of interest here. Positions have a few.
const MAX_VALUES: u64 = 1024;

/// The attributes that are numbers or text, or lists of them. All others are left out.
pub(super) fn as_json(attributes: Vec<Attribute>) -> Map<String, Value> {
    let values = attributes
        .into_iter()
        .filter_map(|a| Some((a.name.clone(), value(&a)?)));
    values.collect()
}

fn value(attribute: &Attribute) -> Option<Value> {
    if attribute.num_elements().ok()? > MAX_VALUES {
        return None;
    }
    let mut list = match &attribute.datatype {
        Datatype::FixedPoint { size, signed, .. } => match (size, signed) {
            (1, false) => numbers::<u8>(attribute),
            (2, false) => numbers::<u16>(attribute),
            (4, false) => numbers::<u32>(attribute),
            (8, false) => numbers::<u64>(attribute),
            (1, true) => numbers::<i8>(attribute),
            (2, true) => numbers::<i16>(attribute),
            (4, true) => numbers::<i32>(attribute),
            (8, true) => numbers::<i64>(attribute),
            _ => None,
        },
        Datatype::FloatingPoint { size: 4, .. } => numbers::<f32>(attribute),
        Datatype::FloatingPoint { size: 8, .. } => numbers::<f64>(attribute),
        Datatype::String { .. } | Datatype::VarLen { .. } => {
            let texts = match attribute.read_string() {
                Ok(text) => vec![text],
                Err(_) => attribute.read_strings().ok()?,
            };
            Some(texts.into_iter().map(Value::String).collect())
        }
        _ => None,
    }?;
    if attribute.shape.is_empty() {
        list.pop()
    } else {
        Some(Value::Array(list))
    }
}

fn numbers<T: hdf5_reader::H5Type + Into<Value>>(attribute: &Attribute) -> Option<Vec<Value>> {
    let list = attribute.read_1d::<T>().ok()?;
    Some(list.into_iter().map(Into::into).collect())
}

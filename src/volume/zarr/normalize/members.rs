//! Parsers for members that several parts of the metadata have.

use serde_json::{Map, Value};

use super::flaw::MetadataFlaw;

/// Largest whole number that a JSON number with a fraction or exponent represents exactly.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Parses a whole number. Accepts `40.0`.
pub(super) fn whole_number(value: &Value) -> Option<i128> {
    let Value::Number(number) = value else {
        return None;
    };
    if let Some(n) = number.as_u64() {
        return Some(i128::from(n));
    }
    if let Some(n) = number.as_i64() {
        return Some(i128::from(n));
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() <= LARGEST_EXACT).then_some(float as i128)
}

/// Parses a list of whole numbers. Accepts `40.0`.
pub(super) fn lengths(
    found: Option<&Value>,
    path: &str,
    least: u64,
) -> Result<Vec<u64>, MetadataFlaw> {
    let length = |value: &Value| {
        let length = whole_number(value).and_then(|n| u64::try_from(n).ok());
        length.filter(|n| *n >= least)
    };
    let list = found.and_then(Value::as_array);
    let lengths = list.and_then(|list| list.iter().map(length).collect());
    lengths.ok_or_else(|| {
        let expected = format!("a list of whole numbers from {least}, one for each dimension");
        MetadataFlaw::new(path, found, &expected)
    })
}

pub(super) fn same_rank(
    found: Option<&Value>,
    path: &str,
    has: usize,
    rank: usize,
) -> Result<(), MetadataFlaw> {
    if has == rank {
        return Ok(());
    }
    let expected = format!("{rank} of them, as many as in `shape`");
    Err(MetadataFlaw::new(path, found, &expected))
}

pub(super) fn separator(
    found: Option<&Value>,
    path: &str,
    default: &str,
) -> Result<String, MetadataFlaw> {
    match found {
        None | Some(Value::Null) => Ok(default.to_owned()),
        Some(Value::String(s)) if s == "." || s == "/" => Ok(s.clone()),
        other => Err(MetadataFlaw::new(path, other, "\".\" or \"/\"")),
    }
}

/// The name and configuration of an extension, such as a codec.
pub(super) type Extension<'v> = (&'v str, Option<&'v Map<String, Value>>);

/// Parses an extension. It may consist of a name only.
pub(super) fn extension<'v>(
    found: Option<&'v Value>,
    path: &str,
    expected: &str,
) -> Result<Extension<'v>, MetadataFlaw> {
    let flaw = || MetadataFlaw::new(path, found, expected);
    match found {
        Some(Value::String(name)) => Ok((name, None)),
        Some(Value::Object(object)) => {
            let name = object
                .get("name")
                .and_then(Value::as_str)
                .ok_or_else(flaw)?;
            match object.get("configuration") {
                None | Some(Value::Null) => Ok((name, None)),
                Some(Value::Object(configuration)) => Ok((name, Some(configuration))),
                other => Err(MetadataFlaw::new(
                    format!("{path}.configuration"),
                    other,
                    "an object",
                )),
            }
        }
        _ => Err(flaw()),
    }
}

//! Whole numbers in JSON. Python and JavaScript write `64`, `64.0` or `1e2`.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A whole number in any notation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct JsonInteger(pub(crate) i64);

/// The smallest float that is too large for an `i64`.
const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;

impl JsonInteger {
    /// The number in `value`, if it is a whole number.
    pub(crate) fn from_value(value: &Value) -> Option<i64> {
        Self::deserialize(value).ok().map(|whole| whole.0)
    }
}

impl<'de> Deserialize<'de> for JsonInteger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = JsonInteger;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<JsonInteger, E> {
        Ok(JsonInteger(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<JsonInteger, E> {
        i64::try_from(number)
            .map(JsonInteger)
            .map_err(|_| E::custom(format!("found {number}, expected a smaller number")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<JsonInteger, E> {
        if number.fract() == 0.0 && (-TOO_LARGE..TOO_LARGE).contains(&number) {
            return Ok(JsonInteger(number as i64));
        }
        Err(E::custom(format!(
            "found {number}, expected a whole number"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_whole_number_may_be_written_as_a_float() {
        for (value, expected) in [
            (json!(64), 64),
            (json!(64.0), 64),
            (json!(-0.0), 0),
            (serde_json::from_str("1e2").unwrap(), 100),
            (json!(-5.0), -5),
            (json!(i64::MAX), i64::MAX),
        ] {
            assert_eq!(JsonInteger::from_value(&value), Some(expected), "{value}");
        }
        for value in [
            json!(1.625),
            json!(1e300),
            json!(u64::MAX),
            json!("64"),
            json!(null),
            json!([64]),
            json!(true),
        ] {
            assert_eq!(JsonInteger::from_value(&value), None, "{value}");
        }
    }

    #[test]
    fn an_error_contains_the_fractional_number() {
        let e = serde_json::from_str::<JsonInteger>("1.625")
            .unwrap_err()
            .to_string();
        assert!(e.contains("found 1.625, expected a whole number"), "{e}");
    }
}

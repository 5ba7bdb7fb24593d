//! Whole numbers as infos hold them: writers in Python and JavaScript write `64`, `64.0` or `1e2`.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A whole number, however it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Whole(pub(crate) i64);

/// The least float that is too large for 64 bits with a sign.
const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;

impl Whole {
    /// The number that `value` is, if it is a whole one.
    pub(crate) fn of(value: &Value) -> Option<i64> {
        Self::deserialize(value).ok().map(|whole| whole.0)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
        Ok(Whole(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
        i64::try_from(number)
            .map(Whole)
            .map_err(|_| E::custom(format!("found {number}, expected a smaller number")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole, E> {
        if number.fract() == 0.0 && (-TOO_LARGE..TOO_LARGE).contains(&number) {
            return Ok(Whole(number as i64));
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
            assert_eq!(Whole::of(&value), Some(expected), "{value}");
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
            assert_eq!(Whole::of(&value), None, "{value}");
        }
    }

    #[test]
    fn what_is_not_whole_is_named() {
        let e = serde_json::from_str::<Whole>("1.625")
            .unwrap_err()
            .to_string();
        assert!(e.contains("found 1.625, expected a whole number"), "{e}");
    }
}

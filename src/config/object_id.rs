//! Ids of objects: numbers or strings of digits, because many tools cannot represent large numbers.

use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de;
use serde::{Deserialize, Deserializer};

use super::any_form::{AnyForm, any_form};

/// An id of an object, from 0 to 2^64 - 1, exactly.
pub(super) struct ObjectId(u64);

/// Lists of ids, by name.
pub(super) fn lists<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<IndexMap<String, Vec<u64>>, D::Error> {
    let lists = IndexMap::<String, Vec<ObjectId>>::deserialize(deserializer)?;
    let numbers = |ids: Vec<ObjectId>| ids.into_iter().map(|id| id.0).collect();
    Ok(lists
        .into_iter()
        .map(|(name, ids)| (name, numbers(ids)))
        .collect())
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for ObjectId {
    const EXPECTED: &str = "an id: a whole number from 0 to 2^64 - 1, or a string of its digits";

    fn from_unsigned<E: de::Error>(id: u64) -> Result<Self, E> {
        Ok(ObjectId(id))
    }

    fn from_text<E: de::Error>(text: &str) -> Result<Self, E> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let id = text.parse().ok().filter(|_| digits);
        id.map(ObjectId)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &Self::EXPECTED))
    }
}

impl JsonSchema for ObjectId {
    fn schema_name() -> Cow<'static, str> {
        "ObjectId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An id of an object: a whole number from 0 to 2^64 - 1, or a string of its digits.",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+$" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(id: Value) -> Result<u64, serde_json::Error> {
        serde_json::from_value::<ObjectId>(id).map(|id| id.0)
    }

    #[test]
    fn numbers_and_strings_of_digits_are_exact() {
        for id in [0, 7, (1 << 53) + 1, 648_518_346_351_480_765, u64::MAX] {
            assert_eq!(read(json!(id)).unwrap(), id);
            assert_eq!(read(json!(id.to_string())).unwrap(), id);
        }
    }

    #[test]
    fn an_invalid_id_is_an_error_that_shows_it() {
        for (id, found) in [
            (json!(-1), "`-1`"),
            (json!(7.0), "`7.0`"),
            (json!(1e3), "1000.0"),
            (json!(null), "null"),
            (json!([7]), "sequence"),
            (json!("-1"), "\"-1\""),
            (json!("+7"), "\"+7\""),
            (json!("7.0"), "\"7.0\""),
            (json!(" 7"), "\" 7\""),
            (json!("0x7"), "\"0x7\""),
            (json!(""), "\"\""),
            (json!("18446744073709551616"), "18446744073709551616"),
        ] {
            let e = read(id.clone()).unwrap_err().to_string();
            assert!(
                e.contains(found) && e.contains("from 0 to 2^64 - 1"),
                "{id}: {e}"
            );
        }
    }
}

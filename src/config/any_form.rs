//! Config values that are written in one of several forms, such as a path or an object. Serde's untagged enums have no
//! useful messages for values in no form.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// A value that is written in one of several forms. Forms that are not implemented are errors.
pub(crate) trait AnyForm: Sized {
    /// The forms, after the word "expected".
    const EXPECTED: &str;

    fn from_bool<E: Error>(value: bool) -> Result<Self, E> {
        Err(no_form::<Self, E>(Unexpected::Bool(value)))
    }

    fn from_unsigned<E: Error>(number: u64) -> Result<Self, E> {
        Err(no_form::<Self, E>(Unexpected::Unsigned(number)))
    }

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Err(no_form::<Self, E>(Unexpected::Str(text)))
    }

    fn from_list<'de, D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(no_form::<Self, D::Error>(Unexpected::Seq))
    }

    fn from_object<'de, D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(no_form::<Self, D::Error>(Unexpected::Map))
    }
}

fn no_form<T: AnyForm, E: Error>(found: Unexpected<'_>) -> E {
    E::invalid_type(found, &T::EXPECTED)
}

/// Reads a value in any of its forms.
pub(crate) fn any_form<'de, T: AnyForm, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Forms(PhantomData))
}

struct Forms<T>(PhantomData<T>);

impl<'de, T: AnyForm> Visitor<'de> for Forms<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        T::from_bool(value)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_unsigned(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::from_list(SeqAccessDeserializer::new(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::from_object(MapAccessDeserializer::new(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Has no form.
    #[derive(Debug)]
    struct Nothing;

    impl AnyForm for Nothing {
        const EXPECTED: &str = "something else";
    }

    #[test]
    fn a_value_in_no_form_is_an_error_that_shows_it_and_the_forms() {
        let error = |value: Value| any_form::<Nothing, _>(value).unwrap_err().to_string();
        for (value, found) in [
            (json!(true), "boolean `true`"),
            (json!(7), "integer `7`"),
            (json!(-7), "integer `-7`"),
            (json!(0.5), "floating point `0.5`"),
            (json!("a"), "string \"a\""),
            (json!([1]), "sequence"),
            (json!({"a": 1}), "map"),
            (json!(null), "null"),
        ] {
            assert_eq!(
                error(value),
                format!("invalid type: {found}, expected something else")
            );
        }
    }
}

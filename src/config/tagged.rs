//! Choices that are a string, or an object with one member if they have options. Messages show how each is written.
//!
//! Serde's own messages for such enums name neither the allowed forms nor an example.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Leaks, Transform};

/// How the variants of a choice are written.
struct Forms {
    /// Variants without options: a string.
    bare: &'static [&'static str],
    /// Variants with options, and an example of each.
    with_options: &'static [(&'static str, &'static str)],
}

const TRANSFORM: Forms = Forms {
    bare: &["none", "nonzero", "inside"],
    with_options: &[
        ("equals", r#"{"equals": 7}"#),
        ("in", r#"{"in": [7, 8]}"#),
        ("threshold", r#"{"threshold": 0.5}"#),
        ("scale", r#"{"scale": {"multiply": 2, "add": 1}}"#),
        (
            "object_at",
            r#"{"object_at": {"point": "anchor", "radius_nm": 100}}"#,
        ),
    ],
};

const LEAKS: Forms = Forms {
    bare: &["error", "warn", "allow"],
    with_options: &[("drop_from", r#"{"drop_from": "val"}"#)],
};

/// Reads an array's transform.
pub(super) fn transform<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Transform, D::Error> {
    deserializer.deserialize_any(TextOrObject(&TRANSFORM, PhantomData))
}

/// Reads what happens when splits leak.
pub(super) fn leaks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Leaks, D::Error> {
    deserializer.deserialize_any(TextOrObject(&LEAKS, PhantomData))
}

struct TextOrObject<T>(&'static Forms, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrObject<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.0.bare.iter().map(|name| format!("\"{name}\""));
        let examples = self.0.with_options.iter().map(|(_, e)| (*e).to_owned());
        let forms: Vec<_> = bare.chain(examples).collect();
        write!(f, "one of {}", forms.join(", "))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
        let mut with_options = self.0.with_options.iter();
        match with_options.find(|(known, _)| *known == name) {
            Some((_, example)) => Err(E::custom(format!(
                "`{name}` needs options, expected an object such as {example}"
            ))),
            None => T::deserialize(StrDeserializer::new(name)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(de::Error::invalid_value(de::Unexpected::Map, &self));
        };
        if self.0.bare.contains(&name.as_str()) {
            return Err(de::Error::custom(format!(
                "`{name}` has no options, expected \"{name}\" without an object"
            )));
        }
        let first = AfterFirstKey {
            key: Some(name),
            map: &mut map,
        };
        let value = T::deserialize(MapAccessDeserializer::new(first))?;
        match map.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(de::Error::custom(
                "found several members, expected an object with one",
            )),
        }
    }
}

/// A map whose first key was read already.
struct AfterFirstKey<'m, A> {
    key: Option<String>,
    map: &'m mut A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for AfterFirstKey<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.key.take() {
            Some(key) => {
                let key: StringDeserializer<A::Error> = key.into_deserializer();
                seed.deserialize(key).map(Some)
            }
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ArrayConfig;
    use serde_json::{Value, json};

    fn read(transform: &Value) -> Result<Transform, String> {
        let array = json!({"layer": "img", "transform": transform}).to_string();
        let mut deserializer = serde_json::Deserializer::from_str(&array);
        let array: Result<ArrayConfig, _> = serde_path_to_error::deserialize(&mut deserializer);
        array.map(|a| a.transform).map_err(|e| e.to_string())
    }

    #[test]
    fn every_form_in_the_schema_is_read_and_every_other_one_is_an_error() {
        let read_leaks = |value: &Value| leaks(value).map_err(|e| e.to_string());
        for (forms, is_read) in [
            (
                &TRANSFORM,
                &(|v: &Value| read(v).map(drop)) as &dyn Fn(&Value) -> Result<(), String>,
            ),
            (&LEAKS, &|v: &Value| read_leaks(v).map(drop)),
        ] {
            for name in forms.bare {
                is_read(&json!(name)).unwrap();
                for options in [json!({}), json!(null), json!([1])] {
                    let e = is_read(&json!({ *name: options })).unwrap_err();
                    assert!(
                        e.contains(&format!("`{name}` has no options, expected \"{name}\"")),
                        "{e}"
                    );
                }
            }
            for (name, example) in forms.with_options {
                is_read(&serde_json::from_str(example).unwrap()).unwrap();
                let e = is_read(&json!(name)).unwrap_err();
                assert!(
                    e.contains(&format!("`{name}` needs options")) && e.contains(example),
                    "{e}"
                );
            }
            let e = is_read(&json!(3)).unwrap_err();
            assert!(
                e.contains(forms.bare[0]) && e.contains(forms.with_options[0].1),
                "{e}"
            );
            is_read(&json!({})).unwrap_err();
        }
        // No variant of the schema is missing in the forms.
        let schema = crate::config::Config::schema();
        for (name, forms) in [("Transform", &TRANSFORM), ("Leaks", &LEAKS)] {
            let named = schema["$defs"][name].to_string();
            let variants = schema["$defs"][name]["oneOf"].as_array().unwrap().len();
            assert_eq!(
                variants,
                forms.bare.len() + forms.with_options.len(),
                "{named}"
            );
        }
    }

    #[test]
    fn an_error_in_the_options_has_its_path() {
        let e = read(&json!({"object_at": {"point": "middle"}})).unwrap_err();
        assert!(
            e.contains("transform.object_at.point") && e.contains("middle"),
            "{e}"
        );
        let e = read(&json!({"scale": {"multply": 2}})).unwrap_err();
        assert!(e.contains("multply"), "{e}");
        let e = read(&json!({"equals": 1, "in": [2]})).unwrap_err();
        assert!(
            e.contains("found several members, expected an object with one"),
            "{e}"
        );
        assert_eq!(
            read(&json!({"equals": u64::MAX})),
            Ok(Transform::Equals(u64::MAX))
        );
    }
}

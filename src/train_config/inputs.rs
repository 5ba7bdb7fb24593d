//! The inputs of a network: the name of an array, an array with its scaling, or a list of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::any_form::{AnyForm, any_form};
use crate::loader::{InputArray, Scaling};

/// The inputs of a network, in the order of its channels.
#[derive(Clone, Debug, PartialEq)]
pub struct InputsConfig(pub Vec<InputArray>);

/// The form in the config.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Inputs")]
enum Written {
    /// One input.
    One(WrittenInput),
    /// A list of inputs: the channels of the network's input, in this order.
    List(Vec<WrittenInput>),
}

/// An input.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Input")]
enum WrittenInput {
    /// The name of an array.
    Name(String),
    /// An array, and how its values are scaled.
    Scaled(ScaledInput),
}

/// An array, and how its values are scaled.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScaledInput {
    /// The name of the array.
    array: String,
    /// How its values are scaled. By default `nonzero` for an array whose transform makes a mask, such as `object_at`;
    /// otherwise `full_scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<Scaling>,
}

impl InputsConfig {
    /// Names of the arrays.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|input| input.name.clone()).collect()
    }

    /// The JSON path below the inputs, and the problem there.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        if self.0.is_empty() {
            let problem = "found an empty list, expected the name of at least one array";
            return Some((String::new(), problem.to_owned()));
        }
        if let Some(name) = super::duplicate(&self.names()) {
            let problem = format!("found `{name}` twice, expected each array once");
            return Some((String::new(), problem));
        }
        let mut inputs = self.0.iter().enumerate();
        inputs.find_map(|(i, input)| {
            let (found, expected) = input.scaling?.problem()?;
            let problem = format!("found {found}, expected {expected}");
            Some((self.range_path(i), problem))
        })
    }

    /// The first input whose 0 is another number in the network: the JSON path of its range below the inputs, and the range.
    pub(super) fn moved_zero(&self) -> Option<(String, [f64; 2])> {
        let mut inputs = self.0.iter().enumerate();
        inputs.find_map(|(i, input)| match input.scaling? {
            Scaling::Range(range) if range[0] != 0.0 => Some((self.range_path(i), range)),
            _ => None,
        })
    }

    fn range_path(&self, input: usize) -> String {
        match self.0.len() {
            1 => ".scale.range".to_owned(),
            _ => format!("[{input}].scale.range"),
        }
    }
}

impl From<&InputArray> for WrittenInput {
    fn from(input: &InputArray) -> Self {
        let array = input.name.clone();
        match input.scaling {
            None => Self::Name(array),
            scale => Self::Scaled(ScaledInput { array, scale }),
        }
    }
}

impl From<ScaledInput> for InputArray {
    fn from(input: ScaledInput) -> Self {
        Self {
            name: input.array,
            scaling: input.scale,
        }
    }
}

impl Serialize for InputsConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match &self.0[..] {
            [one] => Written::One(one.into()),
            list => Written::List(list.iter().map(Into::into).collect()),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for InputsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for InputsConfig {
    const EXPECTED: &str =
        "the name of an array, an object with `array` and `scale`, or a list of these";

    fn from_text<E: de::Error>(name: &str) -> Result<Self, E> {
        Ok(InputsConfig(vec![InputArray::new(name)]))
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        let input = ScaledInput::deserialize(object)?;
        Ok(InputsConfig(vec![input.into()]))
    }

    fn from_list<'de, D: Deserializer<'de>>(list: D) -> Result<Self, D::Error> {
        let inputs = Vec::<Listed>::deserialize(list)?;
        Ok(InputsConfig(inputs.into_iter().map(|i| i.0).collect()))
    }
}

/// An input in a list.
struct Listed(InputArray);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for Listed {
    const EXPECTED: &str = "the name of an array, or an object with `array` and `scale`";

    fn from_text<E: de::Error>(name: &str) -> Result<Self, E> {
        Ok(Listed(InputArray::new(name)))
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        let input = ScaledInput::deserialize(object)?;
        Ok(Listed(input.into()))
    }
}

impl JsonSchema for InputsConfig {
    fn schema_name() -> Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<InputsConfig, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn every_form_is_written_as_it_was() {
        for form in [
            json!("img"),
            json!({"array": "img", "scale": "full_scale"}),
            json!(["img", "synapse"]),
            json!(["img", {"array": "synapse", "scale": "nonzero"}]),
            json!([{"array": "img", "scale": {"range": [0.0, 4095.0]}}, "synapse"]),
        ] {
            let inputs = read(form.clone()).unwrap();
            assert_eq!(inputs.problem(), None);
            assert_eq!(serde_json::to_value(&inputs).unwrap(), form);
        }
        assert_eq!(read(json!(["img"])).unwrap(), read(json!("img")).unwrap());
    }

    #[test]
    fn another_form_is_an_error_that_says_what_is_expected() {
        for (form, expected) in [
            (json!(3), "a list of these"),
            (json!([3]), "the name of an array, or an object"),
            (
                json!({"array": "img", "scales": 1}),
                "unknown field `scales`",
            ),
            (json!({"scale": "nonzero"}), "missing field `array`"),
            (
                json!({"array": "img", "scale": "binary"}),
                "unknown variant `binary`",
            ),
        ] {
            let message = read(form.clone()).unwrap_err();
            assert!(message.contains(expected), "{form}: {message}");
        }
    }

    #[test]
    fn a_problem_is_named_with_its_path() {
        for (form, path, found) in [
            (json!([]), "", "found an empty list"),
            (json!(["img", "img"]), "", "found `img` twice"),
            (
                json!({"array": "img", "scale": {"range": [1, 0]}}),
                ".scale.range",
                "found [1, 0], expected two numbers, the smaller one first",
            ),
            (
                json!(["img", {"array": "b", "scale": {"range": [1, 1]}}]),
                "[1].scale.range",
                "found [1, 1]",
            ),
        ] {
            let (at, problem) = read(form).unwrap().problem().unwrap();
            assert_eq!(at, path);
            assert!(problem.starts_with(found), "{problem}");
        }
    }
}

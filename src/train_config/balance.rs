//! The weights of the classes of a channel: ones and zeros of its target.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::any_form::{AnyForm, any_form};

/// How the classes of a channel are weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Balance {
    /// They are not.
    #[default]
    None,
    /// Ones have the fraction of zeros as weight, and the other way round. Voxels that count are counted.
    ByShare,
    /// Twice the weights of `ByShare`, so that the loss is about that without weights. Weights of the mask are counted.
    Default,
    /// Ones have the weight 0.5 / (fraction of ones), zeros 0.5 / (fraction of zeros). Weights of the mask are counted.
    Frequency,
    /// These weights.
    Fixed(ClassWeights),
}

/// A weight of each class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassWeights {
    /// Weight of voxels whose target is not 0.
    #[schemars(range(min = 0))]
    pub ones: f64,
    /// Weight of voxels whose target is 0.
    #[schemars(range(min = 0))]
    pub zeros: f64,
}

/// The form in the config.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Balance")]
enum Written {
    /// `false`: no weights. `true`: ones have the fraction of zeros as weight, and the other way round.
    Switch(bool),
    /// A rule.
    Rule(Rule),
    /// Fixed weights.
    Fixed(ClassWeights),
}

/// A rule.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Rule {
    /// Twice the weights of `true`.
    Default,
    /// 0.5 divided by the fraction of the class.
    Frequency,
}

impl Balance {
    /// Whether a mean divides by the number of nonzero weights; otherwise by that of the mask.
    pub fn counts_weights(self) -> bool {
        !matches!(self, Self::None | Self::ByShare)
    }

    pub(super) fn problem(self) -> Option<String> {
        let Self::Fixed(weights) = self else {
            return None;
        };
        let ClassWeights { ones, zeros } = weights;
        let is_usable = |w: f64| w.is_finite() && w >= 0.0;
        if is_usable(ones) && is_usable(zeros) && ones + zeros > 0.0 {
            return None;
        }
        Some(format!(
            "found {ones} for ones and {zeros} for zeros, expected numbers of at least 0 that are not both 0"
        ))
    }
}

impl From<Balance> for Written {
    fn from(balance: Balance) -> Self {
        match balance {
            Balance::None => Self::Switch(false),
            Balance::ByShare => Self::Switch(true),
            Balance::Default => Self::Rule(Rule::Default),
            Balance::Frequency => Self::Rule(Rule::Frequency),
            Balance::Fixed(weights) => Self::Fixed(weights),
        }
    }
}

impl Serialize for Balance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for Balance {
    const EXPECTED: &str =
        "true, false, \"default\", \"frequency\", or an object with `ones` and `zeros`";

    fn from_bool<E: de::Error>(on: bool) -> Result<Self, E> {
        Ok(if on { Balance::ByShare } else { Balance::None })
    }

    fn from_text<E: de::Error>(rule: &str) -> Result<Self, E> {
        match rule {
            "default" => Ok(Balance::Default),
            "frequency" => Ok(Balance::Frequency),
            _ => Err(E::invalid_value(de::Unexpected::Str(rule), &Self::EXPECTED)),
        }
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        ClassWeights::deserialize(object).map(Balance::Fixed)
    }
}

impl JsonSchema for Balance {
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
    use serde_json::json;

    #[test]
    fn every_form_is_written_as_it_was_and_others_are_errors() {
        for form in [
            json!(false),
            json!(true),
            json!("default"),
            json!("frequency"),
            json!({"ones": 2.0, "zeros": 1.0}),
        ] {
            let balance: Balance = serde_json::from_value(form.clone()).unwrap();
            assert_eq!(balance.problem(), None);
            assert_eq!(serde_json::to_value(balance).unwrap(), form);
        }
        for form in [json!("equal"), json!(1), json!({"ones": 1.0})] {
            assert!(serde_json::from_value::<Balance>(form).is_err());
        }
        for (ones, zeros) in [(0.0, 0.0), (-1.0, 2.0), (f64::NAN, 1.0)] {
            let fixed = Balance::Fixed(ClassWeights { ones, zeros });
            assert!(fixed.problem().is_some());
        }
    }
}

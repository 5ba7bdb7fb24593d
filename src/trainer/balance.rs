//! The weights of the classes of a channel: ones and zeros of its target.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tch::{Kind, TchError, Tensor};

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
    /// The weight of each element of `targets`, 0 or 1, without that of the `mask`. Fractions are clipped to `clip` to
    /// 1 - `clip`. `None` if all are 1.
    pub(super) fn weights(
        self,
        targets: &Tensor,
        mask: &Tensor,
        clip: f64,
    ) -> Result<Option<Tensor>, TchError> {
        let counts = match self {
            Self::ByShare => mask.f_ne(0.0)?.f_to_kind(Kind::Float)?,
            _ => mask.shallow_clone(),
        };
        let fractions = || -> Result<[Tensor; 2], TchError> {
            let ones = targets.f_mul(&counts)?.f_sum(Kind::Float)?;
            let all = counts.f_sum(Kind::Float)?;
            let zeros = all.f_sub(&ones)?;
            let all = match self {
                Self::ByShare => all.f_clamp_min(1.0)?,
                _ => all.f_add_scalar(1.0)?,
            };
            let clipped = |n: Tensor| n.f_div(&all)?.f_clamp(clip, 1.0 - clip);
            Ok([clipped(ones)?, clipped(zeros)?])
        };
        let [of_ones, of_zeros] = match self {
            Self::None => return Ok(None),
            Self::ByShare => {
                // Without a voxel that counts, both fractions are 0; then zeros have the smaller weight.
                let [ones, _] = fractions()?;
                let others = ones.f_neg()?.f_add_scalar(1.0)?;
                [others.f_clamp(clip, 1.0 - clip)?, ones]
            }
            Self::Default => {
                let [ones, zeros] = fractions()?;
                [zeros.f_mul_scalar(2.0)?, ones.f_mul_scalar(2.0)?]
            }
            Self::Frequency => {
                let [ones, zeros] = fractions()?;
                let inverse = |f: Tensor| f.f_reciprocal()?.f_mul_scalar(0.5);
                [inverse(ones)?, inverse(zeros)?]
            }
            Self::Fixed(weights) => {
                let scalar = |w: f64| Tensor::f_full([], w, (Kind::Float, targets.device()));
                [scalar(weights.ones)?, scalar(weights.zeros)?]
            }
        };
        let zeros = targets.f_neg()?.f_add_scalar(1.0)?;
        let weights = (targets.f_mul(&of_ones)?).f_add(&zeros.f_mul(&of_zeros)?)?;
        Ok(Some(weights))
    }

    /// Whether a mean divides by the number of nonzero weights; otherwise by that of the mask.
    pub(super) fn counts_weights(self) -> bool {
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
        deserializer.deserialize_any(AnyForm)
    }
}

/// Serde's untagged enums have no useful messages.
struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = Balance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "true, false, \"default\", \"frequency\", or an object with `ones` and `zeros`"
        )
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Balance, E> {
        Ok(if on { Balance::ByShare } else { Balance::None })
    }

    fn visit_str<E: de::Error>(self, rule: &str) -> Result<Balance, E> {
        match rule {
            "default" => Ok(Balance::Default),
            "frequency" => Ok(Balance::Frequency),
            _ => Err(E::invalid_value(de::Unexpected::Str(rule), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Balance, A::Error> {
        ClassWeights::deserialize(MapAccessDeserializer::new(map)).map(Balance::Fixed)
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

    /// The weights of ones and of zeros for one 1 and three 0s, of which the last does not count.
    fn weights(balance: Balance, mask: [f32; 4], clip: f64) -> [f64; 2] {
        let targets = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 0.0]);
        let weights = balance.weights(&targets, &Tensor::from_slice(&mask), clip);
        let weights = weights.unwrap().unwrap();
        [0, 1].map(|i| weights.double_value(&[i]))
    }

    fn assert_close(found: [f64; 2], expected: [f64; 2]) {
        for (f, e) in found.into_iter().zip(expected) {
            assert!((f - e).abs() < 1e-6, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn each_rule_gives_the_weights_of_its_formula() {
        let mask = [0.5, 1.0, 2.0, 0.0];
        // Three voxels count, one of them is 1.
        assert_close(weights(Balance::ByShare, mask, 0.1), [2.0 / 3.0, 1.0 / 3.0]);
        // Weights: 0.5 for ones, 3 for zeros, and 1 is added to their sum.
        let (ones, zeros) = (0.5 / 4.5, 3.0 / 4.5);
        assert_close(
            weights(Balance::Default, mask, 0.1),
            [2.0 * zeros, 2.0 * ones],
        );
        assert_close(
            weights(Balance::Frequency, mask, 0.1),
            [0.5 / ones, 0.5 / zeros],
        );
        assert_close(weights(Balance::Default, mask, 0.2), [2.0 * zeros, 0.4]);
        let fixed = Balance::Fixed(ClassWeights {
            ones: 3.0,
            zeros: 0.5,
        });
        assert_close(weights(fixed, mask, 0.1), [3.0, 0.5]);
        let ones = Tensor::from_slice(&[1.0f32]);
        assert!(Balance::None.weights(&ones, &ones, 0.1).unwrap().is_none());
    }

    #[test]
    fn without_a_voxel_that_counts_the_fractions_are_clipped() {
        assert_close(weights(Balance::ByShare, [0.0; 4], 0.1), [0.9, 0.1]);
        assert_close(weights(Balance::Default, [0.0; 4], 0.1), [0.2, 0.2]);
        assert_close(weights(Balance::Frequency, [0.0; 4], 0.1), [5.0, 5.0]);
    }

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

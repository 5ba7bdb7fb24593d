//! Splits that boxes are assigned to at random: fractions of the boxes, or folds of a cross-validation.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SplitConfig;
use super::names::name_problem;

/// The splits of a cross-validation.
const FOLD_SPLITS: [&str; 2] = ["train", "val"];

/// Most folds.
const MAX_FOLDS: u32 = 1_000_000;

/// How far the sum of all fractions may be from 1 to count as 1: sums of decimal numbers are not exact.
const SUM_TOLERANCE: f64 = 1e-9;

/// Splits that boxes are assigned to at random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenRandomSplits", into = "WrittenRandomSplits")]
pub struct RandomSplitsConfig {
    /// The splits, and which of the random numbers from 0 to 1 each of them gets.
    pub parts: RandomParts,
    /// Seed of the random numbers.
    pub seed: u64,
    /// The boxes that take part.
    pub tags: SplitConfig,
    /// Boxes that get the same random number.
    pub group_by: Option<GroupBy>,
}

/// How boxes are divided.
#[derive(Clone, Debug, PartialEq)]
pub enum RandomParts {
    /// By fractions: split name, then fraction of the boxes.
    Fractions(IndexMap<String, f64>),
    /// Into folds of about equal size.
    Folds {
        /// Number of folds.
        folds: u32,
        /// The fold whose boxes are `val`. The boxes of all other folds are `train`.
        fold: u32,
    },
}

/// What boxes of a group have in common. All boxes of a group are in the same split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Size in nm, x y z, of blocks of space. The boxes whose centres are in the same block are a group.
    BlockNm([f64; 3]),
    /// The boxes that have the same tag with this beginning are a group.
    TagPrefix(String),
}

/// The form in the config.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RandomSplitsConfig")]
struct WrittenRandomSplits {
    /// Split name, then the fraction of the boxes that it gets. Boxes that the fractions leave over are in no split. Either
    /// `fractions` or `folds` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("additionalProperties" = serde_json::json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1})))]
    fractions: Option<IndexMap<String, f64>>,
    /// The number of folds of a cross-validation, into which boxes are divided at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1_000_000))]
    folds: Option<u32>,
    /// The fold, from 0, whose boxes are the split `val`. The boxes of all other folds are the split `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fold: Option<u32>,
    /// Seed of the random choice.
    #[serde(default)]
    seed: u64,
    /// The boxes that take part: tags that a box must all have, or an object with `all`, `any` and `none`. By default all boxes
    /// that are in none of `splits`.
    #[serde(default, skip_serializing_if = "SplitConfig::is_empty")]
    tags: SplitConfig,
    /// Boxes that are in the same split as each other: those in the same block of space, or with the same tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group_by: Option<GroupBy>,
}

impl RandomSplitsConfig {
    /// The names of the splits, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (fractions, folds) = match &self.parts {
            RandomParts::Fractions(fractions) => (Some(fractions), None),
            RandomParts::Folds { .. } => (None, Some(FOLD_SPLITS)),
        };
        let fractions = fractions.into_iter().flat_map(IndexMap::keys);
        fractions
            .map(String::as_str)
            .chain(folds.into_iter().flatten())
    }

    /// The position in [`RandomSplitsConfig::names`] of the split that gets a random number of 64 bits.
    pub fn split_of(&self, number: u64) -> Option<usize> {
        match &self.parts {
            RandomParts::Fractions(fractions) => {
                // The upper 53 bits, which are exact in f64: from 0 to less than 1.
                let point = (number >> 11) as f64 / (1_u64 << 53) as f64;
                let mut end = 0.0;
                let found = fractions.values().position(|fraction| {
                    end += fraction;
                    point < end
                });
                let all = end >= 1.0 - SUM_TOLERANCE;
                found.or_else(|| fractions.len().checked_sub(1).filter(|_| all))
            }
            RandomParts::Folds { folds, fold } => {
                let is_val = number % u64::from((*folds).max(1)) == u64::from(*fold);
                Some(usize::from(is_val))
            }
        }
    }

    /// JSON path (below `random_splits`) and description of the first invalid value, if there is one.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        match &self.parts {
            RandomParts::Fractions(fractions) => fractions_problem(fractions),
            RandomParts::Folds { folds, fold } => {
                if !(2..=MAX_FOLDS).contains(folds) {
                    let problem = format!("found {folds}, expected 2 to {MAX_FOLDS}");
                    return Some((".folds".to_owned(), problem));
                }
                (fold >= folds).then(|| {
                    let problem = format!("found {fold}, expected 0 to {}", folds - 1);
                    (".fold".to_owned(), problem)
                })
            }
        }
        .or_else(|| match self.group_by.as_ref()? {
            GroupBy::BlockNm(size) => {
                let is_valid = size.iter().all(|nm| nm.is_finite() && *nm > 0.0);
                let problem = || {
                    format!("found {size:?}, expected the size of a block in nm, greater than 0: x, y, z")
                };
                (!is_valid).then(|| (".group_by.block_nm".to_owned(), problem()))
            }
            GroupBy::TagPrefix(prefix) => prefix.is_empty().then(|| {
                let problem = "found an empty text, expected the beginning of a tag, such as \"animal:\"";
                (".group_by.tag_prefix".to_owned(), problem.to_owned())
            }),
        })
    }
}

fn fractions_problem(fractions: &IndexMap<String, f64>) -> Option<(String, String)> {
    if fractions.is_empty() {
        let problem = "found no split, expected split names with their fractions".to_owned();
        return Some((".fractions".to_owned(), problem));
    }
    let of_one = fractions.iter().find_map(|(name, fraction)| {
        let is_valid = *fraction > 0.0 && *fraction <= 1.0;
        let wrong = || format!("found {fraction}, expected a number greater than 0, up to 1");
        let problem = name_problem(name).or_else(|| (!is_valid).then(wrong))?;
        Some((format!(".fractions.{name}"), problem))
    });
    of_one.or_else(|| {
        let sum: f64 = fractions.values().sum();
        (sum > 1.0 + SUM_TOLERANCE).then(|| {
            let problem = format!("the fractions add up to {sum}, expected at most 1");
            (".fractions".to_owned(), problem)
        })
    })
}

impl TryFrom<WrittenRandomSplits> for RandomSplitsConfig {
    type Error = String;

    fn try_from(written: WrittenRandomSplits) -> Result<Self, String> {
        let parts = match (written.fractions, written.folds, written.fold) {
            (Some(fractions), None, None) => RandomParts::Fractions(fractions),
            (None, Some(folds), Some(fold)) => RandomParts::Folds { folds, fold },
            (Some(_), ..) => {
                return Err("found `fractions` and folds, expected one of them".to_owned());
            }
            (None, Some(_), None) => {
                return Err(
                    "found `folds` without `fold`, expected the number of the fold, from 0, whose boxes are `val`"
                        .to_owned(),
                );
            }
            (None, None, Some(_)) => {
                return Err("found `fold` without `folds`, expected the number of folds".to_owned());
            }
            (None, None, None) => {
                return Err(
                    "found neither `fractions` nor `folds`, expected one of them".to_owned(),
                );
            }
        };
        Ok(Self {
            parts,
            seed: written.seed,
            tags: written.tags,
            group_by: written.group_by,
        })
    }
}

impl From<RandomSplitsConfig> for WrittenRandomSplits {
    fn from(config: RandomSplitsConfig) -> Self {
        let (fractions, folds, fold) = match config.parts {
            RandomParts::Fractions(fractions) => (Some(fractions), None, None),
            RandomParts::Folds { folds, fold } => (None, Some(folds), Some(fold)),
        };
        Self {
            fractions,
            folds,
            fold,
            seed: config.seed,
            tags: config.tags,
            group_by: config.group_by,
        }
    }
}

impl JsonSchema for RandomSplitsConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        WrittenRandomSplits::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        WrittenRandomSplits::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn config(value: serde_json::Value) -> RandomSplitsConfig {
        let config: RandomSplitsConfig = serde_json::from_value(value).unwrap();
        assert_eq!(config.problem(), None);
        config
    }

    #[test]
    fn a_split_gets_its_part_of_the_numbers() {
        let of = |fractions: serde_json::Value| config(json!({ "fractions": fractions }));
        let thirds = of(json!({"train": 0.5, "val": 0.25, "test": 0.25}));
        for (number, expected) in [
            (0, 0),
            ((1 << 63) - 1, 0),
            (1 << 63, 1),
            ((3 << 62) - 1, 1),
            (3 << 62, 2),
            (u64::MAX, 2),
        ] {
            assert_eq!(thirds.split_of(number), Some(expected), "{number}");
        }
        // 0.8 + 0.1 + 0.1 is less than 1 in floating point.
        let tenths = of(json!({"train": 0.8, "val": 0.1, "test": 0.1}));
        assert_eq!(tenths.split_of(u64::MAX), Some(2));
        let some = of(json!({"train": 0.5}));
        assert_eq!(some.split_of((1 << 63) - 1), Some(0));
        assert_eq!(some.split_of(1 << 63), None);
    }

    proptest! {
        #[test]
        fn each_number_is_in_val_of_exactly_one_fold(number: u64, folds in 2_u32..40) {
            let is_val = |fold: &u32| {
                let split = config(json!({"folds": folds, "fold": fold})).split_of(number);
                split == Some(1)
            };
            prop_assert_eq!((0..folds).filter(is_val).count(), 1);
        }
    }
}

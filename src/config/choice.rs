//! Which of the annotations inside a box become samples.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::object_id;

/// Which of the annotations inside a box become samples. Applied in this order: `filter` and `related`, `repeats`,
/// `min_distance_nm`, then `outside` and the conditions of arrays, then `max_per_box`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceConfig {
    /// Property name, then the condition for its value.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub filter: IndexMap<String, PropertyFilter>,
    /// Relationship name, then ids of objects: the annotation must be related to at least one of them. An id is a number or
    /// a string of digits, because many tools write large numbers so.
    #[serde(
        default,
        skip_serializing_if = "IndexMap::is_empty",
        deserialize_with = "object_id::lists"
    )]
    #[schemars(with = "IndexMap<String, Vec<object_id::ObjectId>>")]
    pub related: IndexMap<String, Vec<u64>>,
    /// How often an annotation counts that is in several boxes of one split.
    #[serde(default)]
    pub repeats: Repeats,
    /// Annotations closer than this to a kept one of the same split are dropped, in nm, also repeats in other boxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_distance_nm: Option<f64>,
    /// Maximum number of samples per box. They are chosen at random, the same ones in every run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_per_box: Option<u64>,
    /// Seed of random choices.
    #[serde(default)]
    pub seed: u64,
}

/// The conditions for a property's value: all that are given must be met.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PropertyFilter {
    /// Minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Allowed values: numbers, or labels from `enum_labels`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<PropertyValue>>,
}

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PropertyValue {
    /// The value itself.
    Number(#[schemars(with = "f64")] Number),
    /// The label of the value in `enum_labels`.
    Label(String),
}

/// How often an annotation counts that is in several boxes of one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Repeats {
    /// Once in each box.
    #[default]
    Each,
    /// Once, in the first box.
    Once,
}

impl ChoiceConfig {
    /// Whether every annotation becomes a sample.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The first invalid value, if there is one: the key, and what was found and expected.
    pub(super) fn problem(&self) -> Option<String> {
        for (name, filter) in &self.filter {
            let PropertyFilter { min, max, one_of } = filter;
            let has_no_condition = min.is_none() && max.is_none() && one_of.is_none();
            let is_empty_list = one_of.as_ref().is_some_and(Vec::is_empty);
            let is_reversed = matches!((min, max), (Some(min), Some(max)) if min > max);
            if has_no_condition || is_empty_list || is_reversed {
                return Some(format!(
                    "`filter.{name}` keeps nothing or everything, expected `min`, `max` (not below `min`) or `in` with some values"
                ));
            }
        }
        let ids = self.related.iter().find(|(_, ids)| ids.is_empty());
        if let Some((name, _)) = ids {
            return Some(format!("`related.{name}` has no id, expected at least one"));
        }
        let distance = self
            .min_distance_nm
            .filter(|d| !(*d > 0.0 && d.is_finite()));
        if let Some(found) = distance {
            return Some(format!(
                "`min_distance_nm` is {found}, expected a number greater than 0"
            ));
        }
        match self.max_per_box {
            Some(0) => Some("`max_per_box` is 0, expected 1 or more".to_owned()),
            _ => None,
        }
    }
}

//! Which of the annotations inside a box become samples.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::object_id;

/// Which of the annotations inside a box become samples. Applied in this order: `filter` and `related`, `repeats`,
/// `min_distance_nm`, then what arrays ask for, then `max_per_box`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceConfig {
    /// Property name, then what its value must be.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub filter: IndexMap<String, PropertyFilter>,
    /// Relationship name, then the ids of the objects of which the annotation must be related to one.
    /// An id is a number or, as many tools write large ones, a text of digits.
    #[serde(
        default,
        skip_serializing_if = "IndexMap::is_empty",
        deserialize_with = "object_id::lists"
    )]
    #[schemars(with = "IndexMap<String, Vec<object_id::ObjectId>>")]
    pub related: IndexMap<String, Vec<u64>>,
    /// How often an annotation counts that lies in several boxes of one split.
    #[serde(default)]
    pub repeats: Repeats,
    /// Annotations nearer than this to one that is kept are dropped, in nm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_distance_nm: Option<f64>,
    /// Most samples of one box: more are thinned out at random, the same ones each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_per_box: Option<u64>,
    /// Seed of what is random.
    #[serde(default)]
    pub seed: u64,
}

/// What a property's value must be: all that is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PropertyFilter {
    /// This or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// This or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// One of these: numbers, or labels of the property's enumeration.
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

/// How often an annotation counts that lies in several boxes of one split.
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
    /// Whether every annotation counts.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What cannot be, if anything: the key, and what was found and expected.
    pub(super) fn problem(&self) -> Option<String> {
        for (name, filter) in &self.filter {
            let PropertyFilter { min, max, one_of } = filter;
            let nothing = min.is_none() && max.is_none() && one_of.is_none();
            let empty = one_of.as_ref().is_some_and(Vec::is_empty);
            let reversed = matches!((min, max), (Some(min), Some(max)) if min > max);
            if nothing || empty || reversed {
                return Some(format!(
                    "`filter.{name}` keeps nothing or everything, expected `min`, `max` (not below `min`) or `in` with some values"
                ));
            }
        }
        let ids = self.related.iter().find(|(_, ids)| ids.is_empty());
        if let Some((name, _)) = ids {
            return Some(format!("`related.{name}` has no id, expected some"));
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

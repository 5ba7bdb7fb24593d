//! Which boxes belong to a split.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::any_form::{AnyForm, any_form};

/// The tags that decide whether a box belongs to a split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitConfig {
    /// The box must have all of these tags.
    pub all: Vec<String>,
    /// If not empty, the box must have at least one of these tags.
    pub any: Vec<String>,
    /// The box must have none of these tags.
    pub none: Vec<String>,
}

/// The form in the config.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SplitConfig")]
enum Written {
    /// Tags that a box must all have.
    All(Vec<String>),
    /// Tags of which a box must have all, any, or none.
    Tags(Tags),
}

/// Tags of which a box must have all, at least one, or none.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tags {
    /// The box must have all of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    all: Vec<String>,
    /// If not empty, the box must have at least one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    any: Vec<String>,
    /// The box must have none of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    none: Vec<String>,
}

impl SplitConfig {
    /// Whether a box with these tags belongs to the split.
    pub fn fits(&self, tags: &[String]) -> bool {
        let has = |tag: &String| tags.contains(tag);
        self.all.iter().all(has)
            && (self.any.is_empty() || self.any.iter().any(has))
            && !self.none.iter().any(has)
    }

    /// Whether it has no tag, so that every box fits.
    pub fn is_empty(&self) -> bool {
        self.tags().next().is_none()
    }

    /// All tags that occur in it.
    pub fn tags(&self) -> impl Iterator<Item = &String> {
        self.all.iter().chain(&self.any).chain(&self.none)
    }
}

impl Serialize for SplitConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = if self.any.is_empty() && self.none.is_empty() {
            Written::All(self.all.clone())
        } else {
            Written::Tags(Tags {
                all: self.all.clone(),
                any: self.any.clone(),
                none: self.none.clone(),
            })
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SplitConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for SplitConfig {
    const EXPECTED: &str = "a list of tags, or an object with `all`, `any`, `none` (fractions of boxes are in `random_splits`)";

    fn from_list<'de, D: Deserializer<'de>>(list: D) -> Result<Self, D::Error> {
        let all = Vec::deserialize(list)?;
        Ok(SplitConfig {
            all,
            ..SplitConfig::default()
        })
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        let Tags { all, any, none } = Tags::deserialize(object)?;
        Ok(SplitConfig { all, any, none })
    }
}

impl JsonSchema for SplitConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn split(value: serde_json::Value) -> SplitConfig {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn all_any_and_none_decide_whether_a_box_belongs_to_a_split() {
        let tags = |tags: &[&str]| tags.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let list = split(json!(["a", "b"]));
        assert!(list.fits(&tags(&["b", "c", "a"])) && !list.fits(&tags(&["a"])));
        let object = split(json!({"all": ["a"], "any": ["b", "c"], "none": ["d"]}));
        assert!(object.fits(&tags(&["a", "c"])));
        for not in [&["a"][..], &["b"], &["a", "b", "d"], &[]] {
            assert!(!object.fits(&tags(not)), "{not:?}");
        }
        assert!(split(json!({"none": ["d"]})).fits(&[]));
    }

    #[test]
    fn a_split_is_written_as_it_was_read() {
        for value in [
            json!(["a"]),
            json!({"any": ["a", "b"]}),
            json!({"all": ["a"], "none": ["b"]}),
        ] {
            assert_eq!(serde_json::to_value(split(value.clone())).unwrap(), value);
        }
    }
}

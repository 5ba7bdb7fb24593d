//! How voxels of one size become voxels of another.

use schemars::JsonSchema;
use serde::de::{self, value::StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::any_form::{AnyForm, any_form};

/// How values are resampled from one resolution to another: a name, or an object with a name and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "Written")]
pub enum Interpolation {
    /// The value of the voxel that contains the new voxel's center; between two voxels, the lower one. For labels.
    Nearest,
    /// The mean over the volume that the new voxel covers. For images.
    Area(Rounding),
    /// Linear between the centers of voxels. For images.
    Linear(Rounding),
    /// 1 where any voxel that the new voxel covers, even in part, is greater than 0. For masks.
    Any,
    /// The most frequent value in the volume that the new voxel covers. For labels.
    Majority,
}

/// How means of integers are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest integer; between two, to the even one.
    #[default]
    HalfEven,
    /// Towards 0.
    Truncate,
}

impl Interpolation {
    /// Which interpolation fits which values, for messages.
    pub(crate) const CHOICES: &str =
        "`nearest` or `majority` for labels, `area` or `linear` for images, `any` for masks";
}

/// The form in the config.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Interpolation")]
enum Written {
    Name(Name),
    WithOptions(WithOptions),
}

/// An interpolation with its default options.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "InterpolationName")]
enum Name {
    /// The value of the voxel that contains the new voxel's center; between two voxels, the lower one. For labels.
    Nearest,
    /// The mean over the volume that the new voxel covers. For images.
    Area,
    /// Linear between the centers of voxels. For images.
    Linear,
    /// 1 where any voxel that the new voxel covers, even in part, is greater than 0. For masks.
    Any,
    /// The most frequent value in the volume that the new voxel covers. For labels.
    Majority,
}

/// An interpolation and its options.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "InterpolationWithOptions")]
enum WithOptions {
    /// The mean over the volume that the new voxel covers. For images.
    Area(MeanConfig),
    /// Linear between the centers of voxels. For images.
    Linear(MeanConfig),
}

/// Options of means.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MeanConfig {
    /// How means of integers are rounded.
    #[serde(default)]
    rounding: Rounding,
}

impl From<Interpolation> for Written {
    fn from(interpolation: Interpolation) -> Self {
        match interpolation {
            Interpolation::Nearest => Self::Name(Name::Nearest),
            Interpolation::Area(Rounding::HalfEven) => Self::Name(Name::Area),
            Interpolation::Area(rounding) => {
                Self::WithOptions(WithOptions::Area(MeanConfig { rounding }))
            }
            Interpolation::Linear(Rounding::HalfEven) => Self::Name(Name::Linear),
            Interpolation::Linear(rounding) => {
                Self::WithOptions(WithOptions::Linear(MeanConfig { rounding }))
            }
            Interpolation::Any => Self::Name(Name::Any),
            Interpolation::Majority => Self::Name(Name::Majority),
        }
    }
}

impl<'de> Deserialize<'de> for Interpolation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for Interpolation {
    const EXPECTED: &str =
        r#""nearest", "area", "linear", "any", "majority", or an object with `area` or `linear`"#;

    fn from_text<E: de::Error>(name: &str) -> Result<Self, E> {
        Ok(match Name::deserialize(StrDeserializer::new(name))? {
            Name::Nearest => Interpolation::Nearest,
            Name::Area => Interpolation::Area(Rounding::default()),
            Name::Linear => Interpolation::Linear(Rounding::default()),
            Name::Any => Interpolation::Any,
            Name::Majority => Interpolation::Majority,
        })
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        let written = WithOptions::deserialize(object).map_err(|e| {
            let message = e.to_string();
            let is_named = |name: &&str| message.starts_with(&format!("unknown variant `{name}`"));
            match ["nearest", "any", "majority"].into_iter().find(is_named) {
                Some(name) => de::Error::custom(format!(
                    "`{name}` has no options, expected \"{name}\" without an object"
                )),
                None => e,
            }
        })?;
        Ok(match written {
            WithOptions::Area(mean) => Interpolation::Area(mean.rounding),
            WithOptions::Linear(mean) => Interpolation::Linear(mean.rounding),
        })
    }
}

impl JsonSchema for Interpolation {
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
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Interpolation, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn default_options_are_written_as_the_name_alone() {
        for (given, meant, written) in [
            (json!("nearest"), Interpolation::Nearest, json!("nearest")),
            (
                json!("area"),
                Interpolation::Area(Rounding::HalfEven),
                json!("area"),
            ),
            (
                json!({"area": {}}),
                Interpolation::Area(Rounding::HalfEven),
                json!("area"),
            ),
            (
                json!({"linear": {"rounding": "half_even"}}),
                Interpolation::Linear(Rounding::HalfEven),
                json!("linear"),
            ),
            (
                json!({"area": {"rounding": "truncate"}}),
                Interpolation::Area(Rounding::Truncate),
                json!({"area": {"rounding": "truncate"}}),
            ),
            (
                json!({"linear": {"rounding": "truncate"}}),
                Interpolation::Linear(Rounding::Truncate),
                json!({"linear": {"rounding": "truncate"}}),
            ),
            (json!("any"), Interpolation::Any, json!("any")),
            (
                json!("majority"),
                Interpolation::Majority,
                json!("majority"),
            ),
        ] {
            let found = read(given.clone()).unwrap();
            assert_eq!(found, meant, "{given}");
            assert_eq!(serde_json::to_value(found).unwrap(), written);
            assert_eq!(read(written).unwrap(), meant);
        }
    }

    #[test]
    fn an_unknown_interpolation_is_an_error_that_lists_the_known_ones() {
        for (written, message) in [
            (
                json!("mean"),
                "unknown variant `mean`, expected one of `nearest`, `area`, `linear`, `any`, `majority`",
            ),
            (
                json!({"majority": {}}),
                "`majority` has no options, expected \"majority\"",
            ),
            (
                json!({"area": {"round": "truncate"}}),
                "unknown field `round`, expected `rounding`",
            ),
            (
                json!({"area": {"rounding": "floor"}}),
                "unknown variant `floor`, expected `half_even` or `truncate`",
            ),
            (
                json!(3),
                "invalid type: integer `3`, expected \"nearest\", \"area\"",
            ),
            (json!({}), "expected"),
            (json!({"area": {}, "linear": {}}), "expected"),
        ] {
            let error = read(written.clone()).unwrap_err().to_string();
            assert!(error.contains(message), "{written}: {error}");
        }
    }
}

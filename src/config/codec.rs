//! How an array's samples are compressed.

use schemars::JsonSchema;
use serde::de::{self, value::StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::any_form::{AnyForm, any_form};

/// How an array's samples are compressed: a name, or an object with a name and options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecConfig {
    /// Chosen from some of the array's windows: `zstd` if they shrink to two thirds or less, otherwise `none`.
    #[default]
    Auto,
    /// No compression.
    None,
    /// No compression; each sample begins at a multiple of this number of bytes in its shard.
    #[serde(rename = "none")]
    Aligned(AlignedConfig),
    /// Zstandard.
    Zstd(ZstdConfig),
    /// LZ4 in a Blosc frame.
    Lz4,
    /// Zstandard in a Blosc frame, after a shuffle of bytes or bits.
    Blosc(BloscConfig),
}

/// Options of `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlignedConfig {
    /// Each sample begins at a multiple of this number of bytes in its shard, a power of two: then files can be read with O_DIRECT.
    #[schemars(range(min = 2, max = 1_048_576))]
    pub align_bytes: u32,
}

/// Largest `align_bytes`.
const MAX_ALIGN_BYTES: u32 = 1 << 20;

/// Options of `zstd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZstdConfig {
    /// Compression level.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 19))]
    pub level: i64,
}

/// Options of `blosc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BloscConfig {
    /// Compression level: level `L` is Zstandard's level `2 L - 1`, level 9 is Zstandard's highest.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 9))]
    pub level: i64,
    /// What is shuffled before compression.
    #[serde(default)]
    pub shuffle: Shuffle,
}

/// What is shuffled before compression, so that similar bytes or bits are next to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shuffle {
    /// Nothing.
    None,
    /// The first bytes of all values, then the second bytes, and so on. One-byte values stay as they are.
    #[default]
    Byte,
    /// The first bits of all values, then the second bits, and so on.
    Bit,
}

fn one() -> i64 {
    1
}

impl Default for ZstdConfig {
    fn default() -> Self {
        Self { level: one() }
    }
}

impl Default for BloscConfig {
    fn default() -> Self {
        Self {
            level: one(),
            shuffle: Shuffle::default(),
        }
    }
}

impl CodecConfig {
    pub(super) fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// The first invalid value, if there is one: the key below the array, and what was found and expected.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if let Self::Aligned(AlignedConfig { align_bytes }) = *self {
            let is_valid =
                align_bytes.is_power_of_two() && (2..=MAX_ALIGN_BYTES).contains(&align_bytes);
            let problem = format!(
                "found {align_bytes}, expected a power of two from 2 to {MAX_ALIGN_BYTES}, such as 4096"
            );
            return (!is_valid).then_some((".codec.none.align_bytes", problem));
        }
        let (key, level, most) = match self {
            Self::Zstd(zstd) => (".codec.zstd.level", zstd.level, 19),
            Self::Blosc(blosc) => (".codec.blosc.level", blosc.level, 9),
            Self::Auto | Self::None | Self::Aligned(_) | Self::Lz4 => return None,
        };
        let problem = || format!("found {level}, expected a whole number from 1 to {most}");
        (!(1..=most).contains(&level)).then(|| (key, problem()))
    }
}

/// The form in the config.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "CodecConfig")]
#[allow(dead_code, reason = "only the schema is used")]
enum Written {
    Name(Name),
    WithOptions(WithOptions),
}

/// A codec with its default options.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Name {
    /// `zstd` if some windows of the array shrink to two thirds or less, otherwise `none`.
    Auto,
    /// No compression.
    None,
    /// Zstandard, level 1.
    Zstd,
    /// LZ4 in a Blosc frame.
    Lz4,
    /// Zstandard, level 1, in a Blosc frame, after a byte shuffle.
    Blosc,
}

/// A codec and its options.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WithOptions {
    /// No compression, with aligned samples.
    None(AlignedConfig),
    /// Zstandard.
    Zstd(ZstdConfig),
    /// Zstandard in a Blosc frame.
    Blosc(BloscConfig),
}

impl<'de> Deserialize<'de> for CodecConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for CodecConfig {
    const EXPECTED: &str =
        r#""auto", "none", "zstd", "lz4", "blosc", or an object with `none`, `zstd` or `blosc`"#;

    fn from_text<E: de::Error>(name: &str) -> Result<Self, E> {
        Ok(match Name::deserialize(StrDeserializer::new(name))? {
            Name::Auto => CodecConfig::Auto,
            Name::None => CodecConfig::None,
            Name::Zstd => CodecConfig::Zstd(ZstdConfig::default()),
            Name::Lz4 => CodecConfig::Lz4,
            Name::Blosc => CodecConfig::Blosc(BloscConfig::default()),
        })
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        let written = WithOptions::deserialize(object).map_err(|e| {
            let message = e.to_string();
            let is_named = |name: &&str| message.starts_with(&format!("unknown variant `{name}`"));
            match ["auto", "lz4"].into_iter().find(is_named) {
                Some(name) => de::Error::custom(format!(
                    "`{name}` has no options, expected \"{name}\" without an object"
                )),
                None => e,
            }
        })?;
        Ok(match written {
            WithOptions::None(aligned) => CodecConfig::Aligned(aligned),
            WithOptions::Zstd(zstd) => CodecConfig::Zstd(zstd),
            WithOptions::Blosc(blosc) => CodecConfig::Blosc(blosc),
        })
    }
}

impl JsonSchema for CodecConfig {
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

    fn read(value: Value) -> Result<CodecConfig, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn a_name_is_the_codec_with_its_default_options() {
        for (written, meant) in [
            (json!("auto"), CodecConfig::Auto),
            (json!("none"), CodecConfig::None),
            (
                json!({"none": {"align_bytes": 4096}}),
                CodecConfig::Aligned(AlignedConfig { align_bytes: 4096 }),
            ),
            (json!("lz4"), CodecConfig::Lz4),
            (json!("zstd"), CodecConfig::Zstd(ZstdConfig { level: 1 })),
            (
                json!({"zstd": {}}),
                CodecConfig::Zstd(ZstdConfig { level: 1 }),
            ),
            (
                json!({"zstd": {"level": 19}}),
                CodecConfig::Zstd(ZstdConfig { level: 19 }),
            ),
            (
                json!("blosc"),
                CodecConfig::Blosc(BloscConfig {
                    level: 1,
                    shuffle: Shuffle::Byte,
                }),
            ),
            (
                json!({"blosc": {"level": 5, "shuffle": "bit"}}),
                CodecConfig::Blosc(BloscConfig {
                    level: 5,
                    shuffle: Shuffle::Bit,
                }),
            ),
        ] {
            let found = read(written.clone()).unwrap();
            assert_eq!(found, meant, "{written}");
            assert_eq!(found.problem(), None);
            assert_eq!(read(serde_json::to_value(found).unwrap()).unwrap(), meant);
        }
    }

    #[test]
    fn an_unknown_codec_is_an_error_that_lists_the_known_ones() {
        for (written, message) in [
            (
                json!("gzip"),
                "unknown variant `gzip`, expected one of `auto`, `none`, `zstd`, `lz4`, `blosc`",
            ),
            (json!({"lz4": {}}), "`lz4` has no options, expected \"lz4\""),
            (
                json!({"zstd": {"levle": 3}}),
                "unknown field `levle`, expected `level`",
            ),
            (
                json!({"zstd": {"level": "high"}}),
                "invalid type: string \"high\", expected i64",
            ),
            (
                json!({"blosc": {"shuffle": "byts"}}),
                "unknown variant `byts`, expected one of `none`, `byte`, `bit`",
            ),
            (
                json!(3),
                "invalid type: integer `3`, expected \"auto\", \"none\", \"zstd\"",
            ),
            (json!({"none": {}}), "missing field `align_bytes`"),
            (json!({}), "expected"),
            (json!({"zstd": {}, "blosc": {}}), "expected"),
        ] {
            let error = read(written.clone()).unwrap_err().to_string();
            assert!(error.contains(message), "{written}: {error}");
        }
    }

    #[test]
    fn a_level_out_of_range_is_an_error() {
        for (written, key, most) in [
            (json!({"zstd": {"level": 0}}), ".codec.zstd.level", 19),
            (json!({"zstd": {"level": 20}}), ".codec.zstd.level", 19),
            (json!({"zstd": {"level": -5}}), ".codec.zstd.level", 19),
            (json!({"blosc": {"level": 0}}), ".codec.blosc.level", 9),
            (json!({"blosc": {"level": 10}}), ".codec.blosc.level", 9),
        ] {
            let (found, problem) = read(written.clone()).unwrap().problem().unwrap();
            assert_eq!(found, key, "{written}");
            assert!(problem.ends_with(&format!("from 1 to {most}")), "{problem}");
        }
    }

    #[test]
    fn an_alignment_that_is_no_power_of_two_is_an_error() {
        for align_bytes in [0, 1, 4095, 1 << 21] {
            let written = json!({"none": {"align_bytes": align_bytes}});
            let (key, problem) = read(written).unwrap().problem().unwrap();
            assert_eq!(key, ".codec.none.align_bytes");
            let found = format!("found {align_bytes}, expected a power of two");
            assert!(problem.starts_with(&found), "{problem}");
        }
    }
}

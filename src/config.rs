//! The job description: JSON in, a validated [`Config`] out.
//!
//! Every default lives here. Unknown keys, wrong types and impossible values end in one error that names
//! the file, the JSON path, what was found and what is allowed.

mod array;
mod boxes;
mod choice;
mod codec;
mod collection;
mod error;
mod interpolation;
mod layer;
mod nearest;
mod object_id;
mod points;
mod read;
mod split;
mod tagged;
mod unit;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::geometry::{AxisOrder, Resolution, WindowSize};
use crate::storage::{PASSWORD, UniqueKeys, has_userinfo, redact_json};

#[cfg(test)]
pub use array::Scale;
pub use array::{ArrayConfig, MissingObject, ObjectAt, ObjectPoint, Role, Transform};
pub(crate) use boxes::no_volume;
pub use boxes::{BoxLayerConfig, BoxListConfig, BoxTableConfig, BoxesConfig, BoxesSource};
pub use choice::{ChoiceConfig, PropertyFilter, PropertyValue, Repeats};
pub use codec::{CodecConfig, Shuffle};
pub use collection::{CollectionConfig, CollectionSource, StateBoxesConfig, ZettaApiConfig};
pub use error::ConfigError;
pub use interpolation::{Interpolation, Rounding};
pub use layer::{Empty, Forbidden, LayerConfig};
pub(crate) use nearest::nearest;
pub use points::{CsvConfig, PointsConfig, PointsFrom, StatePointsConfig};
pub(crate) use read::read_bytes;
pub use split::SplitConfig;
pub use unit::LengthUnit;

/// A job: which windows to cut, out of which layers, into which splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the schema of this file lies, for editors. It means nothing to the job.
    #[serde(rename = "$schema", default, skip_serializing)]
    pub(crate) schema: Option<String>,
    /// The collection of bounding boxes: the path of a file or folder, or an object that names another
    /// kind of source. Relative paths count from the config's folder.
    pub(crate) collection: CollectionConfig,
    /// Size of a voxel of the windows in nm, x y z. Every layer must have a scale of this resolution.
    #[schemars(with = "[f64; 3]", extend("items" = serde_json::json!({"type": "number", "exclusiveMinimum": 0})))]
    pub(crate) resolution: Resolution,
    /// Size of a window in voxels, x y z.
    #[schemars(with = "[u32; 3]", extend("items" = serde_json::json!({"type": "integer", "minimum": 1, "maximum": 65536})))]
    pub(crate) window: WindowSize,
    /// Which annotations are samples.
    pub(crate) points: PointsConfig,
    /// The arrays to write: output name, then the layer that it is cut out of.
    #[schemars(length(min = 1))]
    pub(crate) arrays: IndexMap<String, ArrayConfig>,
    /// What the sources of volume layers do not say about themselves: the layer's name, as in `arrays`, then
    /// its resolution, offset and axes, and what its server means by 403.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) layers: IndexMap<String, LayerConfig>,
    /// The splits to write: name, then the tags that a box must all bear to belong to it, or an object
    /// with `all`, `any` and `none`.
    #[schemars(length(min = 1))]
    pub(crate) splits: IndexMap<String, SplitConfig>,
    /// Whether the z of `resolution` gives way, per layer group, to the smallest that all its layers have. A window
    /// keeps its number of voxels.
    #[serde(default)]
    pub(crate) flexible_z: bool,
    /// Whether the corners of boxes are moved before points are held against them.
    #[serde(default)]
    pub(crate) snap: Snap,
    /// What becomes of samples whose window leaves the volume of a layer.
    #[serde(default)]
    pub(crate) outside: Outside,
    /// The order of the arrays' axes after `sample`.
    #[serde(default)]
    pub(crate) axis_order: AxisOrder,
    /// What happens when windows of two splits share voxels.
    #[serde(default, deserialize_with = "tagged::leaks")]
    pub(crate) leaks: Leaks,
    /// What a source chunk that is not stored means.
    #[serde(default)]
    pub(crate) missing: Missing,
    /// Samples per shard file. Without it, as many as make the largest array's shard about 128 MiB
    /// before compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub(crate) shard_samples: Option<u32>,
}

/// What happens when windows of two splits share voxels of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leaks {
    /// Stop before anything is written.
    #[default]
    Error,
    /// Say so, and go on.
    Warn,
    /// Do not look.
    Allow,
    /// Drop the samples of this split that share voxels with another one's, and count them.
    DropFrom(String),
}

/// Whether the corners of boxes are moved before points are held against them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Snap {
    /// They stay as given.
    #[default]
    None,
    /// As in zetta_utils: cut to whole nm, then down to whole voxels, `floor(round(x / r, 10)) * r`.
    Zetta,
}

/// What becomes of samples whose window leaves the volume of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// The voxels outside read as the fill value.
    #[default]
    Pad,
    /// They are dropped, and counted.
    Drop,
}

/// What a source chunk that is not stored means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It reads as the layer's fill value, which is 0 but for Zarr arrays that say otherwise, and is counted.
    #[default]
    Zeros,
    /// It is an error.
    Error,
}

/// What `text`, the contents of the file `file`, says, with the JSON path of what is wrong with it.
pub(crate) fn from_json<T: DeserializeOwned>(text: &[u8], file: &Path) -> Result<T, ConfigError> {
    fn whole<T: DeserializeOwned>(
        text: &[u8],
        file: &Path,
        error: fn(&Path, serde_path_to_error::Error<serde_json::Error>) -> ConfigError,
    ) -> Result<T, ConfigError> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let value =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|e| error(file, e))?;
        deserializer.end().map_err(|e| {
            let problem = format!("{e}: nothing may follow the JSON object");
            ConfigError::invalid(file, ".", problem)
        })?;
        Ok(value)
    }
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    whole::<UniqueKeys>(text, file, ConfigError::from_json)?;
    whole(text, file, ConfigError::from_value)
}

impl Config {
    /// Reads and validates the config file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_bytes(path)?, path)
    }

    /// Parses and validates `text`, the contents of the file `file` (for messages).
    pub fn parse(text: &[u8], file: &Path) -> Result<Self, ConfigError> {
        let config: Self = from_json(text, file)?;
        config.validate(file)?;
        Ok(config)
    }

    /// The JSON Schema of the config.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Config).to_value()
    }

    /// As it may be published and is digested: without queries of URLs, so that a signature that is renewed makes no
    /// other job.
    pub fn published(&self) -> serde_json::Value {
        let mut value = serde_json::json!(self);
        redact_json(&mut value);
        value
    }

    fn validate(&self, file: &Path) -> Result<(), ConfigError> {
        let invalid =
            |path: String, problem: String| Err(ConfigError::invalid(file, path, problem));
        if let Some(path) = path_of_password(&serde_json::json!(self)) {
            return invalid(path, PASSWORD.to_owned());
        }
        if let Some((path, problem)) = self.collection.problem() {
            return invalid(format!("collection{path}"), problem);
        }
        if self.arrays.is_empty() {
            return invalid(
                "arrays".into(),
                "found no array, expected at least one".into(),
            );
        }
        for name in self.arrays.keys() {
            if let Some(problem) = bad_name(name) {
                return invalid(format!("arrays.{name}"), problem);
            }
            if let Some(taken) = taken_by(name) {
                return invalid(
                    format!("arrays.{name}"),
                    format!("the name `{name}` is taken by {taken}, expected another name"),
                );
            }
        }
        for (kind, names) in [
            ("arrays", self.arrays.keys().collect::<Vec<_>>()),
            ("splits", self.splits.keys().collect()),
        ] {
            if let Some((name, other)) = same_but_for_case(&names) {
                return invalid(
                    format!("{kind}.{name}"),
                    format!(
                        "the name differs from `{other}` in small and capital letters only, expected names that every file system tells apart"
                    ),
                );
            }
        }
        for (name, array) in &self.arrays {
            if let Some((key, problem)) = array.problem() {
                return invalid(format!("arrays.{name}{key}"), problem);
            }
            let masked = name
                .strip_suffix("_mask")
                .filter(|t| self.arrays.contains_key(*t));
            if array.role == Some(Role::Mask) && masked.is_none() {
                return invalid(
                    format!("arrays.{name}.role"),
                    "a mask is named after the array that it masks, expected the name of another array and `_mask`".into(),
                );
            }
        }
        for (name, layer) in &self.layers {
            let mut used = self.arrays.values().map(|a| a.layer.as_str());
            // With `flexible_z` the layers of the groups count, too, which are not known here.
            if !used.any(|l| l == name) && !self.flexible_z {
                let used = || self.arrays.values().map(|a| a.layer.as_str());
                let hint = nearest(name, used());
                let hint = hint.map_or(String::new(), |h| format!("; did you mean `{h}`?"));
                let names: Vec<_> = used().collect();
                return invalid(
                    format!("layers.{name}"),
                    format!(
                        "no array is cut out of a layer `{name}`, expected one of {}{hint}",
                        names.join(", ")
                    ),
                );
            }
            if let Some((key, problem)) = layer.problem() {
                return invalid(format!("layers.{name}.{key}"), problem);
            }
        }
        if self.splits.is_empty() {
            return invalid(
                "splits".into(),
                "found no split, expected at least one".into(),
            );
        }
        for (name, split) in &self.splits {
            if let Some(problem) = bad_name(name) {
                return invalid(format!("splits.{name}"), problem);
            }
            if split.tags().next().is_none() {
                return invalid(
                    format!("splits.{name}"),
                    "found no tag, expected the tags that a box of this split must bear".into(),
                );
            }
        }
        if let Leaks::DropFrom(split) = &self.leaks
            && !self.splits.contains_key(split)
        {
            return invalid(
                "leaks.drop_from".into(),
                format!("found {split:?}, expected the name of a split"),
            );
        }
        if let Some(samples @ (0 | 1_048_577..)) = self.shard_samples {
            return invalid(
                "shard_samples".into(),
                format!("found {samples}, expected a whole number from 1 to 1048576"),
            );
        }
        Ok(())
    }
}

/// JSON path of a URL with a name and password, if there is one.
fn path_of_password(value: &serde_json::Value) -> Option<String> {
    let below = |step: String, value| {
        let rest = path_of_password(value)?;
        Some(match rest.as_str() {
            "" => step,
            rest if rest.starts_with('[') => step + rest,
            rest => format!("{step}.{rest}"),
        })
    };
    match value {
        serde_json::Value::String(text) => has_userinfo(text).then(String::new),
        serde_json::Value::Array(list) => {
            let mut items = list.iter().enumerate();
            items.find_map(|(i, value)| below(format!("[{i}]"), value))
        }
        serde_json::Value::Object(members) => {
            let mut members = members.iter();
            members.find_map(|(name, value)| below(name.clone(), value))
        }
        _ => None,
    }
}

/// What is wrong with `name` as the name of a folder in the output, if anything.
fn bad_name(name: &str) -> Option<String> {
    let ok = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    (!ok).then(|| {
        format!("found the name {name:?}, expected 1 to 64 of A-Z a-z 0-9 _ - . that start with a letter or digit")
    })
}

/// What has the name of an array already, if anything: an index column, a dimension, the group's own metadata. Some file
/// systems do not tell small letters from capital ones.
fn taken_by(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let columns = [
        "annotation_id",
        "box",
        "center_nm",
        "start_voxel",
        "resolution_nm",
    ];
    let ends = [
        "_nonzero_fraction",
        "_inside_fraction",
        "_start_voxel",
        "_object_id",
    ];
    let dimensions = ["sample", "channel", "x", "y", "z", "xyz", "rgb", "rgba"];
    match name.as_str() {
        "zarr.json" => Some("the metadata of the group"),
        n if dimensions.contains(&n) => Some("a dimension"),
        n if columns.contains(&n)
            || n.starts_with("property_")
            || ends.iter().any(|end| n.ends_with(end)) =>
        {
            Some("an index column")
        }
        _ => None,
    }
}

/// Whether an array cannot have this name, because something else in the output has it.
pub(crate) fn is_taken_array_name(name: &str) -> bool {
    taken_by(name).is_some()
}

/// Two names that are the same but for small and capital letters: the later one first.
fn same_but_for_case<'n>(names: &[&'n String]) -> Option<(&'n str, &'n str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let other = names[..i]
            .iter()
            .find(|other| other.eq_ignore_ascii_case(name))?;
        Some((name.as_str(), other.as_str()))
    })
}

/// A config and the file that it came from.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// The file; relative paths in the config count from its folder.
    pub path: PathBuf,
    /// What it says.
    pub config: Config,
}

#[cfg(test)]
mod tests;

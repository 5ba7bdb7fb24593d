//! The job description: JSON in, a validated [`Config`] out.
//!
//! All defaults are here. Unknown keys, wrong types and invalid values are errors that name the file, the JSON path, what
//! was found and what is allowed.

pub(crate) mod any_form;
mod array;
mod boxes;
mod choice;
mod codec;
mod collection;
mod cremi;
mod description;
mod error;
mod interpolation;
mod layer;
mod named_collection;
mod names;
mod nearest;
mod negatives;
mod object_at;
mod object_id;
mod objects;
mod places;
mod points;
mod policy;
mod random_splits;
mod read;
mod roots;
mod split;
mod tagged;
mod unit;
mod validate;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::storage::{UniqueKeys, redact_json};

#[cfg(test)]
pub use array::Scale;
pub use array::{ArrayConfig, Role, Transform};
pub(crate) use boxes::no_volume;
pub use boxes::{BoxLayerConfig, BoxListConfig, BoxTableConfig, BoxesConfig, BoxesSource};
pub use choice::{ChoiceConfig, PropertyFilter, PropertyValue, Repeats};
pub use codec::{CodecConfig, Shuffle};
pub use collection::{CollectionConfig, CollectionSource, StateBoxesConfig, ZettaApiConfig};
pub use cremi::CremiConfig;
pub use description::Config;
pub use error::ConfigError;
pub use interpolation::{Interpolation, Rounding};
pub use layer::{Empty, Forbidden, LayerConfig};
pub use named_collection::NamedCollectionConfig;
pub(crate) use names::{DROPPED_ANNOTATIONS, is_reserved_array_name};
pub(crate) use nearest::nearest;
pub(crate) use negatives::NEGATIVE;
pub use negatives::NegativesConfig;
pub(crate) use object_at::ObjectSearch;
pub use object_at::{MissingObject, ObjectAt, ObjectIdFrom, ObjectPoint, OneOrMore};
pub(crate) use objects::{AT_FACE, VOXELS};
pub use objects::{ObjectAnchor, ObjectsConfig};
pub use points::{
    EndConfig, PointsConfig, PointsFrom, PositionColumns, StatePointsConfig, TableConfig,
};
pub use policy::{Leaks, Missing, Outside, Snap};
pub use random_splits::{GroupBy, RandomParts, RandomSplitsConfig};
pub(crate) use read::read_bytes;
pub use roots::{MissingRoot, RootsConfig};
pub use split::SplitConfig;
pub use unit::LengthUnit;

/// Parses `text`, the contents of the file `file`. An error names the JSON path of the invalid value.
pub(crate) fn from_json<T: DeserializeOwned>(text: &[u8], file: &Path) -> Result<T, ConfigError> {
    fn parse_all<T: DeserializeOwned>(
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
    parse_all::<UniqueKeys>(text, file, ConfigError::from_json)?;
    parse_all(text, file, ConfigError::from_value)
}

impl Config {
    /// Reads and validates the config file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_bytes(path)?, path)
    }

    /// Parses and validates `text`. Messages name the file `file`.
    pub fn parse(text: &[u8], file: &Path) -> Result<Self, ConfigError> {
        let config: Self = from_json(text, file)?;
        match validate::problem(&config) {
            None => Ok(config),
            Some((path, problem)) => Err(ConfigError::invalid(file, path, problem)),
        }
    }

    /// The JSON Schema of the config.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Config).to_value()
    }

    /// The names of the splits, in the order of the output: first those of `random_splits`, then those of `splits`.
    pub fn split_names(&self) -> impl Iterator<Item = &str> {
        let random = self.random_splits.iter().flat_map(|r| r.names());
        random.chain(self.splits.keys().map(String::as_str))
    }

    /// The id of a box in its own collection. With `collections`, ids of boxes begin with the name of the collection and a slash.
    pub(crate) fn id_in_collection<'b>(&self, box_id: &'b str) -> &'b str {
        match box_id.split_once('/') {
            Some((_, id)) if !self.collections.is_empty() => id,
            _ => box_id,
        }
    }

    /// The config without secrets, for the manifest and for digests: URLs have no queries, so that a job with renewed
    /// signatures is the same job.
    pub fn published(&self) -> serde_json::Value {
        let mut value = serde_json::json!(self);
        redact_json(&mut value);
        value
    }
}

/// A config and the file that it came from.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// The file; relative paths in the config count from its folder.
    pub path: PathBuf,
    /// The config.
    pub config: Config,
}

impl ConfigFile {
    /// Reads the config in a file.
    ///
    /// # Errors
    /// Those of [`Config::read`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let config = Config::read(&path)?;
        Ok(Self { path, config })
    }
}

#[cfg(test)]
mod tests;

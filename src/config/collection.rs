//! Where the collection comes from: a path, or an object that names another kind of source.

use std::fmt;

use reqwest::Url;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::BoxesConfig;
use crate::storage::{has_userinfo, redacted_source};

/// The collection of bounding boxes.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CollectionConfig {
    /// A JSON file with the four lists that zetta_utils' web API returns, or a folder with the four as
    /// `*_multiple.json`. Relative to the config's folder.
    Path(String),
    /// Another kind of source, by name.
    Source(CollectionSource),
}

/// A collection that is no file of zetta_utils' rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CollectionSource {
    /// The boxes and layers of a Neuroglancer viewer state.
    NeuroglancerState(StateBoxesConfig),
    /// A collection on a server with zetta_utils' web API.
    ZettaApi(ZettaApiConfig),
    /// Boxes in the config, in a table (CSV) or in a layer of precomputed annotations.
    Boxes(BoxesConfig),
}

/// The boxes and layers of a Neuroglancer viewer state. A box's tags stand in its description, between
/// commas or blanks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateBoxesConfig {
    /// Path of the state's JSON, relative to the config's folder, or a pasted Neuroglancer URL.
    pub source: String,
    /// The annotation layer that holds the boxes. Without it, the only layer that holds any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
}

/// A collection on a server with zetta_utils' web API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZettaApiConfig {
    /// Address of the API, below which `annotations/multiple` stands: `https://HOST` or `https://HOST/PATH`.
    pub url: String,
    /// Id of the collection.
    pub collection: String,
    /// Only boxes that bear all of these tags. (The API itself would return those that bear any of them.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Name of the environment variable that holds the bearer token. Without it no token is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
}

impl CollectionConfig {
    /// JSON path (below `collection`) and description of the first invalid value, if there is one.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        let Self::Source(source) = self else {
            return None;
        };
        match source {
            CollectionSource::NeuroglancerState(_) => None,
            CollectionSource::ZettaApi(api) => api.problem().map(|(path, p)| (path.to_owned(), p)),
            CollectionSource::Boxes(boxes) => {
                let problem = boxes.problem();
                problem.map(|(path, problem)| (format!(".boxes{path}"), problem))
            }
        }
    }
}

impl ZettaApiConfig {
    /// The address, with a slash at its end; `None` where it is none, or says more than an address.
    pub(crate) fn address(&self) -> Option<Url> {
        let url = Url::parse(&format!("{}/", self.url.trim_end_matches('/'))).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        // Where a program takes a backslash for a slash, another takes what is before it for a name.
        let says_more = self.url.contains(['?', '#', '\\']) || has_userinfo(&self.url);
        (is_http && !says_more).then_some(url)
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        if self.address().is_none() {
            return Some((
                ".zetta_api.url",
                format!(
                    "found {:?}, expected `https://HOST` or `https://HOST/PATH`",
                    redacted_source(&self.url)
                ),
            ));
        }
        if self.collection.is_empty() {
            return Some((
                ".zetta_api.collection",
                "found nothing, expected the collection's id".to_owned(),
            ));
        }
        let is_name = |name: &String| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match &self.token_env {
            Some(name) if !is_name(name) => Some((
                ".zetta_api.token_env",
                // Not the value: whoever put the token itself here should not read it in a log.
                "found what cannot be a variable's name, expected the NAME of an environment variable that holds \
                 the token"
                    .to_owned(),
            )),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for CollectionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathOrSource)
    }
}

/// A text is a path, an object a source. Serde's own untagged enums would not say what is wrong.
struct PathOrSource;

impl<'de> Visitor<'de> for PathOrSource {
    type Value = CollectionConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a path, or an object with one of `neuroglancer_state`, `zetta_api`, `boxes`"
        )
    }

    fn visit_str<E: de::Error>(self, path: &str) -> Result<Self::Value, E> {
        Ok(CollectionConfig::Path(path.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        CollectionSource::deserialize(MapAccessDeserializer::new(map)).map(CollectionConfig::Source)
    }
}

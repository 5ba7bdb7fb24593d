//! Where the collection comes from: a path, or an object for another kind of source.

use reqwest::Url;
use schemars::JsonSchema;
use serde::de;
use serde::{Deserialize, Deserializer, Serialize};

use super::BoxesConfig;
use super::any_form::{AnyForm, any_form};
use crate::storage::{has_userinfo, redacted_source};

/// The collection of bounding boxes.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CollectionConfig {
    /// A JSON file with the four lists that zetta_utils' web API returns, or a folder with the four as
    /// `*_multiple.json`. Relative to the config's folder.
    Path(String),
    /// Another kind of source.
    Source(CollectionSource),
}

/// A collection in another form than zetta_utils' rows.
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

/// The boxes and layers of a Neuroglancer viewer state. A box's tags are in its description, separated by commas or
/// spaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateBoxesConfig {
    /// Path of the state's JSON, relative to the config's folder, or a pasted Neuroglancer URL.
    pub source: String,
    /// The annotation layer with the boxes. By default the only layer with boxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
}

/// A collection on a server with zetta_utils' web API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZettaApiConfig {
    /// Address of the API, without `annotations/multiple`: `https://HOST` or `https://HOST/PATH`.
    pub url: String,
    /// Id of the collection.
    pub collection: String,
    /// Only boxes that have all of these tags. (The API itself returns boxes that have any of them.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Name of the environment variable with the bearer token. By default no token is sent.
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
    /// The address, with a slash at its end; `None` if it is invalid or has a query, fragment, name or password.
    pub(crate) fn address(&self) -> Option<Url> {
        let url = Url::parse(&format!("{}/", self.url.trim_end_matches('/'))).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        // Some programs read a backslash as a slash, others read the text before it as a name.
        let has_more = self.url.contains(['?', '#', '\\']) || has_userinfo(&self.url);
        (is_http && !has_more).then_some(url)
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
                "found an empty string, expected the collection's id".to_owned(),
            ));
        }
        let is_name = |name: &String| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match &self.token_env {
            Some(name) if !is_name(name) => Some((
                ".zetta_api.token_env",
                // The value is not shown, because it may be the token itself.
                "found an invalid name, expected the NAME of an environment variable that holds the token"
                    .to_owned(),
            )),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for CollectionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for CollectionConfig {
    const EXPECTED: &str =
        "a path, or an object with one of `neuroglancer_state`, `zetta_api`, `boxes`";

    fn from_text<E: de::Error>(path: &str) -> Result<Self, E> {
        Ok(CollectionConfig::Path(path.to_owned()))
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        CollectionSource::deserialize(object).map(CollectionConfig::Source)
    }
}

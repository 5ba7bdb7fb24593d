//! One of several collections of a job: where it is, and what differs in it from the others.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::any_form::{AnyForm, any_form};
use super::{BoxesConfig, CollectionConfig, CollectionSource, StateBoxesConfig, ZettaApiConfig};

/// One of several collections.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedCollectionConfig {
    /// Where it is.
    pub collection: CollectionConfig,
    /// Tags that every box of it has.
    pub tags: Vec<String>,
    /// Names of layers in the config that have another name in this collection: the name in the config, then that in the
    /// collection.
    pub layers: IndexMap<String, String>,
    /// The table of annotations that takes the place of that in `points`.
    pub table: Option<String>,
}

/// The form in the config.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "NamedCollection")]
enum Written {
    /// The path or URL of the collection.
    Path(String),
    /// The collection, and what differs in it.
    Object(WrittenCollection),
}

/// A collection with exactly one of `path`, `neuroglancer_state`, `zetta_api` and `boxes`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NamedCollectionConfig")]
struct WrittenCollection {
    /// A collection file, a folder of lists, or a viewer state: path or URL. Relative to the config's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The boxes and layers of a Neuroglancer viewer state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    neuroglancer_state: Option<StateBoxesConfig>,
    /// A collection on a server with zetta_utils' web API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zetta_api: Option<ZettaApiConfig>,
    /// Boxes in the config, in a table (CSV) or in a layer of precomputed annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boxes: Option<BoxesConfig>,
    /// Tags that every box of the collection has, in addition to its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// Layers that have another name in this collection: the name in the config, then the name in the collection.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    layers: IndexMap<String, String>,
    /// Path or URL of the table of annotations inside the boxes of this collection. By default `points.table.file`, whose columns it
    /// must have. Relative to the config's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
}

impl WrittenCollection {
    fn into_config(self) -> Result<NamedCollectionConfig, &'static str> {
        let sources = [
            self.path.map(CollectionConfig::Path),
            self.neuroglancer_state
                .map(|state| CollectionConfig::Source(CollectionSource::NeuroglancerState(state))),
            self.zetta_api
                .map(|api| CollectionConfig::Source(CollectionSource::ZettaApi(api))),
            self.boxes
                .map(|boxes| CollectionConfig::Source(CollectionSource::Boxes(boxes))),
        ];
        let mut sources = sources.into_iter().flatten();
        match (sources.next(), sources.next()) {
            (Some(collection), None) => Ok(NamedCollectionConfig {
                collection,
                tags: self.tags,
                layers: self.layers,
                table: self.table,
            }),
            (None, _) => Err(
                "found no boxes, expected one of `path`, `neuroglancer_state`, `zetta_api`, `boxes`",
            ),
            (Some(_), Some(_)) => Err(
                "found several sources of boxes, expected exactly one of `path`, `neuroglancer_state`, `zetta_api`, `boxes`",
            ),
        }
    }
}

impl NamedCollectionConfig {
    fn is_path_only(&self) -> bool {
        self.tags.is_empty() && self.layers.is_empty() && self.table.is_none()
    }
}

impl Serialize for NamedCollectionConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = WrittenCollection {
            tags: self.tags.clone(),
            layers: self.layers.clone(),
            table: self.table.clone(),
            ..WrittenCollection::default()
        };
        match self.collection.clone() {
            CollectionConfig::Path(path) if self.is_path_only() => {
                return Written::Path(path).serialize(serializer);
            }
            CollectionConfig::Path(path) => written.path = Some(path),
            CollectionConfig::Source(CollectionSource::NeuroglancerState(state)) => {
                written.neuroglancer_state = Some(state);
            }
            CollectionConfig::Source(CollectionSource::ZettaApi(api)) => {
                written.zetta_api = Some(api);
            }
            CollectionConfig::Source(CollectionSource::Boxes(boxes)) => {
                written.boxes = Some(boxes);
            }
        }
        Written::Object(written).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NamedCollectionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl AnyForm for NamedCollectionConfig {
    const EXPECTED: &str =
        "a path, or an object with one of `path`, `neuroglancer_state`, `zetta_api`, `boxes`";

    fn from_text<E: de::Error>(path: &str) -> Result<Self, E> {
        Ok(NamedCollectionConfig {
            collection: CollectionConfig::Path(path.to_owned()),
            tags: Vec::new(),
            layers: IndexMap::new(),
            table: None,
        })
    }

    fn from_object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        let written = WrittenCollection::deserialize(object)?;
        written.into_config().map_err(de::Error::custom)
    }
}

impl JsonSchema for NamedCollectionConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

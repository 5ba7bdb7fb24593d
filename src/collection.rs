//! A collection: bounding boxes with tags, and the layer group that each one's data comes from.
//!
//! Source: the JSON that zetta_utils' web API returns, as one file with the lists `collections`,
//! `layer_groups`, `layers` and `annotations`, or as a folder with one `NAME_multiple.json` for each.
//! Relative layer sources count from the folder that the file or folder stands in.
//! Layer sources stay as written until something asks for them: a group may hold layers that no job reads.

mod rows;

use std::sync::Arc;

use indexmap::IndexMap;

use crate::config::nearest;
use crate::geometry::BoxNm;
use crate::storage::{DocumentError, Location, LocationError, SourceUrl};

/// The boxes of a collection, in the order in which it lists them.
#[derive(Clone, Debug)]
pub struct Collection {
    /// The file or folder that it was read from.
    pub location: Location,
    /// Every bounding box, tagged for a split or not.
    pub boxes: Vec<TaggedBox>,
    /// Rows of `annotations` that are not bounding boxes, by type.
    pub other_rows: IndexMap<String, usize>,
}

/// One bounding box.
#[derive(Clone, Debug)]
pub struct TaggedBox {
    /// Its id, unique in the collection.
    pub id: String,
    /// Its tags, as listed.
    pub tags: Vec<String>,
    /// Where it is.
    pub bounds: BoxNm,
    /// The layers that its samples are cut out of.
    pub layers: Arc<LayerGroup>,
}

/// Layers that belong together, by name.
#[derive(Clone, Debug)]
pub struct LayerGroup {
    id: String,
    /// Name, then source as written.
    sources: IndexMap<String, String>,
    /// The folder that relative sources count from.
    base: Location,
}

/// Why a collection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// A file of it could not be read or parsed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A list that must be there is not.
    #[error(
        "{file} has no list `{list}`; expected the four lists collections, layer_groups, layers and annotations of zetta_utils' web API"
    )]
    NoList {
        /// The collection file.
        file: String,
        /// The list.
        list: &'static str,
    },
    /// A row is not what it should be.
    #[error("{file}: {row}: {problem}")]
    Row {
        /// The collection file.
        file: String,
        /// Which row, with its id where it has one.
        row: String,
        /// What was found, what was expected.
        problem: String,
    },
}

/// Why a layer of a group cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The group has no such layer.
    #[error("the layer group `{group}` has no layer `{layer}`; it has {known}{}", hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    Unknown {
        /// The group's id.
        group: String,
        /// The name that was asked for.
        layer: String,
        /// The names that there are.
        known: String,
        /// The nearest of them.
        hint: Option<String>,
    },
    /// Its source is not understood.
    #[error("the layer `{layer}` of the layer group `{group}` cannot be read")]
    Source {
        /// The group's id.
        group: String,
        /// The layer.
        layer: String,
        /// Why.
        source: LocationError,
    },
}

impl Collection {
    /// Reads the collection file or folder at `location`.
    pub fn read(location: &Location) -> Result<Self, CollectionError> {
        rows::read(location)
    }
}

impl LayerGroup {
    /// The group's id in the collection.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The source of the layer `name`, relative paths resolved.
    pub fn source(&self, name: &str) -> Result<SourceUrl, LayerError> {
        let Some(text) = self.sources.get(name) else {
            let known: Vec<_> = self.sources.keys().map(|k| format!("`{k}`")).collect();
            return Err(LayerError::Unknown {
                group: self.id.clone(),
                layer: name.to_owned(),
                known: known.join(", "),
                hint: nearest(name, self.sources.keys().map(String::as_str)).map(str::to_owned),
            });
        };
        SourceUrl::parse(text, &self.base).map_err(|source| LayerError::Source {
            group: self.id.clone(),
            layer: name.to_owned(),
            source,
        })
    }
}

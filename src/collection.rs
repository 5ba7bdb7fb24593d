//! A collection: bounding boxes with tags, and the layer group that each one's data comes from.
//!
//! Sources: the JSON that zetta_utils' web API returns, as one file with the lists `collections`,
//! `layer_groups`, `layers` and `annotations`, or as a folder with one `NAME_multiple.json` for each; a
//! server with that API; a Neuroglancer viewer state; a layer of precomputed annotations. Relative layer sources count from the folder that the file or folder stands in.
//! Layer sources stay as written until something asks for them: a group may hold layers that no job reads.

mod box_layer;
mod box_table;
mod boxes;
mod lists;
mod rows;
mod state;
mod zetta_api;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::config::{CollectionConfig, CollectionSource, nearest};
use crate::fault::{Fault, FaultKind};
use crate::geometry::{BoxNm, SourceTransform};
use crate::neuroglancer::viewer_state::{StateError, is_pasted_url};
use crate::points::{PointSource, PointsError};
use crate::storage::{DocumentError, Location, LocationError, SourceUrl, Storage, redacted_source};

pub(crate) use state::layers_of_state;
pub use zetta_api::ApiError;

/// The boxes of a collection, in the order in which it lists them.
#[derive(Clone, Debug)]
pub struct Collection {
    /// What it was read from, for people: a path or a URL.
    pub source: String,
    /// Every bounding box, tagged for a split or not.
    pub boxes: Vec<TaggedBox>,
    /// Annotations beside the boxes that are not bounding boxes, by type.
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
    sources: IndexMap<String, LayerText>,
    /// The folder that relative sources count from.
    base: Location,
    /// Names of layers that the collection calls annotations.
    annotations: HashSet<String>,
}

/// What a collection says about a layer.
#[derive(Clone)]
enum LayerText {
    /// Its source as written.
    Source(String),
    /// Its source as written, and what a viewer state does to it.
    Moved(String, Arc<SourceTransform>),
    /// Why it cannot be used, which matters only where a job reads it.
    Refused(String),
}

/// Sources may have secrets.
impl fmt::Debug for LayerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(text) => write!(f, "Source({:?})", redacted_source(text)),
            Self::Moved(text, transform) => {
                write!(f, "Moved({:?}, {transform:?})", redacted_source(text))
            }
            Self::Refused(why) => write!(f, "Refused({why:?})"),
        }
    }
}

/// Why a collection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// A file of it could not be read or parsed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The viewer state that holds it cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The layer of boxes cannot be used.
    #[error(transparent)]
    Boxes(#[from] PointsError),
    /// The source of the layer of boxes is not understood.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The web API cannot be read.
    #[error(transparent)]
    Api(#[from] ApiError),
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
    /// The property that tags boxes is not to be had.
    #[error("{file}: properties: {problem}")]
    TagProperty {
        /// The layer of boxes.
        file: String,
        /// What was found, what was expected.
        problem: String,
    },
    /// A file is not a table of boxes.
    #[error("{file} is not a table of boxes: {problem}")]
    BoxTable {
        /// The file.
        file: String,
        /// What was found, what was expected.
        problem: String,
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
    /// The box has no layer group.
    #[error(
        "it has no `layer_group`, which lists the layer `{layer}`: add one to its row, or remove the box"
    )]
    NoGroup {
        /// The name that was asked for.
        layer: String,
    },
    /// Its source is understood, but not what is done to it.
    #[error("the layer `{layer}` of the layer group `{group}` cannot be read: {why}")]
    Refused {
        /// The group's id.
        group: String,
        /// The layer.
        layer: String,
        /// What is done to it, and what to do.
        why: String,
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

impl CollectionError {
    /// Whether the file is there, but not the four lists: it may be a viewer state.
    pub(crate) fn may_be_a_state(&self) -> bool {
        match self {
            Self::NoList { .. } => true,
            Self::Document(e) => e.is_about_contents(),
            _ => false,
        }
    }
}

impl Collection {
    /// Reads what `config` names, within the memory of `storage`; relative paths count from the folder `base`.
    pub fn open(
        config: &CollectionConfig,
        base: &Location,
        storage: &Storage,
    ) -> Result<Self, CollectionError> {
        match config {
            CollectionConfig::Path(url) if is_pasted_url(url) => {
                state::read(url, None, base, storage)
            }
            CollectionConfig::Path(path) => match Self::read(&base.resolve(path)?, storage) {
                Err(e) if e.may_be_a_state() => state::read_instead(path, base, storage, e),
                read => read,
            },
            CollectionConfig::Source(CollectionSource::NeuroglancerState(state)) => {
                state::read(&state.source, state.layer.as_deref(), base, storage)
            }
            CollectionConfig::Source(CollectionSource::ZettaApi(api)) => {
                zetta_api::read(api, base, storage)
            }
            CollectionConfig::Source(CollectionSource::Boxes(config)) => {
                boxes::read(config, base, storage)
            }
        }
    }

    /// Reads the collection file or folder at `location`, within the memory of `storage`.
    pub fn read(location: &Location, storage: &Storage) -> Result<Self, CollectionError> {
        rows::read(location, storage)
    }
}

impl LayerGroup {
    /// The group of boxes that have none.
    pub(crate) fn none() -> Self {
        Self {
            id: String::new(),
            sources: IndexMap::new(),
            base: Location::Local(PathBuf::new()),
            annotations: HashSet::new(),
        }
    }

    /// The group of the layers `sources`: name, then source as written, relative to `base`.
    pub(crate) fn of_sources(
        id: &str,
        sources: &IndexMap<String, String>,
        base: &Location,
    ) -> Self {
        let sources = sources.iter();
        let text =
            |(name, text): (&String, &String)| (name.clone(), LayerText::Source(text.clone()));
        Self {
            id: id.to_owned(),
            sources: sources.map(text).collect(),
            base: base.clone(),
            annotations: HashSet::new(),
        }
    }

    /// The names of its layers.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// The source of the layer `name` as written, which may have secrets: it is never shown.
    pub(crate) fn written(&self, name: &str) -> Option<&str> {
        match self.sources.get(name)? {
            LayerText::Source(text) | LayerText::Moved(text, _) => Some(text),
            LayerText::Refused(_) => None,
        }
    }

    /// The folder that relative sources count from.
    pub(crate) fn base(&self) -> &Location {
        &self.base
    }

    /// The group's id in the collection.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The source of the volume layer `name`, relative paths resolved.
    pub fn source(&self, name: &str) -> Result<SourceUrl, LayerError> {
        let (text, transform) = self.text(name)?;
        let source = SourceUrl::parse(text, &self.base).map_err(|e| self.unreadable(name, e))?;
        Ok(SourceUrl {
            transform,
            ..source
        })
    }

    /// The source of the annotation layer `name`, relative paths resolved.
    pub fn point_source(&self, name: &str) -> Result<PointSource, LayerError> {
        let (text, transform) = self.text(name)?;
        let source = PointSource::parse(text, &self.base).map_err(|e| self.unreadable(name, e))?;
        Ok(source.with_transform(transform))
    }

    /// The names of its layers that may be volumes: all but those that are known to be annotations.
    pub(crate) fn possible_volumes(&self) -> impl Iterator<Item = &str> {
        let in_state = |text: &LayerText| match text {
            LayerText::Source(text) | LayerText::Moved(text, _) => matches!(
                PointSource::parse(text, &self.base),
                Ok(PointSource::ViewerState { .. })
            ),
            LayerText::Refused(_) => false,
        };
        let possible = move |(name, text): &(&String, &LayerText)| {
            !self.annotations.contains(*name) && !in_state(text)
        };
        self.sources
            .iter()
            .filter(possible)
            .map(|(name, _)| name.as_str())
    }

    fn text(&self, name: &str) -> Result<(&str, Option<Arc<SourceTransform>>), LayerError> {
        match self.sources.get(name) {
            Some(LayerText::Source(text)) => Ok((text, None)),
            Some(LayerText::Moved(text, transform)) => Ok((text, Some(Arc::clone(transform)))),
            Some(LayerText::Refused(why)) => Err(LayerError::Refused {
                group: self.id.clone(),
                layer: name.to_owned(),
                why: why.clone(),
            }),
            None if self.id.is_empty() => Err(LayerError::NoGroup {
                layer: name.to_owned(),
            }),
            None => {
                let known: Vec<_> = self.sources.keys().map(|k| format!("`{k}`")).collect();
                Err(LayerError::Unknown {
                    group: self.id.clone(),
                    layer: name.to_owned(),
                    known: if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    },
                    hint: nearest(name, self.sources.keys().map(String::as_str)).map(str::to_owned),
                })
            }
        }
    }

    fn unreadable(&self, name: &str, source: LocationError) -> LayerError {
        LayerError::Source {
            group: self.id.clone(),
            layer: name.to_owned(),
            source,
        }
    }
}

impl Fault for CollectionError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Document(e) => e.kind(),
            Self::State(e) => e.kind(),
            Self::Boxes(e) => e.kind(),
            Self::Location(e) => e.kind(),
            Self::Api(e) => e.kind(),
            Self::TagProperty { .. } => FaultKind::Usage,
            Self::NoList { .. } | Self::Row { .. } | Self::BoxTable { .. } => FaultKind::Data,
        }
    }
}

impl Fault for LayerError {
    fn kind(&self) -> FaultKind {
        FaultKind::Data
    }
}

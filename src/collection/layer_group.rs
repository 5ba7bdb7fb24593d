//! A group of layers: their names, and where each is read from.
//!
//! Sources of layers stay as written until a layer is needed: a group may have layers that no job reads.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::config::nearest;
use crate::fault::{Fault, FaultKind};
use crate::geometry::SourceTransform;
use crate::points::PointSource;
use crate::storage::{Location, LocationError, SourceUrl, redacted_source};

/// Layers that belong together, by name.
#[derive(Clone, Debug)]
pub struct LayerGroup {
    pub(super) id: String,
    /// Name, then source as written.
    pub(super) sources: IndexMap<String, LayerText>,
    /// The folder that relative sources count from.
    pub(super) base: Location,
    /// Names of layers that the collection declares as annotations.
    pub(super) annotations: HashSet<String>,
}

/// The source of a layer in a collection.
#[derive(Clone)]
pub(super) enum LayerText {
    /// The source as written.
    Source(String),
    /// The source as written, and its transform in the viewer state.
    Transformed(String, Arc<SourceTransform>),
    /// Why the layer cannot be used. It is an error only if a job needs the layer.
    Unusable(String),
}

/// Sources may contain secrets.
impl fmt::Debug for LayerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(text) => write!(f, "Source({:?})", redacted_source(text)),
            Self::Transformed(text, transform) => {
                write!(f, "Transformed({:?}, {transform:?})", redacted_source(text))
            }
            Self::Unusable(why) => write!(f, "Unusable({why:?})"),
        }
    }
}

/// Why a layer of a group cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The group has no such layer.
    #[error("the layer group `{group}` has no layer `{layer}`; it has {known}{}", hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    Unknown {
        /// The group's id.
        group: String,
        /// The name in the config.
        layer: String,
        /// The names of the group's layers.
        known: String,
        /// The closest of them.
        hint: Option<String>,
    },
    /// The box has no layer group.
    #[error(
        "it has no `layer_group`, which lists the layer `{layer}`: add one to its row, or remove the box"
    )]
    NoGroup {
        /// The name in the config.
        layer: String,
    },
    /// The layer cannot be used.
    #[error("the layer `{layer}` of the layer group `{group}` cannot be read: {why}")]
    Unusable {
        /// The group's id.
        group: String,
        /// The layer.
        layer: String,
        /// Why, and what to do.
        why: String,
    },
    /// The layer's source is invalid.
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

impl LayerGroup {
    /// The group of boxes without a layer group: it has no layers.
    pub(crate) fn empty() -> Self {
        Self {
            id: String::new(),
            sources: IndexMap::new(),
            base: Location::Local(PathBuf::new()),
            annotations: HashSet::new(),
        }
    }

    /// The group with the names of layers that the config uses for the collection `collection`. `names` has the name in the
    /// config, then that in the collection. The other layers keep their names.
    pub(super) fn with_names(&self, collection: &str, names: &IndexMap<String, String>) -> Self {
        if self.sources.is_empty() {
            return self.clone();
        }
        let is_other =
            |name: &String| !names.contains_key(name) && !names.values().any(|n| n == name);
        let others = self.sources.iter().filter(|(name, _)| is_other(name));
        let others = others.map(|(name, text)| (name.clone(), text.clone()));
        let renamed = names.iter().map(|(name, own)| {
            let text = self.sources.get(own).cloned().unwrap_or_else(|| {
                let hint = self.nearest_name(own);
                let hint = hint.map_or(String::new(), |hint| format!("; did you mean `{hint}`?"));
                LayerText::Unusable(format!(
                    "the group has no layer `{own}`, which `collections.{collection}.layers.{name}` names; it has {}{hint}",
                    self.known_names(),
                ))
            });
            (name.clone(), text)
        });
        let is_annotations = |(_, own): &(&String, &String)| self.annotations.contains(*own);
        let annotations = names.iter().filter(is_annotations);
        let annotations = annotations.map(|(name, _)| name);
        let others_of = self.annotations.iter().filter(|name| is_other(name));
        Self {
            id: self.id.clone(),
            sources: others.chain(renamed).collect(),
            base: self.base.clone(),
            annotations: annotations.chain(others_of).cloned().collect(),
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

    /// The names of the layers.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// The source of the layer `name` as written. It may contain secrets and must not be shown.
    pub(crate) fn written(&self, name: &str) -> Option<&str> {
        match self.sources.get(name)? {
            LayerText::Source(text) | LayerText::Transformed(text, _) => Some(text),
            LayerText::Unusable(_) => None,
        }
    }

    /// The folder that relative sources count from.
    pub(crate) fn base(&self) -> &Location {
        &self.base
    }

    /// The id in the collection.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The source of the volume layer `name`, relative paths resolved.
    pub fn source(&self, name: &str) -> Result<SourceUrl, LayerError> {
        let (text, transform) = self.text(name)?;
        let source =
            SourceUrl::parse(text, &self.base).map_err(|e| self.invalid_source(name, e))?;
        Ok(SourceUrl {
            transform,
            ..source
        })
    }

    /// The source of the annotation layer `name`, relative paths resolved.
    pub fn point_source(&self, name: &str) -> Result<PointSource, LayerError> {
        let (text, transform) = self.text(name)?;
        let source =
            PointSource::parse(text, &self.base).map_err(|e| self.invalid_source(name, e))?;
        Ok(source.with_transform(transform))
    }

    /// The names of the layers that may be volumes: all except those that are known to be annotations.
    pub(crate) fn possible_volumes(&self) -> impl Iterator<Item = &str> {
        let in_state = |text: &LayerText| match text {
            LayerText::Source(text) | LayerText::Transformed(text, _) => matches!(
                PointSource::parse(text, &self.base),
                Ok(PointSource::ViewerState { .. })
            ),
            LayerText::Unusable(_) => false,
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
            Some(LayerText::Transformed(text, transform)) => {
                Ok((text, Some(Arc::clone(transform))))
            }
            Some(LayerText::Unusable(why)) => Err(LayerError::Unusable {
                group: self.id.clone(),
                layer: name.to_owned(),
                why: why.clone(),
            }),
            None if self.id.is_empty() => Err(LayerError::NoGroup {
                layer: name.to_owned(),
            }),
            None => Err(LayerError::Unknown {
                group: self.id.clone(),
                layer: name.to_owned(),
                known: self.known_names(),
                hint: self.nearest_name(name).map(str::to_owned),
            }),
        }
    }

    /// The names of its layers, for messages.
    fn known_names(&self) -> String {
        let known: Vec<_> = self.sources.keys().map(|k| format!("`{k}`")).collect();
        if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        }
    }

    /// The name of a layer that is close to `name`, if there is one.
    fn nearest_name(&self, name: &str) -> Option<&str> {
        nearest(name, self.sources.keys().map(String::as_str))
    }

    fn invalid_source(&self, name: &str, source: LocationError) -> LayerError {
        LayerError::Source {
            group: self.id.clone(),
            layer: name.to_owned(),
            source,
        }
    }
}

impl Fault for LayerError {
    fn kind(&self) -> FaultKind {
        FaultKind::Data
    }
}

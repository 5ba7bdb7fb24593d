//! The layers of a viewer state, with their sources.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::StateError;
use super::field_path::FieldPath;
use super::transform;
use crate::geometry::SourceTransform;
use crate::neuroglancer::GeometryKind;
use crate::storage::redacted_source;

/// A layer of a viewer state.
#[derive(Debug)]
pub struct StateLayer {
    name: String,
    /// The viewer state, for messages.
    document: String,
    /// Its path in the document.
    pub(super) path: String,
    pub(super) members: Map<String, Value>,
    sources: Vec<Source>,
}

/// One of a layer's data sources.
#[derive(Debug)]
struct Source {
    url: String,
    /// Its path in the document.
    path: String,
    transform: Option<Value>,
    is_shown: bool,
}

/// The source of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerSource {
    /// A URL.
    Url {
        /// The URL in the state.
        url: String,
        /// The transform in the state.
        transform: Option<Arc<SourceTransform>>,
    },
    /// The state itself.
    Local,
    /// The source cannot be read. Contains the reason.
    Unreadable(String),
}

/// Parses the layers in `layers`: a list or, in old states, an object by name.
pub(super) fn parse_all(
    layers: Option<Value>,
    root: &FieldPath,
) -> Result<Vec<StateLayer>, StateError> {
    let at = root.member("layers");
    let mut parsed: Vec<StateLayer> = Vec::new();
    let mut add = |at: FieldPath, name: Option<String>, value: Value| {
        let layer = parse(&at, name, value)?;
        if parsed.iter().any(|other| other.name == layer.name) {
            return Err(at
                .member("name")
                .error(format!("{:?} again", layer.name), "each name once"));
        }
        parsed.push(layer);
        Ok(())
    };
    match layers {
        Some(Value::Array(list)) => {
            for (i, value) in list.into_iter().enumerate() {
                add(at.item(i), None, value)?;
            }
        }
        Some(Value::Object(by_name)) => {
            for (name, value) in by_name {
                let value = match value {
                    Value::String(_) => serde_json::json!({ "source": value }),
                    value => value,
                };
                add(at.member(&name), Some(name), value)?;
            }
        }
        other => return Err(at.unexpected(&other.unwrap_or(Value::Null), "the list of layers")),
    }
    Ok(parsed)
}

/// The name of a document that is a layer without a name.
const BARE_LAYER: &str = "layer";

/// Parses a document that is a single layer.
pub(super) fn parse_bare(
    layer: Map<String, Value>,
    root: &FieldPath,
) -> Result<Vec<StateLayer>, StateError> {
    let has_name = layer.get("name").is_some_and(Value::is_string);
    let name = (!has_name).then(|| BARE_LAYER.to_owned());
    Ok(vec![parse(root, name, layer.into())?])
}

/// Parses a layer. Without `name`, its name is in it.
fn parse(at: &FieldPath, name: Option<String>, value: Value) -> Result<StateLayer, StateError> {
    let Value::Object(members) = value else {
        return Err(at.unexpected(&value, "a layer, which is an object"));
    };
    let name = match (name, members.get("name")) {
        (Some(name), _) => name,
        (None, Some(Value::String(name))) => name.clone(),
        (None, other) => {
            return Err(at
                .member("name")
                .unexpected(other.unwrap_or(&Value::Null), "the layer's name"));
        }
    };
    let sources = sources(members.get("source"), &at.member("source"))?;
    Ok(StateLayer {
        name,
        document: at.object.to_owned(),
        path: at.path.clone(),
        members,
        sources,
    })
}

/// Parses a source: a string, an object with a `url`, or a list of these.
fn sources(value: Option<&Value>, at: &FieldPath) -> Result<Vec<Source>, StateError> {
    let one = |value: &Value, at: &FieldPath| match value {
        Value::String(url) => Ok(Source {
            url: url.clone(),
            path: at.path.clone(),
            transform: None,
            is_shown: true,
        }),
        Value::Object(members) => match members.get("url") {
            Some(Value::String(url)) => Ok(Source {
                url: url.clone(),
                path: at.path.clone(),
                transform: members.get("transform").filter(|t| !t.is_null()).cloned(),
                is_shown: is_shown(members),
            }),
            other => Err(at
                .member("url")
                .unexpected(other.unwrap_or(&Value::Null), "a URL")),
        },
        other => Err(at.unexpected(other, "a URL, or an object with a `url`")),
    };
    let sources = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list
            .iter()
            .enumerate()
            .map(|(i, value)| one(value, &at.item(i)))
            .collect::<Result<_, _>>()?,
        Some(value) => vec![one(value, at)?],
    };
    // Neuroglancer ignores sources without a URL.
    Ok(sources
        .into_iter()
        .filter(|s| !s.url.trim().is_empty())
        .collect())
}

/// Whether the viewer shows a source's volume or annotations, and not only its meshes.
fn is_shown(source: &Map<String, Value>) -> bool {
    let main = source.get("subsources").and_then(|s| s.get("default"));
    let enabled = match main {
        Some(Value::Object(members)) => members.get("enabled").and_then(Value::as_bool),
        other => other.and_then(Value::as_bool),
    };
    let by_default = source
        .get("enableDefaultSubsources")
        .and_then(Value::as_bool);
    enabled.or(by_default).unwrap_or(true)
}

impl StateLayer {
    /// The layer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layer's `type`, if it has one: `image`, `segmentation`, `annotation`, ...
    pub(crate) fn kind(&self) -> Option<&str> {
        self.members.get("type").and_then(Value::as_str)
    }

    /// The source of the layer's data: the first one outside the state that the viewer shows. The meshes and skeletons of
    /// a segmentation are listed after it.
    pub fn source(&self) -> LayerSource {
        if self.is_local() {
            return LayerSource::Local;
        }
        let outside = || self.sources.iter().filter(|s| !is_in_state(s));
        let shown: Vec<&Source> = outside().filter(|s| s.is_shown).collect();
        let Some(source) = shown.first().copied().or_else(|| outside().next()) else {
            return LayerSource::Unreadable("it has no source in the viewer state".to_owned());
        };
        let is_annotation = self.members.get("type").and_then(Value::as_str) == Some("annotation");
        if is_annotation && (shown.len() > 1 || self.has_annotations()) {
            let here = self.has_annotations().then_some("the state itself");
            let urls = shown.iter().map(|s| redacted_source(&s.url).to_string());
            let urls: Vec<_> = here.into_iter().map(str::to_owned).chain(urls).collect();
            return LayerSource::Unreadable(format!(
                "its annotations have several sources, {}, but only one can be read: move each source to a layer of its own",
                urls.join(", ")
            ));
        }
        let at = FieldPath::root(&self.document);
        match self.transform_of(source, &at) {
            Ok(transform) => LayerSource::Url {
                url: source.url.clone(),
                transform: transform.map(Arc::new),
            },
            Err(e) => LayerSource::Unreadable(e.to_string()),
        }
    }

    /// Whether it is a layer of annotations, inside or outside the state.
    pub fn is_annotations(&self) -> bool {
        self.is_local() || self.members.get("type").is_some_and(|t| t == "annotation")
    }

    /// Whether its annotations are in the state.
    pub(super) fn is_local(&self) -> bool {
        if self.sources.is_empty() {
            self.members.contains_key("annotations")
        } else {
            self.sources.iter().all(is_local_annotations)
        }
    }

    fn has_annotations(&self) -> bool {
        let rows = self.members.get("annotations").and_then(Value::as_array);
        rows.is_some_and(|rows| !rows.is_empty())
    }

    /// Whether the state has an annotation of one of these kinds in this layer.
    pub(super) fn holds_any(&self, kinds: &[GeometryKind]) -> bool {
        let rows = self.members.get("annotations").and_then(Value::as_array);
        rows.into_iter().flatten().any(|row| {
            let kind = row.get("type").and_then(Value::as_str);
            kind.and_then(GeometryKind::from_name)
                .is_some_and(|kind| kinds.contains(&kind))
        })
    }

    /// The transform of the layer's annotations in the state.
    pub(super) fn local_transform(
        &self,
        root: &FieldPath,
    ) -> Result<Option<SourceTransform>, StateError> {
        if let Some(source) = self.sources.iter().find(|s| is_local_annotations(s)) {
            return self.transform_of(source, root);
        }
        let at = FieldPath {
            path: self.path.clone(),
            ..root.clone()
        };
        let units = match self.set_member("voxelSize") {
            None => None,
            Some(value) => Some(transform::voxel_size(value, &at.member("voxelSize"))?),
        };
        match (self.set_member("transform"), units) {
            (Some(value), units) => {
                transform::parse_legacy(value, units, &at.member("transform"), &self.name)
            }
            (None, Some(units)) => {
                let origin = at.member("voxelSize").origin(&self.name);
                Ok(SourceTransform::new(origin, None, Some(units), None, None)?)
            }
            (None, None) => Ok(None),
        }
    }

    fn transform_of(
        &self,
        source: &Source,
        root: &FieldPath,
    ) -> Result<Option<SourceTransform>, StateError> {
        let at = |path: &str| FieldPath {
            path: path.to_owned(),
            ..root.clone()
        };
        match &source.transform {
            Some(value) => {
                transform::parse(value, &at(&source.path).member("transform"), &self.name)
            }
            // Before 2020, the source was a string and the transform belonged to the layer.
            None if self.members.get("source").is_some_and(Value::is_string) => {
                self.legacy_transform(&at(&self.path))
            }
            None => Ok(None),
        }
    }

    fn legacy_transform(&self, at: &FieldPath) -> Result<Option<SourceTransform>, StateError> {
        match self.set_member("transform") {
            None => Ok(None),
            Some(value) => {
                transform::parse_legacy(value, None, &at.member("transform"), &self.name)
            }
        }
    }

    fn set_member(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|v| !v.is_null())
    }
}

fn is_in_state(source: &Source) -> bool {
    source.url.starts_with("local://")
}

fn is_local_annotations(source: &Source) -> bool {
    source.url.trim_end_matches('/') == "local://annotations"
}

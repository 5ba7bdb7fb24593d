//! A Neuroglancer viewer state: the JSON after `#!` in a Neuroglancer URL.
//!
//! Input: a JSON file, a pasted URL, or a file that contains one. Output: the layers with their sources, and the
//! annotations in the state itself (`local://annotations`) in nm. The `transform` of a source is returned with it; the
//! reader of the source applies it or fails.

mod annotations;
mod error;
mod field_path;
mod layer;
mod transform;
mod url;

use serde_json::{Map, Value};

use super::GeometryKind;
use crate::geometry::Dimensions;
use crate::storage::{DocumentError, DocumentLimit, Location, Storage, parse_within, read_text};

pub use annotations::{LocalAnnotations, StateAnnotation};
pub use error::StateError;
use field_path::FieldPath;
pub use layer::{LayerSource, StateLayer};
use url::FragmentContent;
pub(crate) use url::is_pasted_url;

const EXPECTED: &str = "a Neuroglancer viewer state (JSON, or a pasted Neuroglancer URL)";

const ADVICE: &str = "allow more with --memory, or keep its annotations in a table or a layer of precomputed annotations";

/// A parsed viewer state.
#[derive(Debug)]
pub struct ViewerState {
    /// Its name for messages.
    object: String,
    /// Its name relative to `base`: a file name, or the whole pasted URL.
    address: String,
    /// The folder that relative sources are relative to.
    base: Location,
    /// The units of the viewer's space. Local annotations without units of their own have these.
    dimensions: Option<Dimensions>,
    layers: Vec<StateLayer>,
}

impl ViewerState {
    /// Reads the state that `source` refers to: a path, the URL of a JSON document, or a pasted Neuroglancer URL. Paths are
    /// relative to `base`. A pasted URL, or a document that contains one, may be a link to the state. The document must
    /// fit in the memory of `storage`.
    pub fn read(source: &str, base: &Location, storage: &Storage) -> Result<Self, StateError> {
        let limit = &DocumentLimit::of(storage.budget(), ADVICE);
        Self::follow(source, base, 1, limit, storage)
    }

    /// Like [`ViewerState::read`]. Follows at most `links` links.
    fn follow(
        source: &str,
        base: &Location,
        links: usize,
        limit: &DocumentLimit,
        storage: &Storage,
    ) -> Result<Self, StateError> {
        if is_pasted_url(source) {
            let source = source.trim();
            let state = match (url::parse_fragment(source)?, links.checked_sub(1)) {
                (FragmentContent::State(json), _) => {
                    Self::parse_json(&json, &url::shortened(source), base, limit)?
                }
                (FragmentContent::Link(link), Some(links)) => {
                    Self::follow(&link, base, links, limit, storage)?
                }
                (FragmentContent::Link(_), None) => {
                    let problem =
                        "it is a link that leads to another link; use the last link instead";
                    return Err(StateError::url(source, problem));
                }
            };
            return Ok(Self {
                address: source.to_owned(),
                ..state
            });
        }
        let place = base.resolve(source)?;
        let Some((folder, key)) = place.split_file() else {
            return Err(StateError::url(source, "expected the path of a file"));
        };
        let store = storage.open(&folder);
        let object = store.describe(&key);
        let bytes = read_text(store.as_ref(), &key, EXPECTED, limit)?;
        let bytes = bytes.ok_or_else(|| DocumentError::Missing {
            object: object.clone(),
            expected: EXPECTED,
        })?;
        if let Some(url) = pasted_url(&bytes)
            && let FragmentContent::Link(_) = url::parse_fragment(url)?
        {
            return Self::follow(url, &folder, links, limit, storage);
        }
        let state = Self::parse_limited(&bytes, &object, &folder, limit)?;
        Ok(Self {
            address: key,
            ..state
        })
    }

    /// Parses `bytes`, JSON or a pasted URL that contains it. `object` is its name for messages.
    #[cfg(test)]
    pub fn parse(bytes: &[u8], object: &str, base: &Location) -> Result<Self, StateError> {
        Self::parse_limited(bytes, object, base, &DocumentLimit::METADATA)
    }

    fn parse_limited(
        bytes: &[u8],
        object: &str,
        base: &Location,
        limit: &DocumentLimit,
    ) -> Result<Self, StateError> {
        match pasted_url(bytes).map(url::parse_fragment).transpose()? {
            None => Self::parse_json(bytes, object, base, limit),
            Some(FragmentContent::State(json)) => Self::parse_json(&json, object, base, limit),
            Some(FragmentContent::Link(link)) => {
                let problem = "it is a link to a state, expected the state itself";
                Err(StateError::url(&link, problem))
            }
        }
    }

    fn parse_json(
        bytes: &[u8],
        object: &str,
        base: &Location,
        limit: &DocumentLimit,
    ) -> Result<Self, StateError> {
        let mut state: Map<String, Value> = parse_within(bytes, object, EXPECTED, limit)?;
        let at = FieldPath::root(object);
        let dimensions = dimensions(&state, &at)?;
        let layers = if is_bare_layer(&state) {
            layer::parse_bare(state, &at)?
        } else {
            layer::parse_all(state.remove("layers"), &at)?
        };
        Ok(Self {
            object: object.to_owned(),
            address: object.to_owned(),
            base: base.clone(),
            dimensions,
            layers,
        })
    }

    /// Its name for messages: a path, or a shortened URL.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The `source` for [`ViewerState::read`] to read it again, relative to [`ViewerState::base`].
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The folder that relative sources are relative to.
    pub fn base(&self) -> &Location {
        &self.base
    }

    /// Its layers in the order of the document.
    pub fn layers(&self) -> &[StateLayer] {
        &self.layers
    }

    /// The layer of local annotations called `name`. Without a name, the only layer with an annotation of one of these
    /// kinds.
    pub fn annotation_layer(
        &self,
        name: Option<&str>,
        kinds: &[GeometryKind],
    ) -> Result<&StateLayer, StateError> {
        let local = || self.layers.iter().filter(|layer| layer.is_local());
        let names = |layers: Vec<&StateLayer>| -> Vec<String> {
            layers.iter().map(|l| l.name().to_owned()).collect()
        };
        if let Some(name) = name {
            return match self.layers.iter().find(|layer| layer.name() == name) {
                Some(layer) if layer.is_local() => Ok(layer),
                Some(_) => Err(StateError::NotLocal {
                    object: self.object.clone(),
                    layer: name.to_owned(),
                }),
                None => Err(StateError::no_layer(
                    &self.object,
                    name,
                    names(local().collect()),
                )),
            };
        }
        let fitting: Vec<&StateLayer> = local().filter(|layer| layer.holds_any(kinds)).collect();
        match fitting[..] {
            [layer] => Ok(layer),
            [] => Err(StateError::NoAnnotations {
                object: self.object.clone(),
                kinds: kind_names(kinds),
            }),
            _ => Err(StateError::Ambiguous {
                object: self.object.clone(),
                kinds: kind_names(kinds),
                layers: names(fitting),
            }),
        }
    }

    /// The annotations in `layer`, in nm.
    pub fn annotations(&self, layer: &StateLayer) -> Result<LocalAnnotations, StateError> {
        annotations::read(
            layer,
            self.dimensions.as_ref(),
            &FieldPath::root(&self.object),
        )
    }
}

/// The units of the viewer's space. States from before 2020 have them in another place.
fn dimensions(
    state: &Map<String, Value>,
    at: &FieldPath,
) -> Result<Option<Dimensions>, StateError> {
    if let Some(value) = state.get("dimensions").filter(|v| !v.is_null()) {
        return at.member("dimensions").dimensions(value).map(Some);
    }
    let position = ["navigation", "pose", "position", "voxelSize"];
    let mut value = None;
    let mut at = at.clone();
    for name in position {
        value = match value {
            None => state.get(name),
            Some(outer) => Value::get(outer, name),
        };
        if value.is_none_or(Value::is_null) {
            return Ok(None);
        }
        at = at.member(name);
    }
    value
        .map(|value| transform::voxel_size(value, &at))
        .transpose()
}

/// Whether the document is a single layer instead of a state: the JSON that Neuroglancer shows of a layer, and that scripts keep as ground
/// truth.
fn is_bare_layer(document: &Map<String, Value>) -> bool {
    let has = |name: &str| document.get(name).is_some_and(|v| !v.is_null());
    !has("layers") && has("type") && (has("source") || has("annotations"))
}

/// The pasted URL, if the document is one.
fn pasted_url(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    is_pasted_url(text).then_some(text)
}

fn kind_names(kinds: &[GeometryKind]) -> String {
    let names: Vec<String> = kinds.iter().map(|k| k.name().to_lowercase()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;

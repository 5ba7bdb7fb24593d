//! Errors of viewer states. Every message names the file or URL, and the field.

use serde_json::Value;

use crate::config::nearest;
use crate::fault::{Fault, FaultKind};
use crate::geometry::TransformError;
use crate::storage::{DocumentError, LocationError, redacted, redacted_source};

/// Why a viewer state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read, or is not JSON.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Its location is not supported.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The text does not refer to a state.
    #[error("the Neuroglancer state {state_url:?} cannot be read: {problem}")]
    Url {
        /// The text, shortened.
        state_url: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A layer's `transform` cannot be applied.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// A field is invalid.
    #[error("{object}: `{field}` is {found}; expected {expected}")]
    Field {
        /// The file or URL.
        object: String,
        /// Its path in the document.
        field: String,
        /// Its value, shortened.
        found: String,
        /// The valid values.
        expected: String,
    },
    /// No layer has the name.
    #[error("{object} has no layer `{layer}`; its layers of local annotations are {known}{}", hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    NoLayer {
        /// The file or URL.
        object: String,
        /// The requested name.
        layer: String,
        /// The existing names.
        known: String,
        /// The most similar of them.
        hint: Option<String>,
    },
    /// The annotations of the layer are not in the state.
    #[error(
        "the layer `{layer}` of {object} contains no annotations, because its source is stored elsewhere; use a layer with the source \
         local://annotations, or use that source directly where a layer's source is expected"
    )]
    NotLocal {
        /// The file or URL.
        object: String,
        /// The layer.
        layer: String,
    },
    /// No layer has annotations of these kinds.
    #[error(
        "no layer of {object} contains annotations of type {kinds}; expected one layer with the source local://annotations that does"
    )]
    NoAnnotations {
        /// The file or URL.
        object: String,
        /// The kinds.
        kinds: String,
    },
    /// Several layers have annotations of these kinds.
    #[error("several layers of {object} contain annotations of type {kinds}: {}; choose one with `layer`", layers.join(", "))]
    Ambiguous {
        /// The file or URL.
        object: String,
        /// The kinds.
        kinds: String,
        /// The layers.
        layers: Vec<String>,
    },
}

impl StateError {
    pub(super) fn url(url: &str, problem: impl Into<String>) -> Self {
        Self::Url {
            state_url: shortened(&redacted_source(url), 80),
            problem: problem.into(),
        }
    }

    pub(super) fn no_layer(object: &str, layer: &str, names: Vec<String>) -> Self {
        let hint = nearest(layer, names.iter().map(String::as_str)).map(str::to_owned);
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        Self::NoLayer {
            object: object.to_owned(),
            layer: layer.to_owned(),
            known,
            hint,
        }
    }
}

/// `value` as JSON, shortened for a message.
pub(super) fn shortened_json(value: &Value) -> String {
    match value {
        Value::Array(list) if list.len() > 16 => format!("a list of {} values", list.len()),
        Value::Object(members) if members.len() > 16 => format!("{} members", members.len()),
        other => shortened(&redacted(&other.to_string()), 100),
    }
}

pub(super) fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl Fault for StateError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Document(e) => e.kind(),
            Self::Transform(e) => e.kind(),
            // The state is valid, but the config names something that it does not contain.
            Self::NoLayer { .. }
            | Self::NotLocal { .. }
            | Self::NoAnnotations { .. }
            | Self::Ambiguous { .. } => FaultKind::Usage,
            Self::Location(_) | Self::Url { .. } | Self::Field { .. } => FaultKind::Data,
        }
    }
}

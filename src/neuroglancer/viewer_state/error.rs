//! Why a viewer state could not be used. Every message names the file or URL and the field.

use serde_json::Value;

use crate::config::nearest;
use crate::fault::{Fault, FaultKind};
use crate::geometry::TransformError;
use crate::storage::{DocumentError, LocationError, redacted, redacted_source};

/// Why a viewer state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It could not be read, or is no JSON.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It lies nowhere that is read.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// What should name a state does not.
    #[error("the Neuroglancer state {state_url:?} cannot be read: {problem}")]
    Url {
        /// As written, shortened.
        state_url: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// It is one layer, not a state.
    #[error(
        "{object} is not a viewer state but one layer of a state, {layer}: give the whole state, or a file \
         {{\"layers\": [...]}} with this layer and the layers that windows are cut out of"
    )]
    BareLayer {
        /// The file or URL.
        object: String,
        /// The layer, in words.
        layer: String,
    },
    /// A layer's `transform` cannot be carried out.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// A field says what cannot be.
    #[error("{object}: `{field}` is {found}; expected {expected}")]
    Field {
        /// The file or URL.
        object: String,
        /// Its path in the document.
        field: String,
        /// Its value, shortened.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// No layer has the name.
    #[error("{object} has no layer `{layer}`; its layers of local annotations are {known}{}", hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    NoLayer {
        /// The file or URL.
        object: String,
        /// The name asked for.
        layer: String,
        /// The names that there are.
        known: String,
        /// The nearest of them.
        hint: Option<String>,
    },
    /// The layer's annotations are stored elsewhere.
    #[error(
        "the layer `{layer}` of {object} holds no annotations itself: its source is stored elsewhere; name a layer whose source is \
         local://annotations, or give that source where a layer's source is expected"
    )]
    NotLocal {
        /// The file or URL.
        object: String,
        /// The layer.
        layer: String,
    },
    /// No layer holds what is looked for.
    #[error(
        "no layer of {object} holds annotations of type {kinds}; expected a layer with the source local://annotations that does"
    )]
    NoAnnotations {
        /// The file or URL.
        object: String,
        /// The kinds.
        kinds: String,
    },
    /// Several layers do.
    #[error("several layers of {object} hold annotations of type {kinds}: {}; say which with `layer`", layers.join(", "))]
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
    /// Whether the document is one layer of a state.
    pub(crate) fn is_bare_layer(&self) -> bool {
        matches!(self, Self::BareLayer { .. })
    }

    pub(super) fn url(url: &str, problem: impl Into<String>) -> Self {
        Self::Url {
            state_url: shortened(&redacted_source(url), 80),
            problem: problem.into(),
        }
    }

    pub(super) fn no_layer(object: &str, layer: &str, names: Vec<String>) -> Self {
        let hint = nearest(layer, names.iter().map(String::as_str)).map(str::to_owned);
        let known = match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        Self::NoLayer {
            object: object.to_owned(),
            layer: layer.to_owned(),
            known,
            hint,
        }
    }
}

/// `value` as JSON, not too long for a message.
pub(super) fn shown(value: &Value) -> String {
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
            // The state is right, but the config asks for something that it does not have.
            Self::NoLayer { .. }
            | Self::NotLocal { .. }
            | Self::NoAnnotations { .. }
            | Self::Ambiguous { .. } => FaultKind::Usage,
            Self::Location(_) | Self::Url { .. } | Self::BareLayer { .. } | Self::Field { .. } => {
                FaultKind::Data
            }
        }
    }
}

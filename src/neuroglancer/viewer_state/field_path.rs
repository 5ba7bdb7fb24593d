//! The path of a field in a viewer state, and errors about it.

use serde_json::Value;

use super::error::{StateError, shortened_json};
use crate::geometry::{Dimensions, TransformOrigin};

/// The path of a field in the document, for messages.
#[derive(Clone, Debug)]
pub(super) struct FieldPath<'o> {
    pub(super) object: &'o str,
    pub(super) path: String,
}

impl<'o> FieldPath<'o> {
    pub(super) fn root(object: &'o str) -> Self {
        Self {
            object,
            path: String::new(),
        }
    }

    pub(super) fn member(&self, name: &str) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Self {
            object: self.object,
            path,
        }
    }

    pub(super) fn item(&self, i: usize) -> Self {
        Self {
            object: self.object,
            path: format!("{}[{i}]", self.path),
        }
    }

    /// The origin of a transform of `layer` at this path.
    pub(super) fn origin(&self, layer: &str) -> TransformOrigin {
        TransformOrigin {
            document: self.object.to_owned(),
            layer: layer.to_owned(),
            path: self.path.clone(),
        }
    }

    pub(super) fn error(
        &self,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> StateError {
        StateError::Field {
            object: self.object.to_owned(),
            field: self.path.clone(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    pub(super) fn unexpected(&self, found: &Value, expected: impl Into<String>) -> StateError {
        self.error(shortened_json(found), expected)
    }

    pub(super) fn dimensions(&self, value: &Value) -> Result<Dimensions, StateError> {
        let expected = "a coordinate space such as {\"x\": [4e-09, \"m\"], ...}";
        let Some(members) = value.as_object() else {
            return Err(self.unexpected(value, expected));
        };
        members
            .iter()
            .map(|(name, value)| {
                let pair = value.as_array().map(Vec::as_slice);
                let scaled = match pair {
                    Some([scale, unit]) => scale.as_f64().zip(unit.as_str()),
                    // Positions along it have names.
                    None if value.get("coordinates").is_some() => Some((1.0, "")),
                    _ => None,
                };
                let (scale, unit) = scaled.ok_or_else(|| {
                    self.member(name)
                        .unexpected(value, "[scale, unit], such as [4e-09, \"m\"]")
                })?;
                Ok((name.clone(), (scale, unit.to_owned())))
            })
            .collect()
    }
}

//! An invalid member of a metadata document.

use serde_json::Value;

/// An invalid member: its path, what was found and what was expected.
#[derive(Debug)]
pub(in crate::volume::zarr) struct MetadataFlaw {
    pub path: String,
    pub problem: String,
}

impl MetadataFlaw {
    pub(super) fn new(path: impl Into<String>, found: Option<&Value>, expected: &str) -> Self {
        let found = found.map_or("nothing".to_owned(), shortened_json);
        Self {
            path: path.into(),
            problem: format!("found {found}, expected {expected}"),
        }
    }
}

/// The value as JSON, truncated.
fn shortened_json(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start}...")
}

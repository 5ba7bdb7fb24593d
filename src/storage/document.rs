//! JSON documents: read whole, parsed into a type, errors with the path of the field.
//!
//! How large a document may be is said by a [`DocumentLimit`]: one for what describes a layer, and one that
//! comes from `--memory`. It counts the text and what the text becomes when it is parsed, which can be fifty
//! times as large; that is estimated before anything is parsed.

pub(crate) mod json_size;

use serde::de::DeserializeOwned;

use super::{MAX_METADATA_BYTES, MemoryBudget, StorageError, Store};
use crate::fault::{Fault, FaultKind};
use json_size::parsed_bytes;

/// Why a JSON document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// There is none.
    #[error("{object} does not exist; expected {expected}: check the path")]
    Missing {
        /// Path or URL.
        object: String,
        /// What should be there.
        expected: &'static str,
    },
    /// It could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A page for people came.
    #[error(
        "{object} is an HTML page, not {expected}: check the URL; is it behind a login, or a page about the file?"
    )]
    Html {
        /// Path or URL.
        object: String,
        /// What it should be.
        expected: &'static str,
    },
    /// It does not fit into memory.
    #[error("{object} is too large for {expected}: {problem}; {advice}")]
    TooLarge {
        /// Path or URL.
        object: String,
        /// What it should be.
        expected: &'static str,
        /// What is known of its size, and the limit.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// Its compression cannot be undone.
    #[error("{object}: its {compression} stream is damaged or cut off ({problem})")]
    Damaged {
        /// Path or URL.
        object: String,
        /// How it is compressed.
        compression: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It is not the JSON that it should be.
    #[error("{object} is not {expected}: at `{path}`: {}{note}", super::redacted(&source.to_string()))]
    Parse {
        /// Path or URL.
        object: String,
        /// What it should be.
        expected: &'static str,
        /// Where in the document; `.` is the whole.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
        /// What may be the cause.
        note: &'static str,
    },
}

impl DocumentError {
    /// Whether there is no document.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether it was read, but is not the JSON that was expected.
    pub(crate) fn is_not_json(&self) -> bool {
        matches!(self, Self::Parse { .. })
    }

    /// Whether a document was read, so that it may be one of another kind.
    pub(crate) fn is_about_contents(&self) -> bool {
        !matches!(
            self,
            Self::Missing { .. } | Self::Storage(_) | Self::Html { .. }
        )
    }

    /// Whether the read was given up because another part of the work failed.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Storage(e) if e.is_stopped())
    }
}

/// How large a JSON document may be that is in memory as a whole.
#[derive(Clone, Copy, Debug)]
pub struct DocumentLimit {
    text_bytes: u64,
    parsed_bytes: u64,
    advice: &'static str,
}

impl DocumentLimit {
    /// For what describes a layer: an info, Zarr metadata, N5 attributes.
    pub const METADATA: Self = Self {
        text_bytes: MAX_METADATA_BYTES,
        parsed_bytes: 8 * MAX_METADATA_BYTES,
        advice: "check that it describes a layer",
    };

    /// For a document that may take the share of `budget` that is returned; `advice` says what to do where it does
    /// not suffice.
    pub(crate) fn of(budget: &MemoryBudget, advice: &'static str) -> Self {
        // The text is in memory while it is parsed.
        let text_bytes = budget.lease_limit_bytes() / 4;
        Self {
            text_bytes,
            parsed_bytes: budget.lease_limit_bytes() - text_bytes,
            advice,
        }
    }

    fn too_large(&self, object: String, expected: &'static str, problem: String) -> DocumentError {
        DocumentError::TooLarge {
            object,
            expected,
            problem,
            advice: self.advice,
        }
    }
}

/// The text of the document at `key` of `store`; `None` where there is none.
pub(crate) fn read_text(
    store: &dyn Store,
    key: &str,
    expected: &'static str,
    limit: &DocumentLimit,
) -> Result<Option<Vec<u8>>, DocumentError> {
    let mut bytes = Vec::new();
    match store.read(key, limit.text_bytes, &mut bytes) {
        Ok(found) => Ok(found.then_some(bytes)),
        Err(e) => Err(match e.too_large() {
            None => e.into(),
            Some(found) => {
                let most = limit.text_bytes;
                let problem = format!("it has at least {found} bytes, at most {most} are read");
                limit.too_large(store.describe(key), expected, problem)
            }
        }),
    }
}

/// Parses `bytes`, the contents of `object`, which describes a layer.
pub fn parse_document<T: DeserializeOwned>(
    bytes: &[u8],
    object: &str,
    expected: &'static str,
) -> Result<T, DocumentError> {
    parse_within(bytes, object, expected, &DocumentLimit::METADATA)
}

/// Parses `bytes`, the contents of `object`, if what becomes of them is within `limit`.
pub(crate) fn parse_within<T: DeserializeOwned>(
    bytes: &[u8],
    object: &str,
    expected: &'static str,
    limit: &DocumentLimit,
) -> Result<T, DocumentError> {
    if looks_like_html(bytes) {
        return Err(DocumentError::Html {
            object: object.to_owned(),
            expected,
        });
    }
    let needed = parsed_bytes(bytes);
    if needed > limit.parsed_bytes {
        let problem = format!(
            "its {} bytes of text take about {needed} bytes of memory, at most {} are used",
            bytes.len(),
            limit.parsed_bytes
        );
        return Err(limit.too_large(object.to_owned(), expected, problem));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer)
        .and_then(|value| {
            deserializer.end().map(|()| value).map_err(|e| {
                serde_path_to_error::Error::new(serde_path_to_error::Track::new().path(), e)
            })
        })
        .map_err(|e| DocumentError::Parse {
            object: object.to_owned(),
            expected,
            path: e.path().to_string(),
            source: e.into_inner(),
            note: super::gzip_note(bytes),
        })
}

/// Most bytes of a page's beginning that are looked at.
const HTML_HEAD_BYTES: usize = 256;

/// Whether `bytes` begin as a page does, which servers send in place of what is behind a login. Voxels that begin so by
/// chance do not go on as text.
pub(crate) fn looks_like_html(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HTML_HEAD_BYTES)];
    let is_text = |b: &u8| !b.is_ascii_control() || b.is_ascii_whitespace();
    if !head.iter().all(is_text) {
        return false;
    }
    let start = bytes.trim_ascii_start();
    let begins = |tag: &[u8]| {
        let head = start.get(..tag.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(tag))
    };
    begins(b"<!doctype html") || begins(b"<html")
}

impl Fault for DocumentError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Storage(e) => e.kind(),
            Self::Missing { .. }
            | Self::Html { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. }
            | Self::Parse { .. } => FaultKind::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Doc {
        #[allow(dead_code, reason = "only its parsing is tested")]
        list: Vec<u8>,
    }

    #[test]
    fn an_error_names_the_file_and_the_field() {
        let e =
            parse_document::<Doc>(br#"{"list": [1, 300]}"#, "a/info", "an info file").unwrap_err();
        let text = e.to_string();
        assert!(
            text.contains("a/info") && text.contains("`list[1]`"),
            "{text}"
        );
        assert!(parse_document::<Doc>(br#"{"list": []} x"#, "a/info", "an info file").is_err());
        let packed = b"\x1f\x8b\x08\x00\x00";
        let e = parse_document::<Doc>(packed, "a/info", "an info file").unwrap_err();
        assert!(e.to_string().contains("begins as a gzip stream"), "{e}");
        let secret = br#"{"list": "https://host/x?sig=hidden"}"#;
        let e = parse_document::<Doc>(secret, "a/info", "an info file").unwrap_err();
        assert!(!e.to_string().contains("hidden"), "{e}");
        let page = b"\n<!DOCTYPE html>\n<html>";
        let e = parse_document::<Doc>(page, "a/info", "an info file").unwrap_err();
        assert!(e.to_string().contains("a/info is an HTML page"), "{e}");
    }
}

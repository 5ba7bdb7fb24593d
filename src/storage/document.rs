//! Reads and parses JSON documents, with errors that contain the path of the field.
//!
//! A [`DocumentLimit`] limits the size: one is for layer metadata, others come from `--memory`. It limits the text and
//! the estimated memory of the parsed document, which can be fifty times as large as the text.

pub(crate) mod json_size;

use serde::de::DeserializeOwned;

use super::{MAX_METADATA_BYTES, MemoryBudget, StorageError, Store};
use crate::fault::{Fault, FaultKind};
use json_size::parsed_bytes;

/// Why a JSON document could not be read or parsed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It does not exist.
    #[error("{object} does not exist; expected {expected}: check the path")]
    Missing {
        /// Path or URL.
        object: String,
        /// The expected kind of document.
        expected: &'static str,
    },
    /// It could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is an HTML page.
    #[error(
        "{object} is an HTML page, not {expected}: check the URL; it may require a login, or be a page about the file"
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
        /// The size and the limit.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// It cannot be inflated.
    #[error("{object}: its {compression} stream is damaged or truncated ({problem})")]
    Damaged {
        /// Path or URL.
        object: String,
        /// Its compression.
        compression: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It is not valid JSON of the expected kind.
    #[error("{object} is not {expected}: at `{path}`: {}{note}", super::redacted(&source.to_string()))]
    Parse {
        /// Path or URL.
        object: String,
        /// What it should be.
        expected: &'static str,
        /// Path of the field; `.` is the whole document.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
        /// A hint about the cause, or nothing.
        note: &'static str,
    },
}

impl DocumentError {
    /// Whether the document does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether the document was read, but is not the expected JSON.
    pub(crate) fn is_not_json(&self) -> bool {
        matches!(self, Self::Parse { .. })
    }

    /// Whether the document was read, so that it may be a document of another kind.
    pub(crate) fn is_about_contents(&self) -> bool {
        !matches!(
            self,
            Self::Missing { .. } | Self::Storage(_) | Self::Html { .. }
        )
    }

    /// Whether the read was stopped because another part of the job failed.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Storage(e) if e.is_stopped())
    }
}

/// Size limit of a JSON document.
#[derive(Clone, Copy, Debug)]
pub struct DocumentLimit {
    text_bytes: u64,
    parsed_bytes: u64,
    advice: &'static str,
}

impl DocumentLimit {
    /// The limit of layer metadata: info, Zarr metadata, N5 attributes.
    pub const METADATA: Self = Self {
        text_bytes: MAX_METADATA_BYTES,
        parsed_bytes: 8 * MAX_METADATA_BYTES,
        advice: "check that it describes a layer",
    };

    /// The limit of a document that uses the lease half of `budget`. `advice` is the remedy for larger documents.
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

/// Reads the text of the document at `key` of `store`; `None` if it is missing.
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
                let problem = format!("it has at least {found} bytes, expected at most {most}");
                limit.too_large(store.describe(key), expected, problem)
            }
        }),
    }
}

/// Parses `bytes`, the contents of the layer metadata `object`.
pub fn parse_document<T: DeserializeOwned>(
    bytes: &[u8],
    object: &str,
    expected: &'static str,
) -> Result<T, DocumentError> {
    parse_within(bytes, object, expected, &DocumentLimit::METADATA)
}

/// Parses `bytes`, the contents of `object`, if the parsed document is within `limit`.
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
            "its {} bytes of text need about {needed} bytes of memory, expected at most {}",
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

/// Number of bytes that are searched for the start of an HTML page.
const HTML_HEAD_BYTES: usize = 256;

/// Whether `bytes` begin like an HTML page, which servers send instead of data that requires a login. Voxels may begin
/// like one by chance, but contain other bytes than text soon after.
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

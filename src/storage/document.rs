//! JSON documents: read whole, parsed into a type, errors with the path of the field.

use serde::de::DeserializeOwned;

use super::{MAX_DOCUMENT_BYTES, StorageError, Store};

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

/// The document at `key` of `store`. `expected` says what it should be, with an article: "an info file".
pub fn read_document<T: DeserializeOwned>(
    store: &dyn Store,
    key: &str,
    expected: &'static str,
) -> Result<T, DocumentError> {
    let mut bytes = Vec::new();
    if !store.read(key, MAX_DOCUMENT_BYTES, &mut bytes)? {
        return Err(DocumentError::Missing {
            object: store.describe(key),
            expected,
        });
    }
    parse_document(&bytes, &store.describe(key), expected)
}

/// Parses `bytes`, the contents of `object`.
pub fn parse_document<T: DeserializeOwned>(
    bytes: &[u8],
    object: &str,
    expected: &'static str,
) -> Result<T, DocumentError> {
    if looks_like_html(bytes) {
        return Err(DocumentError::Html {
            object: object.to_owned(),
            expected,
        });
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

//! Parses JSON with `NaN`, `Infinity` and `-Infinity`.
//!
//! They are not valid JSON, but Python's `json` module writes and reads them, for example in xarray's `_FillValue`.
//! Such attributes must not prevent reading, so the words are read as strings.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::storage::{DocumentError, parse_document};

/// Parses `bytes`, the contents of `object`, like [`parse_document`].
pub(super) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    object: &str,
    expected: &'static str,
) -> Result<T, DocumentError> {
    let parsed = parse_document(bytes, object, expected);
    if !matches!(&parsed, Err(e) if e.is_not_json()) {
        return parsed;
    }
    match quoted(bytes) {
        // If it is no JSON either way, the first error has the right position.
        Cow::Owned(quoted) => parse_document(&quoted, object, expected).or(parsed),
        Cow::Borrowed(_) => parsed,
    }
}

/// `bytes` with the non-JSON words in quotes and without a byte order mark.
fn quoted(bytes: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut quoted = Vec::new();
    let (mut at, mut in_text, mut changed) = (0, false, rest.len() != bytes.len());
    while let Some(byte) = rest.get(at) {
        let word = WORDS.into_iter().find(|w| rest[at..].starts_with(w));
        match (in_text, byte, word) {
            (false, _, Some(word)) => {
                quoted.push(b'"');
                quoted.extend_from_slice(word);
                quoted.push(b'"');
                changed = true;
                at += word.len();
                continue;
            }
            (true, b'\\', _) => {
                quoted.push(*byte);
                at += 1;
                quoted.extend(rest.get(at));
            }
            (_, b'"', _) => {
                in_text = !in_text;
                quoted.push(*byte);
            }
            _ => quoted.push(*byte),
        }
        at += 1;
    }
    if changed {
        Cow::Owned(quoted)
    } else {
        Cow::Borrowed(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Value, DocumentError> {
        parse(text.as_bytes(), "img/.zattrs", "attributes")
    }

    #[test]
    fn python_words_become_strings_and_strings_are_unchanged() {
        let found = read(r#"{"a": NaN, "b": [-Infinity, Infinity, 1], "NaN": "\"NaN\" \\"}"#);
        let expected = json!({"a": "NaN", "b": ["-Infinity", "Infinity", 1], "NaN": "\"NaN\" \\"});
        assert_eq!(found.unwrap(), expected);
        assert_eq!(read("\u{feff}{}").unwrap(), json!({}));
        for text in ["{\"a\": NaN", "{\"a\": nan}", "\"NaN\\", "[NaNNaN]"] {
            let e = read(text).unwrap_err().to_string();
            assert!(e.contains("img/.zattrs"), "{text}: {e}");
        }
    }
}

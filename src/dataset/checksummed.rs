//! JSON with a checksum of its contents: `{"blake3": "<hex>", "contents": ...}`.
//!
//! The digest is over the bytes of `contents` as they are in the file, so every changed bit is found, whatever the contents
//! are. The program's own files have this form: the claim, the plan and the receipts.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The file: nothing but the digest and the contents.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    blake3: String,
    #[serde(borrow)]
    contents: &'a RawValue,
}

/// `contents` as JSON with its checksum, on one line.
pub(crate) fn to_checksummed<T: Serialize>(contents: &T) -> serde_json::Result<Vec<u8>> {
    let contents = serde_json::value::to_raw_value(contents)?;
    let document = Document {
        blake3: blake3::hash(contents.get().as_bytes()).to_string(),
        contents: &contents,
    };
    let mut bytes = serde_json::to_vec(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The contents of `bytes`, after a check of their digest.
///
/// # Errors
/// What was found and what was expected, for a message that names the file.
pub(crate) fn from_checksummed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let document: Document<'_> = serde_json::from_slice(bytes)
        .map_err(|e| format!("{e}, expected JSON with `blake3` and `contents`"))?;
    let contents = document.contents.get();
    let found = blake3::hash(contents.as_bytes()).to_string();
    if found != document.blake3 {
        let expected = &document.blake3;
        return Err(format!(
            "the blake3 of its contents is {found}, expected {expected}: its bytes have changed"
        ));
    }
    serde_json::from_str(contents).map_err(|e| format!("at `contents`: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn contents_are_read_back_and_the_digest_is_over_their_bytes() {
        let contents = json!({"b": [1, 0.1, u64::MAX], "a": {"text": "é \u{1} \""}, "none": null});
        let bytes = to_checksummed(&contents).unwrap();
        assert_eq!(from_checksummed::<Value>(&bytes).unwrap(), contents);
        let text = String::from_utf8(bytes).unwrap();
        let compact = contents.to_string();
        let digest = blake3::hash(compact.as_bytes());
        let expected = format!("{{\"blake3\":\"{digest}\",\"contents\":{compact}}}\n");
        assert_eq!(text, expected);
        // Another program may lay the file out in lines.
        let spaced = format!("{{\n  \"blake3\": \"{digest}\",\n  \"contents\": {compact}\n}}\n");
        assert_eq!(
            from_checksummed::<Value>(spaced.as_bytes()).unwrap(),
            contents
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_an_error() {
        let bytes = to_checksummed(&json!({"bytes": 7, "nonzero": [1, 2]})).unwrap();
        // The line end is no part of the JSON.
        for at in 0..bytes.len() - 1 {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let error = from_checksummed::<Value>(&bad).unwrap_err();
                assert!(error.contains("expected"), "{at} {bit}: {error}");
            }
            from_checksummed::<Value>(&bytes[..at]).unwrap_err();
        }
    }

    #[test]
    fn other_members_and_contents_of_another_type_are_errors() {
        let text = String::from_utf8(to_checksummed(&1).unwrap()).unwrap();
        let more = text.replacen('{', "{\"more\": 1, ", 1);
        let error = from_checksummed::<u64>(more.as_bytes()).unwrap_err();
        assert!(error.contains("`more`"), "{error}");
        let error = from_checksummed::<String>(text.as_bytes()).unwrap_err();
        assert!(error.starts_with("at `contents`: "), "{error}");
        let twice = text.replacen('{', "{\"contents\": 2, ", 1);
        from_checksummed::<u64>(twice.as_bytes()).unwrap_err();
    }
}

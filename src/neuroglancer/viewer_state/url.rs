//! Extracts the viewer state from a URL: percent-encoded after `#!`, as JSON or in Neuroglancer's URL-safe variant.
//!
//! Outside of strings, the URL-safe variant has `'` instead of quotes and `_` instead of commas.

use percent_encoding::percent_decode_str;

use super::error::{StateError, shortened as truncated};
use crate::storage::{PASSWORD, has_userinfo, redacted_source};

/// The content of a URL after `#!`.
#[derive(Debug, PartialEq)]
pub(super) enum FragmentContent {
    /// The state as JSON.
    State(Vec<u8>),
    /// The URL of the state.
    Link(String),
}

/// Schemes of links that are followed. A link in a URL cannot refer to local files.
const FOLLOWED: [&str; 4] = ["http", "https", "gs", "s3"];

/// Whether `text` is a Neuroglancer URL that contains a state, as copied from a browser.
pub(crate) fn is_pasted_url(text: &str) -> bool {
    let text = text.trim_start();
    (text.starts_with("https://") || text.starts_with("http://")) && text.contains("#!")
}

/// The URL without the state, for messages.
pub(super) fn shortened(url: &str) -> String {
    let site = url.split_once("#!").map_or(url, |(site, _)| site);
    format!("{}#!...", truncated(&redacted_source(site.trim()), 80))
}

/// Parses the state in `url`, or the link to it.
pub(super) fn parse_fragment(url: &str) -> Result<FragmentContent, StateError> {
    let (site, state) = url.split_once("#!").unwrap_or_default();
    if has_userinfo(site) {
        return Err(StateError::url(url, PASSWORD));
    }
    let state = state.strip_prefix('+').unwrap_or(state);
    let decoded = percent_decode_str(state)
        .decode_utf8()
        .map_err(|_| StateError::url(url, "the text after `#!` is not percent-encoded UTF-8"))?;
    if decoded.trim_start().starts_with('{') {
        return Ok(FragmentContent::State(plain_json(&decoded).into_bytes()));
    }
    // Browsers encode the text. The link's own encoding, if any, is decoded by the server.
    let link = if state.contains("://") {
        state
    } else {
        &decoded
    };
    match link.split_once("://") {
        Some((scheme, _)) if FOLLOWED.contains(&scheme) => {
            Ok(FragmentContent::Link(link.to_owned()))
        }
        Some((scheme, _)) => Err(StateError::url(
            url,
            format!(
                "it is a link to `{scheme}://`, but only {} are followed; download the state as JSON and use the path of \
                 the file instead",
                FOLLOWED.join(", ")
            ),
        )),
        None => Err(StateError::url(
            url,
            "found no JSON after `#!`: copy the URL from the browser's address bar",
        )),
    }
}

/// Converts the URL-safe variant to JSON. Leaves plain JSON unchanged.
fn plain_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '_') => json.push(','),
            (None, '"' | '\'') => {
                quote = Some(c);
                json.push('"');
            }
            (Some(_), '\\') => match chars.next() {
                // `\'` is not an escape sequence in JSON.
                Some('\'') => json.push('\''),
                escaped => {
                    json.push('\\');
                    json.extend(escaped);
                }
            },
            (Some('\''), '"') => json.push_str("\\\""),
            (Some(open), c) if c == open => {
                quote = None;
                json.push('"');
            }
            (_, c) => json.push(c),
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_json_is_unchanged() {
        let text = r#"{"a_b": "it's, \"_\" \\", "c": [1, 2]}"#;
        assert_eq!(plain_json(text), text);
    }

    #[test]
    fn url_safe_json_is_converted_to_json() {
        let json = plain_json(r#"{'a_b':'x_\'y\'"z"'_'c':[1_2]}"#);
        assert_eq!(json, r#"{"a_b":"x_'y'\"z\"","c":[1,2]}"#);
    }

    #[test]
    fn a_url_contains_a_state_or_a_link() {
        let url = "https://neuroglancer-demo.appspot.com/#!%7B%22title%22:%22a%20b%22%7D";
        let state = FragmentContent::State(br#"{"title":"a b"}"#.to_vec());
        assert_eq!(parse_fragment(url).unwrap(), state);
        for (text, link) in [
            ("gs://bucket/state.json", "gs://bucket/state.json"),
            ("https://host/a%20b.json?x=1", "https://host/a%20b.json?x=1"),
            ("https%3A%2F%2Fhost%2Fb.json", "https://host/b.json"),
        ] {
            let found = parse_fragment(&format!("https://host/#!{text}")).unwrap();
            assert_eq!(found, FragmentContent::Link(link.into()));
        }
        for scheme in ["middleauth+https", "file", "local"] {
            let e = parse_fragment(&format!("https://host/#!{scheme}://x/nglstate/1"));
            let e = e.unwrap_err().to_string();
            assert!(
                e.contains(&format!("`{scheme}://`")) && e.contains("download"),
                "{e}"
            );
        }
        let e = parse_fragment("https://host/#!%ff")
            .unwrap_err()
            .to_string();
        assert!(e.contains("UTF-8"), "{e}");
        assert!(parse_fragment("https://host/#!x").is_err());
    }

    #[test]
    fn only_a_url_with_a_state_is_a_pasted_url() {
        assert!(is_pasted_url(" https://host/#!{}"));
        assert!(!is_pasted_url("state.json"));
        assert!(!is_pasted_url("precomputed://https://host/img"));
        assert_eq!(shortened("https://host/v/#!{}"), "https://host/v/#!...");
    }
}

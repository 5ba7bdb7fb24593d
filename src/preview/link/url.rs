//! URLs: of the viewer, and of volumes as a browser finds them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// The viewer of a link, without its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerUrl(String);

/// Characters that need no encoding in the fragment of a URL, nor in Markdown and chats.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b':')
    .remove(b'/')
    .remove(b',')
    .remove(b'_')
    .remove(b'~');

impl ViewerUrl {
    /// Parses `https://HOST/PATH`.
    ///
    /// # Errors
    /// It is no http(s) URL, or it has a state already, or a query, which the program never prints.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_http = text.starts_with("https://") || text.starts_with("http://");
        if !is_http || text.contains(['#', '?']) {
            return Err(format!(
                "{text:?} is not the address of a viewer; expected https://HOST/PATH without `?` and `#`"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The link to the viewer in this state.
    pub(crate) fn with_state(&self, state: &Value) -> String {
        let state = state.to_string();
        format!("{}#!{}", self.0, utf8_percent_encode(&state, FRAGMENT))
    }
}

/// Where a browser finds what is at a local path, or at another URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlMapping {
    /// A folder: a path, or a URL.
    from: String,
    /// The URL of that folder.
    to: String,
}

impl UrlMapping {
    /// Parses `FROM=URL`.
    ///
    /// # Errors
    /// There is no `=`, or what follows it is no URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected FROM=URL, such as /data=https://HOST/data";
        // A path may contain `=`; a URL's scheme ends the search.
        let split = text
            .find("=http")
            .or_else(|| text.find("=gs://"))
            .or_else(|| text.find("=s3://"));
        let Some((from, to)) = split.map(|at| (&text[..at], &text[at + 1..])) else {
            return Err(format!("{text:?} is not a mapping: {expected}"));
        };
        if from.is_empty() || !is_url(to) {
            return Err(format!("{text:?} is not a mapping: {expected}"));
        }
        Ok(Self {
            from: absolute(from),
            to: to.trim_end_matches('/').to_owned(),
        })
    }

    fn apply(&self, location: &str) -> Option<String> {
        let below = location.strip_prefix(self.from.trim_end_matches('/'))?;
        let is_inside = below.is_empty() || below.starts_with('/');
        is_inside.then(|| format!("{}{below}", self.to))
    }
}

/// Where a browser finds `location`; `None` for a local path without a mapping, and for URLs without their secrets.
pub(super) fn browser_url(location: &str, mappings: &[UrlMapping]) -> Option<String> {
    let location = absolute(location);
    let mapped = mappings.iter().find_map(|m| m.apply(&location));
    let url = mapped.or_else(|| is_url(&location).then(|| location.clone()))?;
    (!url.contains('?')).then(|| url.trim_end_matches('/').to_owned())
}

fn is_url(text: &str) -> bool {
    let schemes = ["https://", "http://", "gs://", "s3://"];
    schemes.iter().any(|scheme| text.starts_with(scheme))
}

/// The path, absolute. URLs stay as they are.
fn absolute(text: &str) -> String {
    if is_url(text) {
        return text.to_owned();
    }
    let path = text.strip_prefix("file://").unwrap_or(text);
    let absolute = std::path::absolute(path);
    absolute.map_or_else(|_| path.to_owned(), |p| p.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_applies_to_whole_folders_only() {
        let mappings = [UrlMapping::parse("/data/a=b=https://host/x/").unwrap()];
        let url = |location| browser_url(location, &mappings);
        assert_eq!(url("/data/a=b/img").as_deref(), Some("https://host/x/img"));
        assert_eq!(url("/data/a=b").as_deref(), Some("https://host/x"));
        assert_eq!(
            url("file:///data/a=b/img/").as_deref(),
            Some("https://host/x/img")
        );
        assert_eq!(url("/data/a=bc"), None);
        assert_eq!(url("gs://bucket/img/").as_deref(), Some("gs://bucket/img"));
        assert_eq!(url("https://host/img?..."), None);
        for wrong in ["/data", "=https://host", "/data=host", "/data=ftp://host"] {
            assert!(UrlMapping::parse(wrong).is_err(), "{wrong}");
        }
        let bucket = [UrlMapping::parse("gs://private=https://proxy").unwrap()];
        assert_eq!(
            browser_url("gs://private/img", &bucket).as_deref(),
            Some("https://proxy/img")
        );
    }

    #[test]
    fn a_state_is_encoded_after_an_exclamation_mark() {
        let viewer = ViewerUrl::parse("https://viewer.example/v/").unwrap();
        let state = serde_json::json!({"a": "b c%"});
        let link = viewer.with_state(&state);
        assert_eq!(
            link,
            "https://viewer.example/v/#!%7B%22a%22:%22b%20c%25%22%7D"
        );
        assert!(ViewerUrl::parse("viewer.example").is_err());
        for wrong in [
            "https://viewer.example/#!{}",
            "https://viewer.example/?key=value",
        ] {
            assert!(ViewerUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}

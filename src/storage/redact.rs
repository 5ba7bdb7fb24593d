//! Removal of secrets from messages, manifests and digests.
//!
//! The query of a URL may contain a signature or a token, and a server may echo it. Datasets are published, and messages
//! are pasted into issues, so all output has the queries, names and passwords of URLs replaced.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The replacement of a secret.
pub(crate) const REDACTED: &str = "<redacted>";

/// Minimum length of a secret that is searched for in a server's response. Shorter values occur in any text.
const MIN_SECRET_BYTES: usize = 4;

/// `text` with `<redacted>` in place of the query, and of the name and password, of every URL in it.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let start = from + at + 3;
        from = start;
        let rest = &text[start..];
        let url = &rest[..rest.find(ends_text).unwrap_or(rest.len())];
        let name_end = userinfo_bytes(scheme_before(&text[..start - 3]), url);
        if name_end > 0 {
            out.push_str(&text[copied..start]);
            out.push_str(REDACTED);
            out.push('@');
            copied = start + name_end;
            from = copied;
        }
        // The name or password may contain a question mark, so the query is searched after it.
        let url = url[name_end..].split('|').next().unwrap_or_default();
        let end = start + name_end + url.len();
        let Some((place, query)) = url.split_once('?') else {
            continue;
        };
        // In `precomputed://https://...` this is not the URL that has the query.
        if !query.is_empty() && !place.contains("://") {
            out.push_str(&text[copied..end - query.len()]);
            out.push_str(REDACTED);
            (copied, from) = (end, end);
        }
    }
    match copied {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(out + &text[copied..]),
    }
}

/// Like [`redacted`], for a `source`, which is a path or URL from a config or collection. A URL that is the whole text
/// ends only at the `|` of a pipeline. The state in a Neuroglancer URL is decoded if it contains secrets.
pub(crate) fn redacted_source(source: &str) -> Cow<'_, str> {
    if !source.contains("://") && !source.to_ascii_lowercase().contains("%3a%2f%2f") {
        return Cow::Borrowed(source);
    }
    if let Some((site, state)) = source.split_once("#!") {
        let decoded = percent_decode_str(state).decode_utf8();
        let state = match decoded.as_deref().map(redacted) {
            // A state without secrets is unchanged.
            Ok(Cow::Borrowed(_)) => Cow::Borrowed(state),
            Ok(Cow::Owned(state)) => Cow::Owned(state),
            Err(_) => redacted(state),
        };
        return Cow::Owned(format!("{}#!{state}", redacted_source(site)));
    }
    if has_userinfo(source)
        && let Cow::Owned(source) = redacted(source)
    {
        return Cow::Owned(source);
    }
    let (place, pipeline) = match source.split_once('|') {
        Some((place, pipeline)) => (place, Some(pipeline)),
        None => (source, None),
    };
    let is_url = place
        .trim_start()
        .split_once("://")
        .is_some_and(|(scheme, rest)| {
            scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
                && !rest.is_empty()
        });
    let place = match (redacted(place), place.split_once('?')) {
        (place, Some((_, query))) if is_url && !query.is_empty() => {
            let before = place.split_once('?').map_or(&*place, |(before, _)| before);
            Cow::Owned(format!("{before}?{REDACTED}"))
        }
        (place, _) => place,
    };
    match pipeline {
        None => place,
        // A query is not supported here, but may still be present.
        Some(pipeline) => match pipeline.split_once('?') {
            Some((steps, query)) if is_url && !query.is_empty() => {
                Cow::Owned(format!("{place}|{steps}?{REDACTED}"))
            }
            _ => Cow::Owned(format!("{place}|{}", redacted(pipeline))),
        },
    }
}

/// Applies [`redacted_source`] to all strings in `value`.
pub(crate) fn redact_json(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(redacted) = redacted_source(text) {
                *text = redacted;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact_json),
        Value::Object(members) => members.values_mut().for_each(redact_json),
        _ => {}
    }
}

/// Whether a URL in `source`, which is a path or URL from a config or collection, has a name or password before its host.
pub(crate) fn has_userinfo(source: &str) -> bool {
    let found = |text: &str| {
        let places = text.match_indices("://");
        let mut urls = places.map(|(at, _)| (scheme_before(&text[..at]), &text[at + 3..]));
        urls.any(|(scheme, url)| userinfo_bytes(scheme, url) > 0)
    };
    let Some((site, state)) = source.split_once("#!") else {
        return found(source);
    };
    let state = percent_decode_str(state).decode_utf8_lossy();
    found(site) || state.split(ends_text).any(found)
}

/// Length of the name and password at the start of `url`, which follows `scheme://`, including the `@`; 0 if there are
/// none.
///
/// A password may contain characters that end a host. If the text before such a character is not a host with a port,
/// it is treated as the beginning of a name and password.
fn userinfo_bytes(scheme: &str, url: &str) -> usize {
    let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    let last_at = |text: &str| {
        let encoded = text.to_ascii_lowercase().rfind("%40").map(|at| at + 3);
        text.rfind('@').map(|at| at + 1).max(encoded)
    };
    let port = authority
        .rsplit(']')
        .next()
        .and_then(|host| host.split_once(':'));
    match last_at(authority) {
        // A relative path of a file may have an `@`.
        Some(_) if scheme.eq_ignore_ascii_case("file") && port.is_none() => 0,
        Some(end) => end,
        None => match port {
            Some((_, port)) if !port.is_empty() && port.bytes().any(|b| !b.is_ascii_digit()) => {
                last_at(url).unwrap_or(0)
            }
            _ => 0,
        },
    }
}

/// The scheme at the end of `text`.
fn scheme_before(text: &str) -> &str {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    &text[text.trim_end_matches(is_scheme).len()..]
}

/// Whether `c` ends a URL within a longer text. The `|` of a pipeline does not.
fn ends_text(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`<>{}".contains(c)
}

/// Secrets of one request. A server may echo them.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds the values in the query of a URL, as written and decoded.
    pub(crate) fn add_query(&mut self, query: &str) {
        self.add(query);
        for part in query.split(['&', ';']) {
            self.add(part.split_once('=').map_or(part, |(_, value)| value));
        }
    }

    /// Adds one secret, as written and decoded.
    pub(crate) fn add(&mut self, secret: &str) {
        let decoded = percent_decode_str(secret).decode_utf8_lossy();
        for text in [secret, &decoded] {
            if text.len() >= MIN_SECRET_BYTES && self.0.iter().all(|known| known != text) {
                self.0.push(text.to_owned());
            }
        }
        // The longest is replaced first, because it may contain another one.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Removes the secrets, regardless of case, and all queries of URLs from `text`.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            let secret = secret.to_ascii_lowercase();
            let mut from = 0;
            while let Some(at) = text[from..].to_ascii_lowercase().find(&secret) {
                let start = from + at;
                text.replace_range(start..start + secret.len(), REDACTED);
                from = start + REDACTED.len();
            }
        }
        redacted(&text).into_owned()
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests;

//! Text without secrets: what may stand in messages, manifests and digests.
//!
//! The query of a URL may be a signature or a token, and so may what a server echoes. A dataset is published, and
//! messages are pasted into issues: queries, names and passwords of URLs are replaced wherever text leaves the program.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// What stands in place of a secret.
pub(crate) const REDACTED: &str = "<redacted>";

/// Least bytes of a value that is taken for a secret where a server echoes it: shorter ones occur in any text.
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
        // The query is searched behind the name, which may have a question mark.
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

/// `source`, a path or URL as a config or collection writes it, as [`redacted`] makes it. The query of a URL that is
/// the whole text ends at nothing but the `|` of a pipeline, and what a pasted Neuroglancer URL holds is decoded where
/// that is the only way to see what is secret in it.
pub(crate) fn redacted_source(source: &str) -> Cow<'_, str> {
    if !source.contains("://") && !source.to_ascii_lowercase().contains("%3a%2f%2f") {
        return Cow::Borrowed(source);
    }
    if let Some((site, state)) = source.split_once("#!") {
        let decoded = percent_decode_str(state).decode_utf8();
        let state = match decoded.as_deref().map(redacted) {
            // Nothing in it is secret: it stays as it is.
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
        // No query is read there, but one may stand there.
        Some(pipeline) => match pipeline.split_once('?') {
            Some((steps, query)) if is_url && !query.is_empty() => {
                Cow::Owned(format!("{place}|{steps}?{REDACTED}"))
            }
            _ => Cow::Owned(format!("{place}|{}", redacted(pipeline))),
        },
    }
}

/// Replaces every text in `value` by what [`redacted_source`] makes of it.
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

/// Whether a URL in `source`, a path or URL as a config or collection writes it, has a name or password before its host.
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

/// Bytes of `url`, which follows `scheme://`, that are a name and password, the `@` included; 0 where there is none.
///
/// A password may have characters that end a host. What stands before such a one and is no host with a port is taken
/// for the beginning of a name and password.
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

/// The scheme that `text` ends with.
fn scheme_before(text: &str) -> &str {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    &text[text.trim_end_matches(is_scheme).len()..]
}

/// Whether a URL within a longer text ends before `c`. (The `|` of a pipeline ends a place, not the whole.)
fn ends_text(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`<>{}".contains(c)
}

/// Secrets of one request, which a server may echo.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Learns the values in the query of a URL, as they are written and decoded.
    pub(crate) fn add_query(&mut self, query: &str) {
        self.add(query);
        for part in query.split(['&', ';']) {
            self.add(part.split_once('=').map_or(part, |(_, value)| value));
        }
    }

    /// Learns one secret.
    pub(crate) fn add(&mut self, secret: &str) {
        let decoded = percent_decode_str(secret).decode_utf8_lossy();
        for text in [secret, &decoded] {
            if text.len() >= MIN_SECRET_BYTES && self.0.iter().all(|known| known != text) {
                self.0.push(text.to_owned());
            }
        }
        // The longest goes first: it may hold another.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// `text` without them, in whichever case they are written, and without queries of URLs.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            let wanted = secret.to_ascii_lowercase();
            let mut from = 0;
            while let Some(at) = text[from..].to_ascii_lowercase().find(&wanted) {
                let start = from + at;
                text.replace_range(start..start + wanted.len(), REDACTED);
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

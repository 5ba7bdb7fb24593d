//! Locations on servers, as configs and collections write them.

use std::fmt;

use object_store::path::Path;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::storage::redact::{REDACTED, has_userinfo};

/// A location on a server: `root` is `https://HOST[:PORT]`, `gs://BUCKET` or `s3://BUCKET`, `path` is relative to it.
///
/// The query of an http(s) URL is sent with every object below the location, as in TensorStore:
/// `https://HOST/img?sig=...` is a folder whose info is `https://HOST/img/info?sig=...`. It may be a secret, so messages
/// never show it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteLocation {
    pub(super) root: String,
    path: String,
    /// The query without the `?`; for http(s) only.
    query: Option<String>,
}

/// Why a location is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum BadPlace {
    /// It has no host or bucket.
    NoHost,
    /// Another reason, as text.
    Because(&'static str),
}

impl RemoteLocation {
    /// The supported schemes.
    pub(in crate::storage) const SCHEMES: [&str; 4] = ["http", "https", "gs", "s3"];

    /// The location `scheme://rest`. It must not have a user name and password.
    pub(in crate::storage) fn new(scheme: &str, rest: &str) -> Result<Self, BadPlace> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(BadPlace::NoHost);
        }
        let root = format!("{scheme}://{authority}");
        let (path, query) = split_query(path);
        if scheme.starts_with("http") {
            // URL parsers differ in how they treat these characters, and may find different hosts.
            let ambiguous = |c: char| c.is_whitespace() || c.is_control() || "\\%<>\"".contains(c);
            let is_url = Url::parse(&root).is_ok_and(|url| url.has_host());
            if !is_url || authority.contains(ambiguous) {
                return Err(BadPlace::Because("it has no valid host and port"));
            }
        } else if query.is_some() {
            return Err(BadPlace::Because(
                "objects in buckets are read without a query (`?...`): give credentials in the environment, or a signed \
                 https:// URL",
            ));
        }
        Ok(Self {
            root,
            path: normalized(path),
            query,
        })
    }

    /// Resolves `path`, found in a document in this folder. A query in `path` replaces the folder's.
    pub(in crate::storage) fn join(&self, path: &str) -> Self {
        let (path, query) = if self.is_http() {
            split_query(path)
        } else {
            (path, None)
        };
        let joined = match path.strip_prefix('/') {
            Some(absolute) => normalized(absolute),
            None => normalized(&format!("{}/{path}", self.path)),
        };
        Self {
            root: self.root.clone(),
            path: joined,
            query: query.or_else(|| self.query.clone()),
        }
    }

    /// The folder of this document, and its name with its query. The query belongs to the document, not to the folder.
    pub(in crate::storage) fn split(&self) -> (Self, String) {
        let name_at = self.path.rfind('/').map_or(0, |at| at + 1);
        let (folder, name) = self.path.split_at(name_at);
        let folder = Self {
            root: self.root.clone(),
            path: folder.trim_end_matches('/').to_owned(),
            query: None,
        };
        let name = match &self.query {
            Some(query) if !name.is_empty() => format!("{name}?{query}"),
            _ => name.to_owned(),
        };
        (folder, name)
    }

    /// The whole location with its secrets, to compare locations. It must not be shown.
    pub(in crate::storage) fn identity(&self) -> String {
        format!("{self} {}", self.query.as_deref().unwrap_or_default())
    }

    /// The location with its query replaced.
    pub(in crate::storage) fn without_secrets(&self) -> Self {
        Self {
            query: self.query.as_ref().map(|_| REDACTED.to_owned()),
            ..self.clone()
        }
    }

    /// Whether its query was replaced.
    pub(in crate::storage) fn is_redacted(&self) -> bool {
        self.query.as_deref() == Some(REDACTED)
    }

    /// Root, path and query; the query is empty if there is none.
    pub(in crate::storage) fn parts(&self) -> [&str; 3] {
        let query = self.query.as_deref().unwrap_or_default();
        [&self.root, &self.path, query]
    }

    /// The location of these parts; `None` if they are not those of a location without secrets.
    pub(in crate::storage) fn from_parts(
        root: &str,
        path: &str,
        query: Option<&str>,
    ) -> Option<Self> {
        let (scheme, authority) = root.split_once("://")?;
        let known = Self::SCHEMES.contains(&scheme) && !has_userinfo(root);
        let root = Self::new(scheme, authority).ok().filter(|_| known)?;
        let location = Self {
            path: path.to_owned(),
            query: query.map(str::to_owned),
            ..root.clone()
        };
        let has_query = root.query.is_some() || location.is_http() && path.contains('?');
        let is_query = |query: &str| query == REDACTED && location.is_http();
        let is_whole = root.path.is_empty() && !has_query && normalized(path) == path;
        (is_whole && query.is_none_or(is_query)).then_some(location)
    }

    pub(in crate::storage) fn is_http(&self) -> bool {
        self.root.starts_with("http")
    }

    /// The query of the object's URL, without the `?`.
    pub(super) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The path for `object_store`, which applies percent-encoding itself. Paths of http(s) URLs are encoded and
    /// decoded here; keys in buckets are not.
    pub(super) fn object_path(&self) -> Result<Path, String> {
        let path = if self.is_http() {
            percent_decode_str(&self.path).decode_utf8_lossy()
        } else {
            self.path.as_str().into()
        };
        Path::parse(path).map_err(|e| e.to_string())
    }
}

/// The path and the query after it, if there is one.
fn split_query(path: &str) -> (&str, Option<String>) {
    match path.split_once('?') {
        Some((path, "")) => (path, None),
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (path, None),
    }
}

/// The path without empty, `.` and `..` steps. `..` at the root is ignored.
fn normalized(path: &str) -> String {
    let mut steps = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// The URL with `?<redacted>` instead of its query.
impl fmt::Display for RemoteLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        if self.query.is_some() {
            write!(f, "?{REDACTED}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RemoteLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteLocation({self})")
    }
}

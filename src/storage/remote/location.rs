//! Places on servers, as configs and collections write them.

use std::fmt;

use object_store::path::Path;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::storage::redact::REDACTED;

/// A place on a server: `root` is `https://HOST[:PORT]`, `gs://BUCKET` or `s3://BUCKET`, `path` is relative to it.
///
/// The query of a URL of http(s) goes with every object below the place, as in TensorStore: `https://HOST/img?sig=...`
/// is a folder whose info is `https://HOST/img/info?sig=...`. It may be a secret, and is never shown.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteLocation {
    pub(super) root: String,
    path: String,
    /// What stands behind the `?`; of http(s) only.
    query: Option<String>,
}

/// Why a place on a server cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum BadPlace {
    /// It names no host or bucket.
    NoHost,
    /// Something else, in words.
    Because(&'static str),
}

impl RemoteLocation {
    /// Schemes that are read.
    pub(in crate::storage) const SCHEMES: [&str; 4] = ["http", "https", "gs", "s3"];

    /// The place `scheme://rest`, without a name and password.
    pub(in crate::storage) fn new(scheme: &str, rest: &str) -> Result<Self, BadPlace> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(BadPlace::NoHost);
        }
        let root = format!("{scheme}://{authority}");
        let (path, query) = split_query(path);
        if scheme.starts_with("http") {
            // Programs that take a URL apart in different ways would connect to different hosts.
            let odd = |c: char| c.is_whitespace() || c.is_control() || "\\%<>\"".contains(c);
            let is_url = Url::parse(&root).is_ok_and(|url| url.has_host());
            if !is_url || authority.contains(odd) {
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
            path: normal(path),
            query,
        })
    }

    /// The place that `path`, found in a document in this folder, means. A query of its own replaces the folder's.
    pub(in crate::storage) fn join(&self, path: &str) -> Self {
        let (path, query) = match self.is_http() {
            true => split_query(path),
            false => (path, None),
        };
        let joined = match path.strip_prefix('/') {
            Some(absolute) => normal(absolute),
            None => normal(&format!("{}/{path}", self.path)),
        };
        Self {
            root: self.root.clone(),
            path: joined,
            query: query.or_else(|| self.query.clone()),
        }
    }

    /// The folder that this document is in, and its name with its query. The query names the document: it does not go
    /// with others in the folder.
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

    /// All of it, secrets as well: to tell one place from another, never to be shown.
    pub(in crate::storage) fn identity(&self) -> String {
        format!("{self} {}", self.query.as_deref().unwrap_or_default())
    }

    pub(super) fn is_http(&self) -> bool {
        self.root.starts_with("http")
    }

    /// What stands behind the `?` of the object's URL.
    pub(super) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The path as `object_store` takes it. URLs of http(s) are percent-encoded, which it does itself; keys in
    /// buckets are not.
    pub(super) fn object_path(&self) -> Result<Path, String> {
        let path = match self.is_http() {
            true => percent_decode_str(&self.path).decode_utf8_lossy(),
            false => self.path.as_str().into(),
        };
        Path::parse(path).map_err(|e| e.to_string())
    }
}

/// The path, and the query behind it if there is one.
fn split_query(path: &str) -> (&str, Option<String>) {
    match path.split_once('?') {
        Some((path, "")) => (path, None),
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (path, None),
    }
}

/// The path without empty, `.` and `..` steps, of which none leads above the root.
fn normal(path: &str) -> String {
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

/// The URL without its query: `?<redacted>` stands in its place.
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

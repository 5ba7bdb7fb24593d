//! Places on servers, as configs and collections write them.

use std::fmt;

use object_store::path::Path;
use percent_encoding::percent_decode_str;

/// A place on a server: `root` is `https://HOST[:PORT]`, `gs://BUCKET` or `s3://BUCKET`, `path` is relative to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteLocation {
    pub(super) root: String,
    path: String,
}

impl RemoteLocation {
    /// Schemes that are read.
    pub(in crate::storage) const SCHEMES: [&str; 4] = ["http", "https", "gs", "s3"];

    /// The place `scheme://rest`.
    pub(in crate::storage) fn new(scheme: &str, rest: &str) -> Option<Self> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        (!authority.is_empty()).then(|| Self {
            root: format!("{scheme}://{authority}"),
            path: normal(path, scheme.starts_with("http")),
        })
    }

    /// The place that `path`, found in a document in this folder, means.
    pub(in crate::storage) fn join(&self, path: &str) -> Self {
        let joined = match path.strip_prefix('/') {
            Some(absolute) => normal(absolute, self.is_http()),
            None => normal(&format!("{}/{path}", self.path), self.is_http()),
        };
        Self {
            root: self.root.clone(),
            path: joined,
        }
    }

    /// The folder that this is in, and the last step of its path with what is asked of it (`?...`).
    pub(in crate::storage) fn split(&self) -> (Self, String) {
        let (path, _) = self.split_query();
        let name_at = path.rfind('/').map_or(0, |at| at + 1);
        let (folder, name) = self.path.split_at(name_at);
        let folder = folder.trim_end_matches('/');
        let folder = Self {
            root: self.root.clone(),
            path: folder.to_owned(),
        };
        (folder, name.to_owned())
    }

    /// The path, and of http(s) what stands behind its `?`. Names of objects in buckets may have one.
    fn split_query(&self) -> (&str, Option<&str>) {
        match self.path.split_once('?') {
            Some((path, query)) if self.is_http() => (path, Some(query)),
            _ => (&self.path, None),
        }
    }

    pub(super) fn is_http(&self) -> bool {
        self.root.starts_with("http")
    }

    /// What is asked of the object, for the request's URL.
    pub(super) fn query(&self) -> Option<&str> {
        self.split_query().1
    }

    /// The path as `object_store` takes it. URLs of http(s) are percent-encoded, which it does itself; keys in
    /// buckets are not.
    pub(super) fn object_path(&self) -> Result<Path, String> {
        let (path, _) = self.split_query();
        let path = match self.is_http() {
            true => percent_decode_str(path).decode_utf8_lossy(),
            false => path.into(),
        };
        Path::parse(path).map_err(|e| e.to_string())
    }
}

/// The path without empty, `.` and `..` steps, of which none leads above the root; a query stays as it is.
fn normal(path: &str, may_ask: bool) -> String {
    let query = path.find('?').filter(|_| may_ask).unwrap_or(path.len());
    let (path, query) = path.split_at(query);
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
    steps.join("/") + query
}

impl fmt::Display for RemoteLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.root),
            false => write!(f, "{}/{}", self.root, self.path),
        }
    }
}

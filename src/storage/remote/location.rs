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
            path: normal(path),
        })
    }

    /// The place that `path`, found in a document in this folder, means.
    pub(in crate::storage) fn join(&self, path: &str) -> Self {
        let joined = match path.strip_prefix('/') {
            Some(absolute) => normal(absolute),
            None => normal(&format!("{}/{path}", self.path)),
        };
        Self {
            root: self.root.clone(),
            path: joined,
        }
    }

    /// The folder that this is in, and the last step of its path.
    pub(in crate::storage) fn split(&self) -> (Self, String) {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let folder = Self {
            root: self.root.clone(),
            path: folder.to_owned(),
        };
        (folder, name.to_owned())
    }

    /// The path as `object_store` takes it. URLs of http(s) are percent-encoded, which it does itself; keys in
    /// buckets are not.
    pub(super) fn object_path(&self) -> Result<Path, String> {
        let is_http = self.root.starts_with("http");
        let path = match is_http {
            true => percent_decode_str(&self.path).decode_utf8_lossy(),
            false => self.path.as_str().into(),
        };
        Path::parse(path).map_err(|e| e.to_string())
    }
}

/// The path without empty, `.` and `..` steps; none of them leads above the root.
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

impl fmt::Display for RemoteLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.root),
            false => write!(f, "{}/{}", self.root, self.path),
        }
    }
}

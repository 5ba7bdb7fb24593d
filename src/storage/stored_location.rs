//! Locations as JSON, exactly and without secrets: `{"path": "/data/img"}` or
//! `{"root": "https://host", "path": "img", "query": "<redacted>"}`.
//!
//! A location whose query was redacted can be shown and compared, but not opened.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Location, RemoteLocation};

/// The form in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Remote(StoredRemote),
    Local(StoredPath),
    /// A path that is not UTF-8.
    LocalBytes(StoredPathBytes),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRemote {
    root: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPath {
    path: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPathBytes {
    path_bytes: Vec<u8>,
}

impl Location {
    /// The location as it is stored: a local path is absolute, and the query of a URL is replaced.
    pub(crate) fn without_secrets(&self) -> Self {
        match self {
            Self::Local(path) => {
                let named = if path.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    path
                };
                Self::Local(std::path::absolute(named).unwrap_or(path.clone()))
            }
            Self::Remote(remote) => Self::Remote(remote.without_secrets()),
        }
    }

    /// Whether its query was replaced. Then it cannot be opened.
    pub(crate) fn is_redacted(&self) -> bool {
        matches!(self, Self::Remote(remote) if remote.is_redacted())
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = match self.without_secrets() {
            Self::Local(path) => match path.to_str() {
                Some(path) => Stored::Local(StoredPath {
                    path: path.to_owned(),
                }),
                None => Stored::LocalBytes(StoredPathBytes {
                    path_bytes: path.as_os_str().as_bytes().to_vec(),
                }),
            },
            Self::Remote(remote) => {
                let [root, path, query] = remote.parts();
                Stored::Remote(StoredRemote {
                    root: root.to_owned(),
                    path: path.to_owned(),
                    query: Some(query.to_owned()).filter(|query| !query.is_empty()),
                })
            }
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let local = |path: PathBuf| {
            if path.is_absolute() {
                Ok(Self::Local(path))
            } else {
                Err(de::Error::custom(format!(
                    "found the path {path:?}, expected an absolute path"
                )))
            }
        };
        match Stored::deserialize(deserializer)? {
            Stored::Local(StoredPath { path }) => local(path.into()),
            Stored::LocalBytes(StoredPathBytes { path_bytes }) => {
                local(OsString::from_vec(path_bytes).into())
            }
            Stored::Remote(StoredRemote { root, path, query }) => {
                let remote = RemoteLocation::from_parts(&root, &path, query.as_deref());
                remote.map(Self::Remote).ok_or_else(|| {
                    de::Error::custom(format!(
                        "found the root {root:?} with the path {path:?}, expected the parts of a URL"
                    ))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(location: &Location) -> String {
        serde_json::to_string(location).unwrap()
    }

    #[test]
    fn locations_are_equal_after_a_round_trip() {
        let base = Location::Local("/data".into());
        for text in [
            "img",
            "/a b/\"ü\"/c://d@e?f",
            "https://host:8080/data/im%20g/#x",
            "http://host",
            "gs://bucket/a/b",
            "s3://bucket",
        ] {
            let location = if text.starts_with('/') {
                base.join(text)
            } else {
                base.resolve(text).unwrap()
            };
            let read: Location = serde_json::from_str(&stored(&location)).unwrap();
            assert_eq!(read, location, "{text}");
            assert!(!read.is_redacted());
        }
        // A key in a bucket may have a question mark.
        let key = base.resolve("gs://bucket/a").unwrap().join("b?c");
        assert_eq!(
            serde_json::from_str::<Location>(&stored(&key)).unwrap(),
            key
        );
        let bytes = Location::Local(OsString::from_vec(b"/a/\xff".to_vec()).into());
        assert_eq!(
            serde_json::from_str::<Location>(&stored(&bytes)).unwrap(),
            bytes
        );
    }

    #[test]
    fn a_query_is_replaced_and_a_relative_path_becomes_absolute() {
        let signed = Location::Local("".into())
            .resolve("https://host/img?sig=secret")
            .unwrap();
        let text = stored(&signed);
        assert!(!text.contains("secret"), "{text}");
        let read: Location = serde_json::from_str(&text).unwrap();
        assert!(read.is_redacted() && !signed.is_redacted());
        assert_eq!(read.to_string(), signed.to_string());
        assert_eq!(read, signed.without_secrets());
        let relative = Location::Local("data/img".into());
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            serde_json::from_str::<Location>(&stored(&relative)).unwrap(),
            Location::Local(here.join("data/img"))
        );
    }

    #[test]
    fn what_is_no_location_is_an_error() {
        for text in [
            r#"{"path": "relative"}"#,
            r#"{"path": ""}"#,
            r#"{"root": "https://", "path": "a"}"#,
            r#"{"root": "ftp://host", "path": "a"}"#,
            r#"{"root": "https://host/x", "path": "a"}"#,
            r#"{"root": "https://u:p@host", "path": "a"}"#,
            r#"{"root": "https://host", "path": "../a"}"#,
            r#"{"root": "https://host", "path": "a?b"}"#,
            r#"{"root": "https://host", "path": "a", "query": "sig=1"}"#,
            r#"{"root": "gs://host", "path": "a", "query": "<redacted>"}"#,
            r#"{"root": "https://host"}"#,
            r#"{"path": "/a", "other": 1}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Location>(text).is_err(), "{text}");
        }
    }
}

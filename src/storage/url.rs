//! Parsing of the sources in configs and collections into locations.
//!
//! Supported forms: `precomputed://file:///a/b` and `precomputed://./b` (CloudVolume, Neuroglancer),
//! `file:///a/b/|neuroglancer-precomputed:` (Neuroglancer's newer pipeline form), `file://./b`, and a
//! plain path. A relative path is resolved against the folder of the document that contains it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RemoteLocation;
use super::redact::{has_userinfo, redacted_source};
use super::remote::BadPlace;
use crate::fault::{Fault, FaultKind};
use crate::geometry::SourceTransform;

/// A layer's source: its location, and the format that its URL names.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceUrl {
    /// The format that the URL names (`precomputed`, `neuroglancer-precomputed`, `zarr`, ...), if any.
    pub format: Option<String>,
    /// The layer's folder or file. For a layer inside a file, the file and the path in it, as one path.
    pub location: Location,
    /// The file, and the path of the layer in it, of a format that has several layers in one file.
    pub inside: Option<LayerInFile>,
    /// The transform in a viewer state, if the source comes from one.
    pub transform: Option<Arc<SourceTransform>>,
}

/// A layer inside a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerInFile {
    /// The file.
    pub file: Location,
    /// The path of the layer in it, without a `/` at its ends.
    pub path: String,
}

/// A local or remote folder or file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// An absolute or working-directory-relative path, without `.` and resolvable `..` steps.
    Local(PathBuf),
    /// On a server.
    Remote(RemoteLocation),
}

/// Why a source could not be parsed.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A scheme that is not supported.
    #[error(
        "the source {source_url:?} has the scheme `{scheme}`, which is not supported; expected file, http, https, gs, s3, or a plain path{}",
        if scheme.starts_with("middleauth") { ": download data that requires a login (middleauth) first" } else { "" }
    )]
    Scheme {
        /// As written.
        source_url: String,
        /// The scheme found.
        scheme: String,
    },
    /// Nothing after the scheme.
    #[error(
        "the source {source_url:?} has no path; expected `precomputed://file://PATH` or a plain path"
    )]
    Empty {
        /// As written.
        source_url: String,
    },
    /// More than one step after the `|`, or `file://HOST/`.
    #[error("cannot parse the source {source_url:?}: {why}")]
    Malformed {
        /// As written.
        source_url: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// The problem with a URL that contains a name and password.
pub(crate) const PASSWORD: &str = "a name and password in a URL are not supported, because configs and datasets are shared: remove the part before the \
     `@`, and set credentials in the environment";

/// The format whose files contain several layers, each with a path.
const FORMAT_WITH_PATHS: &str = "hdf5";

/// Prefixes that name a format, not a scheme.
const FORMATS: [&str; 9] = [
    "precomputed",
    "graphene",
    "zarr",
    "zarr2",
    "zarr3",
    "n5",
    "boss",
    "nifti",
    "brainmaps",
];

impl SourceUrl {
    /// Parses `text`. A relative path is resolved against `base`.
    pub fn parse(text: &str, base: &Location) -> Result<Self, LocationError> {
        let trimmed = text.trim();
        if has_userinfo(trimmed) {
            return Err(Problem::Because(PASSWORD).of(trimmed));
        }
        let mut inner_path = "";
        let (location, format) = match trimmed.split_once('|') {
            Some((location, pipeline)) => {
                let mut steps = pipeline.split('|');
                let format = steps.next().unwrap_or_default().trim_end_matches('/');
                if steps.next().is_some() {
                    return Err(LocationError::Malformed {
                        source_url: text.to_owned(),
                        why: "it has several `|` steps; expected `LOCATION|FORMAT:`",
                    });
                }
                let (format, path) = format.split_once(':').unwrap_or((format, ""));
                inner_path = path.trim_start_matches('/');
                (location, Some(format.to_owned()))
            }
            None => match trimmed.split_once("://") {
                Some((format, location)) if FORMATS.contains(&format) => {
                    // The supervoxels of such a segmentation can often be read without its login.
                    let location = match format {
                        "graphene" => location.strip_prefix("middleauth+").unwrap_or(location),
                        _ => location,
                    };
                    (location, Some(format.to_owned()))
                }
                _ => (trimmed, None),
            },
        };
        let outer = base
            .resolve_unnamed(location)
            .map_err(|problem| problem.of(text))?;
        let location = if inner_path.is_empty() {
            outer.clone()
        } else {
            outer.join(inner_path)
        };
        let is_inside = format.as_deref() == Some(FORMAT_WITH_PATHS) && !inner_path.is_empty();
        let inside = is_inside.then(|| LayerInFile {
            file: outer,
            path: inner_path.trim_end_matches('/').to_owned(),
        });
        Ok(Self {
            format,
            location,
            inside,
            transform: None,
        })
    }
}

/// Why a location could not be parsed, without the source that contains it.
enum Problem {
    Scheme(String),
    Empty,
    Because(&'static str),
}

impl Problem {
    /// The error for `source_url`, which is shown without secrets.
    fn of(self, source_url: &str) -> LocationError {
        let source_url = redacted_source(source_url).into_owned();
        match self {
            Self::Scheme(scheme) => LocationError::Scheme { source_url, scheme },
            Self::Empty => LocationError::Empty { source_url },
            Self::Because(why) => LocationError::Malformed { source_url, why },
        }
    }
}

impl From<BadPlace> for Problem {
    fn from(bad: BadPlace) -> Self {
        match bad {
            BadPlace::NoHost => Self::Empty,
            BadPlace::Because(why) => Self::Because(why),
        }
    }
}

impl Location {
    /// Whether objects can be written there. http(s) servers are only read.
    pub fn is_writable(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(remote) => !remote.is_http(),
        }
    }

    /// Parses an argument of a command line: a path, which is relative to the working directory, or a URL (`s3://`, `gs://`,
    /// `http://`, `https://`, `file://`).
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, LocationError> {
        let text = text.as_ref();
        match text.to_str() {
            Some(url) if url.contains("://") || url.is_empty() => match url.strip_prefix("file://")
            {
                // `join` would resolve `..` without following links, unlike the system.
                Some(path) if !path.is_empty() => Ok(Self::from(Path::new(path))),
                _ => Self::Local(PathBuf::new()).resolve(url),
            },
            _ => Ok(Self::from(Path::new(text))),
        }
    }

    /// Resolves `text`, a path or a URL, against this folder.
    pub fn resolve(&self, text: &str) -> Result<Location, LocationError> {
        self.resolve_unnamed(text)
            .map_err(|problem| problem.of(text))
    }

    fn resolve_unnamed(&self, text: &str) -> Result<Location, Problem> {
        if has_userinfo(text) {
            return Err(Problem::Because(PASSWORD));
        }
        match text.split_once("://") {
            Some(("file", "")) => Err(Problem::Empty),
            // A relative path is resolved against the document, even a remote one, and never against the working directory.
            Some(("file", path)) => Ok(match self {
                Location::Remote(_) if path.starts_with('/') => {
                    Location::Local(PathBuf::new()).join(path)
                }
                _ => self.join(path),
            }),
            Some((scheme, rest)) => {
                let lower = scheme.to_ascii_lowercase();
                if RemoteLocation::SCHEMES.contains(&lower.as_str()) {
                    Ok(Location::Remote(RemoteLocation::new(&lower, rest)?))
                } else {
                    Err(Problem::Scheme(scheme.to_owned()))
                }
            }
            None if text.is_empty() => Err(Problem::Empty),
            None => Ok(self.join(text)),
        }
    }

    /// Resolves `path` against this folder. An absolute path is returned as it is; `.` and `..` are resolved without
    /// access to the file system.
    pub fn join(&self, path: &str) -> Location {
        let base = match self {
            Location::Local(base) => base,
            Location::Remote(base) => return Location::Remote(base.join(path)),
        };
        let mut joined = PathBuf::new();
        for part in base.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => match joined.components().next_back() {
                    Some(Component::Normal(_)) => {
                        joined.pop();
                    }
                    Some(Component::RootDir) => {}
                    _ => joined.push(".."),
                },
                other => joined.push(other),
            }
        }
        Location::Local(joined)
    }

    /// The folder that this folder or file is in; `None` at the root.
    pub(crate) fn parent(&self) -> Option<Location> {
        match self {
            Location::Local(path) => {
                let path = std::path::absolute(path).ok()?;
                path.parent().map(Location::from)
            }
            Location::Remote(remote) => {
                let above = remote.join("..");
                (above != *remote).then_some(Location::Remote(above))
            }
        }
    }

    /// The folder of the local file `path`.
    pub fn folder_of(path: &Path) -> Location {
        Location::Local(path.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// The folder of this file, and the file's name; `None` if the location has no file name.
    pub fn split_file(&self) -> Option<(Location, String)> {
        match self {
            Location::Local(path) => {
                let name = path.file_name()?.to_str()?.to_owned();
                Some((Location::folder_of(path), name))
            }
            Location::Remote(remote) => {
                let (folder, name) = remote.split();
                (!name.is_empty()).then_some((Location::Remote(folder), name))
            }
        }
    }

    /// The location with its secrets. Use it to compare locations, never in output.
    pub(crate) fn identity(&self) -> String {
        match self {
            Location::Local(path) => format!("{path:?}"),
            Location::Remote(remote) => remote.identity(),
        }
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Local(path)
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Self {
        Self::Local(path.clone())
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::Local(path.to_owned())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(path) if path.as_os_str().is_empty() => write!(f, "."),
            Location::Local(path) => write!(f, "{}", path.display()),
            Location::Remote(remote) => write!(f, "{remote}"),
        }
    }
}

impl Fault for LocationError {
    fn kind(&self) -> FaultKind {
        FaultKind::Usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<String>, String) {
        let url = SourceUrl::parse(text, &Location::Local("/data/vnc".into())).unwrap();
        (url.format, url.location.to_string())
    }

    #[test]
    fn all_forms_of_a_local_source_resolve_to_the_same_folder() {
        let img = "/data/vnc/img".to_owned();
        let precomputed = Some("precomputed".to_owned());
        assert_eq!(
            parse("precomputed://file://./img"),
            (precomputed.clone(), img.clone())
        );
        assert_eq!(
            parse("precomputed://file:///data/vnc/img/"),
            (precomputed.clone(), img.clone())
        );
        assert_eq!(parse("precomputed://./img"), (precomputed, img.clone()));
        assert_eq!(parse("file://./img"), (None, img.clone()));
        assert_eq!(parse("img"), (None, img.clone()));
        assert_eq!(parse("../vnc/./img"), (None, img.clone()));
        assert_eq!(
            parse("file://../vnc/img/|neuroglancer-precomputed:"),
            (Some("neuroglancer-precomputed".to_owned()), img)
        );
    }

    #[test]
    fn a_path_after_the_format_is_resolved_inside_the_folder() {
        let inside = (Some("zarr2".to_owned()), "/data/vnc/img/s1".to_owned());
        assert_eq!(parse("file://./img|zarr2:s1/"), inside);
        assert_eq!(parse("file:///data/vnc/img/|zarr2:/s1"), inside);
        assert_eq!(parse("zarr2://./img/s1"), inside);
    }

    #[test]
    fn a_path_inside_an_hdf5_file_is_kept_apart_from_the_file() {
        let parse = |text: &str, base: &str| {
            let base = Location::Local("/data".into()).resolve(base).unwrap();
            let url = SourceUrl::parse(text, &base).unwrap();
            let inside = url.inside.map(|i| (i.file.to_string(), i.path));
            (url.location.to_string(), inside)
        };
        let text = "a.hdf|hdf5:/volumes/raw/";
        let inside = |file: &str| Some((file.to_owned(), "volumes/raw".to_owned()));
        assert_eq!(
            parse(text, "/data/c"),
            (
                "/data/c/a.hdf/volumes/raw".to_owned(),
                inside("/data/c/a.hdf")
            )
        );
        assert_eq!(
            parse("gs://bucket/a.hdf|hdf5:volumes/raw", "/data").1,
            inside("gs://bucket/a.hdf")
        );
        assert_eq!(
            parse("a.hdf|hdf5:", "/data"),
            ("/data/a.hdf".to_owned(), None)
        );
        assert_eq!(parse("a|zarr2:s1", "/data").1, None);
    }

    #[test]
    fn a_relative_base_keeps_its_leading_parent_steps() {
        let base = Location::Local("../shared".into());
        assert_eq!(base.join("../../img").to_string(), "../../img");
        assert_eq!(Location::Local("".into()).join(".").to_string(), ".");
    }

    #[test]
    fn remote_locations_are_joined_within_their_root() {
        let precomputed = Some("precomputed".to_owned());
        assert_eq!(
            parse("precomputed://gs://bucket/a/./img/"),
            (precomputed.clone(), "gs://bucket/a/img".into())
        );
        assert_eq!(parse("s3://b/x|neuroglancer-precomputed:").1, "s3://b/x");
        let base = Location::Local("".into())
            .resolve("https://host:8080/data/vnc")
            .unwrap();
        assert_eq!(
            base.join("../../../img").to_string(),
            "https://host:8080/img"
        );
        assert_eq!(base.join("/img").to_string(), "https://host:8080/img");
        let url = SourceUrl::parse("precomputed://file://./img", &base).unwrap();
        assert_eq!(url.location, base.join("img"));
        let url = SourceUrl::parse("precomputed://file:///data/img", &base).unwrap();
        assert_eq!(url.location.to_string(), "/data/img");
        assert_eq!(
            SourceUrl::parse("precomputed://img", &base)
                .unwrap()
                .location,
            base.join("img")
        );
        let (folder, name) = base.split_file().unwrap();
        assert_eq!(
            (folder.to_string().as_str(), name.as_str()),
            ("https://host:8080/data", "vnc")
        );
    }

    #[test]
    fn an_argument_is_a_path_as_it_is_or_a_url() {
        let local = |path: &str| Location::Local(path.into());
        for (text, expected) in [
            ("out", local("out")),
            ("a/../b/", local("a/../b/")),
            ("/a", local("/a")),
            ("file:///a/../b", local("/a/../b")),
            ("file://a", local("a")),
        ] {
            assert_eq!(Location::parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            Location::parse("s3://bucket/a/../b/").unwrap().to_string(),
            "s3://bucket/b"
        );
        let odd = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"a\xff");
        assert_eq!(
            Location::parse(odd).unwrap(),
            Location::from(Path::new(odd))
        );
        for text in [
            "",
            "file://",
            "s3://",
            "ftp://a/b",
            "s3://me:hidden@bucket/a",
        ] {
            let e = Location::parse(text).unwrap_err();
            assert_eq!(e.kind(), FaultKind::Usage);
            assert!(!e.to_string().contains("hidden"), "{e}");
        }
    }

    #[test]
    fn parents_end_at_the_root() {
        let parents = |text: &str| {
            let location = Location::parse(text).unwrap();
            let all = std::iter::successors(location.parent(), Location::parent);
            all.map(|l| l.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(parents("/a/b"), ["/a", "/"]);
        assert_eq!(parents("s3://bucket/a/b"), ["s3://bucket/a", "s3://bucket"]);
        let here = std::env::current_dir().unwrap().display().to_string();
        assert_eq!(parents("out")[0], here);
    }

    #[test]
    fn an_unknown_scheme_is_an_error_that_names_it() {
        let e =
            SourceUrl::parse("carrierpigeon://loft/img", &Location::Local("".into())).unwrap_err();
        assert!(e.to_string().contains("`carrierpigeon`"), "{e}");
        assert!(SourceUrl::parse("precomputed://", &Location::Local("".into())).is_err());
        assert!(SourceUrl::parse("file://a|zarr3:|n5:", &Location::Local("".into())).is_err());
    }
}

//! What configs and collections write where a layer lies, and the folder that it means.
//!
//! Forms: `precomputed://file:///a/b` and `precomputed://./b` (CloudVolume, Neuroglancer),
//! `file:///a/b/|neuroglancer-precomputed:` (Neuroglancer's newer pipeline form), `file://./b`, and a
//! plain path. Relative paths count from the folder of the document that holds them.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{LocalStore, Store};

/// A layer's source as written: which format it claims, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUrl {
    /// The format that the URL names (`precomputed`, `neuroglancer-precomputed`, `zarr`, ...), if any.
    pub format: Option<String>,
    /// Where it lies.
    pub location: Location,
}

/// Where something lies: today a path of the local file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// An absolute or working-directory-relative path, without `.` and resolvable `..` steps.
    Local(PathBuf),
}

/// Why a source could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A scheme that is not read.
    #[error(
        "the source {source_url:?} has the scheme `{scheme}`, which is not read; expected `file://` or a plain path"
    )]
    Scheme {
        /// As written.
        source_url: String,
        /// The scheme found.
        scheme: String,
    },
    /// Nothing after the scheme.
    #[error(
        "the source {source_url:?} names no path; expected `precomputed://file://PATH` or a plain path"
    )]
    Empty {
        /// As written.
        source_url: String,
    },
    /// More than one step after the `|`, or `file://HOST/`.
    #[error("the source {source_url:?} is not understood: {why}")]
    Malformed {
        /// As written.
        source_url: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// Prefixes that name a format, not a place.
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
    /// Understands `text`; relative paths count from `base`.
    pub fn parse(text: &str, base: &Location) -> Result<Self, LocationError> {
        let trimmed = text.trim();
        let mut inner_path = "";
        let (place, format) = match trimmed.split_once('|') {
            Some((place, pipeline)) => {
                let mut steps = pipeline.split('|');
                let format = steps.next().unwrap_or_default().trim_end_matches('/');
                if steps.next().is_some() {
                    return Err(LocationError::Malformed {
                        source_url: text.to_owned(),
                        why: "it has several `|` steps; only `PLACE|FORMAT:` is read",
                    });
                }
                let (format, path) = format.split_once(':').unwrap_or((format, ""));
                inner_path = path.trim_start_matches('/');
                (place, Some(format.to_owned()))
            }
            None => match trimmed.split_once("://") {
                Some((format, place)) if FORMATS.contains(&format) => {
                    (place, Some(format.to_owned()))
                }
                _ => (trimmed, None),
            },
        };
        let path = match place.split_once("://") {
            Some(("file", path)) => path,
            Some((scheme, _)) => {
                return Err(LocationError::Scheme {
                    source_url: text.to_owned(),
                    scheme: scheme.to_owned(),
                });
            }
            None => place,
        };
        if path.is_empty() {
            return Err(LocationError::Empty {
                source_url: text.to_owned(),
            });
        }
        let location = match inner_path.is_empty() {
            true => base.join(path),
            false => base.join(path).join(inner_path),
        };
        Ok(Self { format, location })
    }
}

impl Location {
    /// The location that `path` means when it is written in a document in this folder. An absolute
    /// path stands for itself; `.` and `..` are resolved by name, without asking the file system.
    pub fn join(&self, path: &str) -> Location {
        let Location::Local(base) = self;
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

    /// The folder that holds the local file `path`.
    pub fn folder_of(path: &Path) -> Location {
        Location::Local(path.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// The folder that holds the file here, and its name in it; `None` where no file can be.
    pub fn split_file(&self) -> Option<(Location, String)> {
        let Location::Local(path) = self;
        let name = path.file_name()?.to_str()?.to_owned();
        Some((Location::folder_of(path), name))
    }

    /// Read access to what lies here.
    pub fn open(&self) -> Arc<dyn Store> {
        let Location::Local(path) = self;
        Arc::new(LocalStore::new(path.clone()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location::Local(path) = self;
        match path.as_os_str().is_empty() {
            true => write!(f, "."),
            false => write!(f, "{}", path.display()),
        }
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
    fn every_way_to_write_a_local_layer_means_the_same_folder() {
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
    fn a_path_after_the_format_is_a_folder_inside() {
        let inside = (Some("zarr2".to_owned()), "/data/vnc/img/s1".to_owned());
        assert_eq!(parse("file://./img|zarr2:s1/"), inside);
        assert_eq!(parse("file:///data/vnc/img/|zarr2:/s1"), inside);
        assert_eq!(parse("zarr2://./img/s1"), inside);
    }

    #[test]
    fn a_relative_base_keeps_its_leading_parent_steps() {
        let base = Location::Local("../shared".into());
        assert_eq!(base.join("../../img").to_string(), "../../img");
        assert_eq!(Location::Local("".into()).join(".").to_string(), ".");
    }

    #[test]
    fn an_unknown_scheme_is_named() {
        let e =
            SourceUrl::parse("carrierpigeon://loft/img", &Location::Local("".into())).unwrap_err();
        assert!(e.to_string().contains("`carrierpigeon`"), "{e}");
        assert!(SourceUrl::parse("precomputed://", &Location::Local("".into())).is_err());
        assert!(SourceUrl::parse("file://a|zarr3:|n5:", &Location::Local("".into())).is_err());
    }
}

//! Listings of local folders and of folders in buckets.

use std::path::Path;

use super::{Location, StorageError};

/// The names of the folders and files directly in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<String>,
    pub(crate) files: Vec<String>,
}

impl Location {
    /// Whether [`super::Storage::list`] can list this folder. HTTP has no standard way to list folders.
    pub(crate) fn can_be_listed(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(remote) => remote.is_bucket(),
        }
    }
}

impl Listing {
    /// Lists the local folder `path`.
    pub(super) fn of_folder(path: &Path) -> Result<Self, StorageError> {
        local(path).map_err(|source| StorageError::Read {
            object: path.display().to_string(),
            source,
        })
    }

    /// Sorts the names in ascending order.
    pub(super) fn sorted(mut self) -> Self {
        self.folders.sort();
        self.files.sort();
        self
    }
}

fn local(path: &Path) -> std::io::Result<Listing> {
    // The working directory has an empty path.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        // A config is UTF-8, so it cannot refer to other names.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Links are followed.
        match std::fs::metadata(entry.path()) {
            Ok(found) if found.is_dir() => listing.folders.push(name),
            Ok(found) if found.is_file() => listing.files.push(name),
            _ => {}
        }
    }
    Ok(listing)
}

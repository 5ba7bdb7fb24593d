//! What is at a location without a dataset, and where a dataset is nearby: for error messages.

use std::io::ErrorKind;

use super::{CLAIM_FILE, DatasetError, PLAN_FILE};
use crate::storage::{Location, Storage, StorageError, Store};

/// Most folders of a bucket in which a dataset is looked for.
const MAX_FOLDERS: usize = 16;

/// Whether pointshard began an output in the store. Outputs before version 3 have no claim.
pub(super) fn has_output(store: &dyn Store) -> bool {
    let mut sizes = [CLAIM_FILE, PLAN_FILE].iter().map(|key| store.size(key));
    sizes.any(|size| matches!(size, Ok(Some(_))))
}

/// The error for a location without a manifest where pointshard wrote nothing.
pub(super) fn no_manifest(location: &Location, storage: &Storage) -> DatasetError {
    let listing = location.can_be_listed().then(|| storage.list(location));
    let problem = match listing {
        Some(Err(StorageError::Read { source, .. })) if source.kind() == ErrorKind::NotFound => {
            "there is no such folder"
        }
        Some(Err(StorageError::Read { source, .. }))
            if source.kind() == ErrorKind::NotADirectory =>
        {
            "it is a file, expected a folder"
        }
        // Folders in buckets exist only with objects in them.
        Some(Ok(found)) if is_bucket(location) && found == Default::default() => {
            "there is no such folder"
        }
        _ => "it has no manifest.json",
    };
    not_a_dataset(location, storage, problem.to_owned())
}

/// The error if the manifest cannot be read because no file can have its name.
pub(super) fn not_a_path(
    location: &Location,
    storage: &Storage,
    error: StorageError,
) -> DatasetError {
    match error {
        StorageError::Read { source, .. } if source.kind() == ErrorKind::InvalidFilename => {
            not_a_dataset(location, storage, source.to_string())
        }
        e => e.into(),
    }
}

/// The error for a location that pointshard did not write to, with the dataset above or below it, if there is one.
pub(super) fn not_a_dataset(
    location: &Location,
    storage: &Storage,
    problem: String,
) -> DatasetError {
    DatasetError::NotADataset {
        folder: location.to_string(),
        problem,
        hint: dataset_nearby(location, storage).map(|l| l.to_string()),
    }
}

/// A dataset in one of the two folders above, or directly below. Not looked for on http(s) servers, which have no listings.
fn dataset_nearby(location: &Location, storage: &Storage) -> Option<Location> {
    if !location.can_be_listed() {
        return None;
    }
    let is_dataset = |l: &Location| has_output(&*storage.open(l));
    let above = std::iter::successors(location.parent(), Location::parent).take(2);
    let below = || {
        let folders = storage.list(location).ok()?.folders.into_iter();
        let most = if is_bucket(location) {
            MAX_FOLDERS
        } else {
            usize::MAX
        };
        let mut folders = folders.take(most).map(|name| location.join(&name));
        folders.find(is_dataset)
    };
    above.into_iter().find(is_dataset).or_else(below)
}

fn is_bucket(location: &Location) -> bool {
    matches!(location, Location::Remote(_))
}

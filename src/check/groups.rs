//! The metadata of groups. It holds a copy of the arrays' metadata (`consolidated_metadata`), from which readers open them:
//! the copy must be equal to the arrays' own files.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kind::FindingKind;
use super::report::Finding;
use crate::dataset::{Dataset, MAX_METADATA_BYTES, SplitEntry};

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let splits = dataset.manifest().splits.iter();
    let finding = |(name, split): (&String, &SplitEntry)| {
        let message = problem(dataset, split)?;
        let file = format!("{}/zarr.json", split.path);
        Some(Finding::new(FindingKind::Structure, &file, message).in_split(name))
    };
    splits.filter_map(finding).collect()
}

/// What is wrong with the group's metadata, if anything. A file that cannot be read is a finding of `files`.
fn problem(dataset: &Dataset, split: &SplitEntry) -> Option<String> {
    let read = |folder: &str| read(dataset, &format!("{folder}/zarr.json"));
    let group = match read(&split.path)? {
        Ok(group) => group,
        Err(problem) => return Some(problem),
    };
    if group["zarr_format"] != 3 || group["node_type"] != "group" {
        return Some("it is not the metadata of a Zarr v3 group".to_owned());
    }
    let Some(consolidated) = group["consolidated_metadata"]["metadata"].as_object() else {
        return Some("it has no consolidated_metadata".to_owned());
    };
    let listed = dataset.manifest().members(split);
    let found: BTreeSet<_> = consolidated.keys().map(String::as_str).collect();
    if let Some(name) = found.symmetric_difference(&listed).next() {
        return Some(format!(
            "its consolidated_metadata and the manifest do not list the same members: {name:?} is in only one of them"
        ));
    }
    let differs = |name: &&&str| {
        let own = read(&format!("{}/{name}", split.path));
        own.is_some_and(|own| own.as_ref() != Ok(&consolidated[**name]))
    };
    let name = listed.iter().find(differs)?;
    Some(format!(
        "its consolidated_metadata of {name:?} is not equal to {}/{name}/zarr.json",
        split.path
    ))
}

/// The JSON in the file at `key`, or what is wrong with it; `None` where it cannot be read.
fn read(dataset: &Dataset, key: &str) -> Option<Result<Value, String>> {
    let mut bytes = Vec::new();
    let read = dataset.store().read(key, MAX_METADATA_BYTES, &mut bytes);
    let is_read = matches!(read, Ok(true));
    is_read.then(|| serde_json::from_slice(&bytes).map_err(|e| e.to_string()))
}

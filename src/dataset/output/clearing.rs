//! What `--force` deletes: the objects that pointshard wrote, and nothing else.
//!
//! Every object in a group, among the receipts and among the plan's columns is examined before the first one is deleted. An
//! object is pointshard's if its name is one that pointshard uses, in an array or column that it wrote. Any other object stops
//! the run.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rayon::prelude::*;

use super::earlier::EarlierOutput;
use super::{Output, PLAN, PLAN_COLUMNS, PLAN_COPY, RECEIPTS};
use crate::config::DROPPED_ANNOTATIONS;
use crate::dataset::chunk_key::is_chunk_key;
use crate::dataset::layout::group_path;
use crate::dataset::{DatasetError, MANIFEST, Manifest};
use crate::storage::{MAX_DOCUMENT_BYTES, is_temporary_name};

/// The column of the reasons why annotations were dropped.
const DROP_REASON: &str = "drop_reason";

/// The record of the plan that schema version 2 kept.
const EARLIER_RECORD: &str = ".pointshard/record.json";

/// The objects of an earlier output.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    earlier: EarlierOutput,
    keys: Vec<String>,
    foreign: Vec<String>,
}

impl Clearing {
    /// What is to be deleted of `everything` that the output may hold.
    ///
    /// # Errors
    /// An object that pointshard did not write is among it.
    pub fn of(output: &Output, everything: &EarlierOutput) -> Result<Self, DatasetError> {
        let earlier = EarlierOutput {
            groups: everything.groups.clone(),
            members: members(output, &everything.members)?,
        };
        let mut clearing = Self {
            earlier,
            ..Self::default()
        };
        let members = clearing.earlier.members.clone();
        for group in clearing.earlier.groups.clone() {
            if !group.contains('/') && group.ends_with(".zarr") {
                clearing.examine(output, &group, |path| in_group(path, &members))?;
            }
        }
        let dropped = group_path(DROPPED_ANNOTATIONS);
        clearing.examine(output, &dropped, in_dropped)?;
        clearing.examine(output, RECEIPTS, in_receipts)?;
        clearing.examine(output, PLAN_COLUMNS, |path| in_plan(path, &members))?;
        clearing.foreign.sort();
        match clearing.foreign.split_first() {
            None => Ok(clearing),
            Some((first, others)) => Err(DatasetError::ForeignFiles {
                output: output.name(),
                file: output.store().describe(first),
                others: others.len(),
            }),
        }
    }

    /// What the claim lists while this is deleted.
    pub fn listed(&self) -> EarlierOutput {
        self.earlier.clone()
    }

    /// Examines every object below `folder`. `is_ours` gets the names below the folder.
    fn examine(
        &mut self,
        output: &Output,
        folder: &str,
        is_ours: impl Fn(&[&str]) -> bool,
    ) -> Result<(), DatasetError> {
        let below = |key: &'_ str| -> Vec<String> {
            let rest = key.strip_prefix(folder).unwrap_or(key);
            let names = rest.split('/').filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        output.store().list(folder, &mut |object| {
            let names = below(&object.key);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let is_file = object.size_bytes.is_some();
            if is_file && is_ours(&names) {
                self.keys.push(object.key);
            } else {
                self.foreign.push(object.key);
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// Deletes the objects, the plan first.
    pub fn delete(self, output: &Output) -> Result<(), DatasetError> {
        output.delete(PLAN)?;
        output.delete(EARLIER_RECORD)?;
        self.keys.par_iter().try_for_each(|key| output.delete(key))
    }
}

/// Arrays and columns that pointshard wrote: the `known` ones, those of the manifest and those of the receipts.
fn members(output: &Output, known: &[String]) -> Result<Vec<String>, DatasetError> {
    let mut all: BTreeSet<String> = known.iter().cloned().collect();
    let manifest = output.read(MANIFEST, MAX_DOCUMENT_BYTES)?;
    if let Some((manifest, _)) = manifest.and_then(|json| Manifest::parse(&json).ok()) {
        let listed = manifest.files.iter().filter_map(|file| {
            let (_, below) = file.path.strip_suffix("/zarr.json")?.split_once('/')?;
            Some(below.to_owned())
        });
        all.extend(listed);
        all.extend(manifest.arrays.into_keys());
    }
    output.store().list(RECEIPTS, &mut |object| {
        let below = object.key.strip_prefix(RECEIPTS);
        if let Some(["", _, array, _]) = below.map(|b| b.split('/').collect::<Vec<_>>()).as_deref()
        {
            all.insert((*array).to_owned());
        }
        ControlFlow::Continue(())
    })?;
    Ok(all.into_iter().collect())
}

/// Whether pointshard writes a file with this path in a group.
fn in_group(path: &[&str], members: &[String]) -> bool {
    match path {
        [.., last] if is_temporary_name(last) => true,
        ["zarr.json"] => true,
        [name, rest @ ..] if is_column(name) || members.iter().any(|m| m == name) => match rest {
            ["zarr.json"] => true,
            below => is_chunk_key(below),
        },
        _ => false,
    }
}

/// Whether pointshard writes a file with this path in the group of dropped annotations.
fn in_dropped(path: &[&str]) -> bool {
    in_group(path, &[DROP_REASON.to_owned()])
}

/// Whether only columns of pointshard have this name: the config does not accept it for arrays.
fn is_column(name: &str) -> bool {
    let names = [
        "annotation_id",
        "box",
        "center_nm",
        "start_voxel",
        "resolution_nm",
    ];
    let ends = [
        "_nonzero_fraction",
        "_inside_fraction",
        "_start_voxel",
        "_object_id",
        "_object_ids",
    ];
    names.contains(&name)
        || name.starts_with("property_")
        || ends.iter().any(|end| name.ends_with(end))
}

/// Whether a file among the receipts is one of a split, an array and a number.
fn in_receipts(path: &[&str]) -> bool {
    let number = |name: &str| name.strip_suffix(".json").is_some_and(is_number);
    match path {
        [.., last] if is_temporary_name(last) => true,
        [_, _, last] => number(last),
        _ => false,
    }
}

/// Whether a file among the plans' columns is one of a plan, a split and a column.
fn in_plan(path: &[&str], members: &[String]) -> bool {
    match path {
        [.., last] if is_temporary_name(last) => true,
        [_plan, PLAN_COPY] => true,
        [_plan, DROPPED_ANNOTATIONS, below @ ..] => in_dropped(below),
        [_plan, _split, below @ ..] => in_group(below, members),
        _ => false,
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_pointshard_are_distinguished_from_files_of_others() {
        let members = ["img".to_owned()];
        let ours = |path: &str| {
            let path: Vec<_> = path.split('/').collect();
            in_group(&path, &members)
        };
        for path in [
            "zarr.json",
            "img/zarr.json",
            "img/c.12.0.0.0.0",
            "img/c/12/0/0/0/0",
            "img/c/3/0/.writing-x",
            "box/c.0",
            "box/c/0",
            "center_nm/c/0/0",
            "property_size/zarr.json",
            "cell_object_id/c/1",
        ] {
            assert!(ours(path), "{path}");
        }
        for path in [
            "notes.txt",
            "img/notes.txt",
            "img/c/notes.txt",
            "img/c",
            "img/c/0/0/0/0/0/0",
            "img/c/0/x/0/0/0",
            "mine/zarr.json",
            "mine/c/0/0/0/0/0",
            "img/zarr.json/x",
        ] {
            assert!(!ours(path), "{path}");
        }
        let receipt = |path: &str| {
            let path: Vec<_> = path.split('/').collect();
            in_receipts(&path)
        };
        assert!(receipt("train/img/0.json") && receipt("train/img/.writing-x"));
        assert!(!receipt("train/img/notes.json") && !receipt("notes.txt"));
    }
}

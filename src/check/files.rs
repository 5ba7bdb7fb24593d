//! Files other than shards: all are present with the right size and bytes, and there is no other file.

use std::collections::HashSet;

use rayon::prelude::*;

use super::kind::FindingKind;
use super::objects::{DatasetObjects, ObjectProblem};
use super::report::Finding;
use crate::dataset::{Dataset, FileEntry};

pub(super) fn check(dataset: &Dataset, objects: &DatasetObjects<'_>) -> Vec<Finding> {
    let listed = dataset.manifest().files.par_iter();
    let wrong = |file: &FileEntry| {
        let problem = objects.problem(&file.path, file.bytes, &file.blake3)?;
        Some(finding(&file.path, problem))
    };
    let mut findings: Vec<_> = listed.filter_map(wrong).collect();
    findings.extend(unlisted(dataset, objects));
    findings
}

/// Files of the groups that the manifest does not list, and folders that cannot be listed.
fn unlisted(dataset: &Dataset, objects: &DatasetObjects<'_>) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let files = manifest.files.iter().map(|f| f.path.as_str());
    let known: HashSet<_> = files
        .chain(manifest.shards.iter().map(|s| s.path.as_str()))
        .collect();
    let unreadable = objects.unlisted().iter().map(|(folder, message)| {
        let problem = ObjectProblem::new(FindingKind::Unreadable, message, "");
        finding(folder, problem)
    });
    let unexpected = group_paths(dataset).into_iter().flat_map(|group| {
        let unknown = objects.below(group).filter(|key| !known.contains(key));
        unknown.map(|key| {
            let message = "the manifest does not list it, and a reader of the group may take it for data: delete it";
            finding(key, ObjectProblem::new(FindingKind::UnexpectedFile, message, ""))
        })
    });
    unreadable.chain(unexpected).collect()
}

/// The paths of the groups, each once, in order.
pub(super) fn group_paths(dataset: &Dataset) -> Vec<&str> {
    let splits = dataset.manifest().splits.values();
    let files = dataset.manifest().files.iter();
    // The group of dropped annotations belongs to no split.
    let others = files.filter_map(|f| f.path.strip_suffix("/zarr.json"));
    let others = others.filter(|folder| !folder.contains('/'));
    let mut groups: Vec<_> = splits.map(|s| s.path.as_str()).chain(others).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn finding(file: &str, problem: ObjectProblem) -> Finding {
    Finding::new(problem.kind, file, problem.message())
}

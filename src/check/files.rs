//! Files other than shards: all are present with the right size and bytes, and there is no other file.

use std::collections::HashSet;

use super::folder::{DatasetFolder, Listing, is_inside};
use super::report::{Finding, FindingKind};
use crate::dataset::Dataset;

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let folder = DatasetFolder::of(dataset);
    let listed = dataset.manifest().files.iter();
    let wrong = listed.filter_map(|f| {
        let problem = folder.problem(&f.path, f.bytes, &f.blake3)?;
        Some(finding(&f.path, problem))
    });
    wrong.chain(unlisted(dataset, &folder)).collect()
}

/// Files of the groups that the manifest does not list, and folders that cannot be listed.
fn unlisted(dataset: &Dataset, folder: &DatasetFolder<'_>) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let files = manifest.files.iter().map(|f| &f.path);
    let known: HashSet<_> = files
        .chain(manifest.shards.iter().map(|s| &s.path))
        .collect();
    let groups: HashSet<_> = manifest.splits.values().map(|s| &s.path).collect();
    let mut groups: Vec<_> = groups.into_iter().filter(|g| is_inside(g)).collect();
    groups.sort();
    let mut findings = Vec::new();
    for group in groups {
        let Listing { files, unreadable } = folder.list(group);
        for (path, message) in unreadable {
            findings.push(finding(&path, (FindingKind::Unreadable, message)));
        }
        for path in files.iter().filter(|path| !known.contains(path)) {
            let message = "the manifest does not list it, and a reader of the group may take it for data: delete it";
            findings.push(finding(path, (FindingKind::UnexpectedFile, message.into())));
        }
    }
    findings
}

fn finding(file: &str, (kind, message): (FindingKind, String)) -> Finding {
    Finding {
        kind,
        file: file.to_owned(),
        split: None,
        samples: Vec::new(),
        message,
    }
}

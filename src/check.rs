//! Checking a dataset: every file is complete, every sample can be decoded, columns and arrays agree.
//!
//! An output folder comes in; a [`Report`] with one [`Finding`] per problem goes out. A dataset may be damaged or forged: no
//! claim of it is followed, and no memory allocated for it, before it is compared with the manifest and with the files on
//! disk. A file that cannot be read does not hide problems of others. Nothing upstream of `dataset` is needed.

mod columns;
mod files;
mod folder;
mod groups;
mod padding;
mod report;
mod shards;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::dataset::{Dataset, MANIFEST, Manifest};
pub use report::{Checked, Finding, FindingKind, Report};

/// Checks the dataset in the folder `root`, with the threads of the current rayon pool. Errors become findings.
pub fn check(root: &Path) -> Report {
    let mut report = Report::default();
    match Dataset::open_to_check(root) {
        Err(e) => report.findings.push(of_manifest(report::describe(&e))),
        Ok(dataset) => check_dataset(&dataset, &mut report),
    }
    report.ok = report.findings.is_empty();
    report
}

fn check_dataset(dataset: &Dataset, report: &mut Report) {
    let manifest = dataset.manifest();
    report.checked = contents(manifest);
    let problems = manifest.problems();
    let findings = &mut report.findings;
    findings.extend(problems.iter().map(|p| of_manifest(p.to_string())));
    findings.extend(files::check(dataset));
    if problems.is_empty() {
        findings.extend(groups::check(dataset));
        findings.extend(columns::check(dataset));
        findings.extend(shards::check(dataset));
    } else {
        // What a wrong manifest says about samples means nothing, but its file sizes and digests may be right.
        findings.extend(shards::check_bytes(dataset));
    }
}

/// What the manifest lists.
fn contents(manifest: &Manifest) -> Checked {
    let samples = manifest.splits.values().map(|s| s.samples);
    let files = manifest.files.iter().map(|f| f.bytes);
    let shards = manifest.shards.iter();
    Checked {
        files: manifest.files.len() as u64,
        shards: manifest.shards.len() as u64,
        samples: sum(samples),
        windows: sum(shards.clone().map(|s| s.samples)),
        bytes: sum(files.chain(shards.map(|s| s.bytes))),
    }
}

fn of_manifest(message: String) -> Finding {
    Finding {
        kind: FindingKind::Manifest,
        file: MANIFEST.into(),
        split: None,
        samples: Vec::new(),
        message,
    }
}

/// The sum, or the largest number where the sum of a manifest's numbers is larger.
fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

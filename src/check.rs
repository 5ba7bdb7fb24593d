//! Proving a dataset: every file whole, every sample decodable, columns and arrays in agreement.
//!
//! In goes an output folder; out comes a [`Report`] with one [`Finding`] per thing that is wrong. A dataset may be
//! damaged or forged: nothing that it claims is allocated or followed before it is compared with the manifest and with the
//! files that are there, and a file that cannot be read hides none of the others. Nothing upstream of `dataset` is needed.

mod columns;
mod files;
mod groups;
mod shards;

use std::path::Path;

use serde::Serialize;

use crate::dataset::{Dataset, DatasetError, MANIFEST};

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub checked: Checked,
}

/// What a check looked at.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Checked {
    /// Metadata and column files.
    pub files: u64,
    /// Shard files.
    pub shards: u64,
    /// Samples of all splits.
    pub samples: u64,
    /// Windows (samples times arrays) that were decoded.
    pub windows: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The file or array concerned, relative to the dataset.
    pub file: String,
    /// The split concerned, if one is.
    pub split: Option<String>,
    /// The samples concerned, by position in the split; empty where it is about none in particular.
    pub samples: Vec<u64>,
    /// What was found and what was expected.
    pub message: String,
}

/// Kinds of things that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// There is no manifest, or it cannot be right.
    Manifest,
    /// A file is missing.
    MissingFile,
    /// A file is there and cannot be read.
    Unreadable,
    /// A file has the wrong size.
    Size,
    /// A file has other bytes than were written.
    Digest,
    /// Metadata does not agree with the manifest.
    Structure,
    /// A sample cannot be decoded.
    Decode,
    /// A column does not agree with the arrays or the manifest.
    Column,
    /// A file that the manifest does not list.
    UnexpectedFile,
}

impl FindingKind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::MissingFile => "missing_file",
            Self::Unreadable => "unreadable",
            Self::Size => "size",
            Self::Digest => "digest",
            Self::Structure => "structure",
            Self::Decode => "decode",
            Self::Column => "column",
            Self::UnexpectedFile => "unexpected_file",
        }
    }
}

/// The error with what the operating system said.
fn told(error: &DatasetError) -> String {
    match error {
        DatasetError::Io { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

/// Checks the dataset in the folder `root`, with the threads of the current rayon pool.
pub fn check(root: &Path) -> Report {
    let mut report = Report::default();
    match Dataset::open_to_check(root) {
        Err(e) => report.findings.push(Finding {
            kind: FindingKind::Manifest,
            file: MANIFEST.into(),
            split: None,
            samples: Vec::new(),
            message: told(&e),
        }),
        Ok(dataset) => {
            let manifest = dataset.manifest();
            let samples = manifest.splits.values().map(|s| s.samples);
            let files = manifest.files.iter().map(|f| f.bytes);
            report.checked = Checked {
                files: manifest.files.len() as u64,
                shards: manifest.shards.len() as u64,
                samples: sum(samples),
                windows: sum(manifest.shards.iter().map(|s| s.samples)),
                bytes: sum(files.chain(manifest.shards.iter().map(|s| s.bytes))),
            };
            let problems = manifest.problems();
            report
                .findings
                .extend(problems.iter().map(|problem| Finding {
                    kind: FindingKind::Manifest,
                    file: MANIFEST.into(),
                    split: None,
                    samples: Vec::new(),
                    message: problem.to_string(),
                }));
            report.findings.extend(files::check(&dataset));
            if problems.is_empty() {
                report.findings.extend(groups::check(&dataset));
                report.findings.extend(columns::check(&dataset));
                report.findings.extend(shards::check(&dataset));
            } else {
                // What a manifest that cannot be right says of samples means nothing. Of the bytes of files it may.
                report.findings.extend(shards::check_bytes(&dataset));
            }
        }
    }
    report.ok = report.findings.is_empty();
    report
}

/// The sum, or the largest number where a manifest's numbers add up to more.
fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;

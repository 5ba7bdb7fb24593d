//! What a check finds.

use std::error::Error;
use std::fmt::Write;

use serde::Serialize;

use crate::dataset::DatasetError;

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was checked.
    pub checked: Checked,
}

/// What a check read.
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
    /// Whether files that the manifest does not list were looked for. http(s) servers have no listings.
    pub unexpected_files: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The file or array, relative to the dataset.
    pub file: String,
    /// The split, where the finding is about one.
    pub split: Option<String>,
    /// The samples, by position in the split; empty where the finding is not about single samples.
    pub samples: Vec<u64>,
    /// What was found and what was expected.
    pub message: String,
}

/// Kinds of things that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// There is no manifest, or its contents are not possible.
    Manifest,
    /// A file is missing.
    MissingFile,
    /// A file exists but cannot be read.
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
    /// The claim, the plan or a receipt does not agree with the manifest.
    Plan,
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
            Self::Plan => "plan",
        }
    }
}

/// The error, with the errors that caused it.
pub(super) fn describe(error: &DatasetError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let _ = write!(text, ": {e}");
        cause = e.source();
    }
    text
}

//! What a check finds.

use std::error::Error;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::kind::{FindingKind, Severity};
use crate::dataset::DatasetError;

/// What a check found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Whether nothing is wrong. Warnings do not count.
    pub ok: bool,
    /// What is wrong or suspicious.
    pub findings: Vec<Finding>,
    /// What was checked.
    pub checked: Checked,
}

/// What a check read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
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

/// One thing that is wrong or suspicious.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Whether the dataset is wrong, or only suspicious.
    pub severity: Severity,
    /// The file or array, relative to the dataset.
    pub file: String,
    /// The split, where the finding is about one.
    pub split: Option<String>,
    /// The samples, by position in the split; empty where the finding is not about single samples.
    pub samples: Vec<u64>,
    /// What was found and what was expected.
    pub message: String,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, file: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            severity: kind.severity(),
            file: file.to_owned(),
            split: None,
            samples: Vec::new(),
            message: message.into(),
        }
    }

    /// The same finding, about a split.
    pub(super) fn in_split(self, split: &str) -> Self {
        Self {
            split: Some(split.to_owned()),
            ..self
        }
    }

    /// The same finding, about single samples.
    pub(super) fn in_samples(self, samples: Vec<u64>) -> Self {
        Self { samples, ..self }
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

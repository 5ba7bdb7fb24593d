//! Why a dataset cannot be shown.

use std::io;
use std::path::PathBuf;

use bytesize::ByteSize;

use crate::dataset::DatasetError;
use crate::fault::{Fault, FaultKind};

/// Why a dataset cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Annotations that were asked for are no samples.
    #[error("{dataset} has no sample of the annotation {id}{}", why(reasons))]
    NoSample {
        /// The dataset.
        dataset: String,
        /// The id of the first such annotation.
        id: u64,
        /// The box and the reason for which it was dropped, of each box that it is in.
        reasons: Vec<(String, String)>,
    },
    /// The split of a sample, or the sample, does not exist.
    #[error("{dataset} has no sample {sample:?}: {expected}")]
    NoPosition {
        /// The dataset.
        dataset: String,
        /// As written.
        sample: String,
        /// What exists.
        expected: String,
    },
    /// A report of `check` cannot be read.
    #[error(
        "cannot read {path} as a report of `pointshard check --json`: {problem}; write one with `pointshard check DATASET --json > {path}`"
    )]
    Findings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The report of `check` is about another dataset.
    #[error(
        "{path} is not a report about {dataset}: it names the sample {sample} of the split {split:?}, which does not exist"
    )]
    ForeignFindings {
        /// The file.
        path: PathBuf,
        /// The dataset.
        dataset: String,
        /// The split.
        split: String,
        /// Position of the sample.
        sample: u64,
    },
    /// A browser can find or show neither the sources nor the dataset.
    #[error(
        "a browser cannot find or show {locations}: say where local files are with --map, for example --map /data=https://HOST/data"
    )]
    Unreachable {
        /// The locations.
        locations: String,
    },
    /// The samples take more memory than allowed.
    #[error(
        "{samples} samples need about {needed} of memory, but the limit (--memory) is {limit}: show at most {possible} (--samples)"
    )]
    Memory {
        /// Number of samples.
        samples: u64,
        /// The estimate.
        needed: ByteSize,
        /// The limit.
        limit: ByteSize,
        /// Number of samples within the limit.
        possible: u64,
    },
    /// The memory limit is too small for the check of the samples.
    #[error(
        "--memory {limit} is too low: with {threads} threads, the check of the samples that the preview shows takes {needed}; use fewer --threads or more --memory"
    )]
    CheckMemory {
        /// The limit.
        limit: ByteSize,
        /// What is needed, with the program.
        needed: ByteSize,
        /// Number of threads.
        threads: usize,
    },
    /// A page or picture would replace a file of something else.
    #[error("{path} exists, and pointshard did not write it: delete it, or choose another file")]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A page or picture cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn why(reasons: &[(String, String)]) -> String {
    if reasons.is_empty() {
        return "; the id may be of an annotation outside of all boxes".to_owned();
    }
    let reasons = reasons.iter();
    let reasons: Vec<_> = reasons
        .map(|(name, reason)| format!("; in the box {name:?} it was dropped: {reason}"))
        .collect();
    reasons.concat()
}

impl Fault for PreviewError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Dataset(e) => e.kind(),
            Self::NoSample { .. }
            | Self::NoPosition { .. }
            | Self::Findings { .. }
            | Self::ForeignFindings { .. }
            | Self::ForeignFile { .. }
            | Self::Unreachable { .. }
            | Self::Memory { .. }
            | Self::CheckMemory { .. } => FaultKind::Usage,
            // The user chose the folder.
            Self::Write { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                FaultKind::Usage
            }
            Self::Write { source, .. } => FaultKind::of_write(source),
        }
    }
}

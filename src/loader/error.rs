//! Errors of the loader.

use std::fmt::Display;

use crate::dataset::DatasetError;
use crate::fault::{Fault, FaultKind};

/// Why batches cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The dataset has no such split.
    #[error("the dataset has no split `{split}`: found {found}; choose one of them")]
    NoSplit {
        /// The requested split.
        split: String,
        /// The splits of the dataset.
        found: String,
    },
    /// The dataset has no such array.
    #[error(
        "the dataset has no array `{array}` (requested as {role}): found {found}; choose one of them"
    )]
    NoArray {
        /// The requested array.
        array: String,
        /// What it was requested as.
        role: &'static str,
        /// The arrays of the dataset.
        found: String,
    },
    /// An array cannot be used as requested.
    #[error("the array `{array}` cannot be {role}: found {found}, expected {expected}; {advice}")]
    Array {
        /// Its name.
        array: String,
        /// What it was requested as.
        role: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
        /// What to do.
        advice: &'static str,
    },
    /// No input was named.
    #[error("found no input, expected the name of at least one array")]
    NoInput,
    /// The numbers of targets and masks differ.
    #[error(
        "found {masks} masks for {targets} targets, expected an entry for each target (`None` for a target without a mask)"
    )]
    Masks {
        /// Number of targets.
        targets: usize,
        /// Number of masks.
        masks: usize,
    },
    /// An option has an invalid value.
    #[error("the loader's option `{name}`: found {found}, expected {expected}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A sample cannot be read.
    #[error(
        "cannot load sample {sample} of the split `{split}`; run `pointshard check` to find all damaged samples"
    )]
    Sample {
        /// The split.
        split: String,
        /// Number of the sample in the split.
        sample: u64,
        /// The cause.
        source: DatasetError,
    },
    /// The system cannot start threads.
    #[error("cannot start the threads of the loader: {0}")]
    Threads(String),
    /// A thread of the loader panicked.
    #[error("batch {batch} failed because of a bug in pointshard: {message}; please report it")]
    Panicked {
        /// Number of the batch in the epoch.
        batch: usize,
        /// The message of the panic.
        message: String,
    },
}

impl LoaderError {
    pub(super) fn option(
        name: &'static str,
        found: impl Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Option {
            name,
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

impl Fault for LoaderError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Dataset(e) => e.kind(),
            Self::Sample { source, .. } => source.kind(),
            Self::NoSplit { .. } | Self::NoArray { .. } | Self::Array { .. } => FaultKind::Usage,
            Self::NoInput | Self::Masks { .. } | Self::Option { .. } => FaultKind::Usage,
            Self::Threads(_) => FaultKind::Environment,
            Self::Panicked { .. } => FaultKind::Data,
        }
    }
}

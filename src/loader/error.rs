//! What can go wrong with batches.

use std::fmt::Display;

use crate::dataset::DatasetError;
use crate::fault::{Fault, FaultKind};

/// Why batches cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// There is no such split.
    #[error("the dataset has no split `{split}`: found {found}; name one of those")]
    NoSplit {
        /// What was asked for.
        split: String,
        /// The splits that there are.
        found: String,
    },
    /// There is no such array.
    #[error(
        "the dataset has no array `{array}`, asked for as {role}: found {found}; name one of those"
    )]
    NoArray {
        /// What was asked for.
        array: String,
        /// What it was to be.
        role: &'static str,
        /// The arrays that there are.
        found: String,
    },
    /// An array is not what is needed.
    #[error("the array `{array}` cannot be {role}: found {found}, expected {expected}; {advice}")]
    Array {
        /// Its name.
        array: String,
        /// What it was to be.
        role: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
        /// What to do.
        advice: &'static str,
    },
    /// Targets and masks are not as many.
    #[error(
        "found {masks} masks for {targets} targets, expected one, or none said to be none, for each"
    )]
    Masks {
        /// Number of targets.
        targets: usize,
        /// Number of masks.
        masks: usize,
    },
    /// An option that cannot be.
    #[error("the loader's option `{name}`: found {found}, expected {expected}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A sample cannot be read.
    #[error(
        "cannot load sample {sample} of the split `{split}`; `pointshard check` tells what else is damaged"
    )]
    Sample {
        /// The split.
        split: String,
        /// Number of the sample in the split.
        sample: u64,
        /// What is wrong with it.
        source: DatasetError,
    },
    /// The system gives no threads.
    #[error("cannot start the threads of the loader: {0}")]
    Threads(String),
    /// A thread of the loader panicked.
    #[error(
        "batch {batch} could not be made because of an error in the program: {message}; please report it"
    )]
    Panicked {
        /// Number of the batch in the epoch.
        batch: usize,
        /// What the panic said.
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
            Self::Masks { .. } | Self::Option { .. } => FaultKind::Usage,
            Self::Threads(_) => FaultKind::Environment,
            Self::Panicked { .. } => FaultKind::Data,
        }
    }
}

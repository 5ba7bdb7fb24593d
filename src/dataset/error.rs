//! Why an output cannot be written or read.

use crate::fault::{Fault, FaultKind};
use std::io::ErrorKind;
use std::path::PathBuf;

/// Why a dataset cannot be written or read. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The operating system reports an error.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The output belongs to another plan.
    #[error("{} holds the output of another job: choose another folder, start again with --force, or undo the differences: {what}", folder.display())]
    OtherPlan {
        /// The output folder.
        folder: PathBuf,
        /// Digest of the plan that it belongs to.
        found: String,
        /// Digest of this plan.
        expected: String,
        /// What differs.
        what: String,
    },
    /// The folder is not empty, and pointshard did not write what is in it.
    #[error("{} is not empty and was not written by pointshard (it has no .pointshard/plan.json): choose another folder. --force does not change anything in it either", folder.display())]
    NotAnOutput {
        /// The output folder.
        folder: PathBuf,
    },
    /// The folders of an earlier output hold files that pointshard did not write.
    #[error("{} holds {}{}, which pointshard did not write: --force deletes only files that pointshard wrote, and nothing was deleted. Move your files elsewhere and run again with --force, or choose another folder", folder.display(), file.display(), match others { 0 => String::new(), n => format!(" and {n} more") })]
    ForeignFiles {
        /// The output folder.
        folder: PathBuf,
        /// The first of the files.
        file: PathBuf,
        /// How many more there are.
        others: usize,
    },
    /// A file is where a folder should be.
    #[error("{} is a file, or a path below one; expected a folder, or the name of a new one", folder.display())]
    NotAFolder {
        /// What should be a folder.
        folder: PathBuf,
    },
    /// The folder is not a dataset of pointshard.
    #[error("{} is not a pointshard dataset: {problem}{}", folder.display(), hint.as_ref().map(|h| format!("; did you mean {}?", h.display())).unwrap_or_default())]
    NotADataset {
        /// What should be a dataset.
        folder: PathBuf,
        /// What was found.
        problem: String,
        /// A dataset above or below it.
        hint: Option<PathBuf>,
    },
    /// There is no manifest.
    #[error("{} has no manifest.json, so the dataset is not complete; run `pointshard preprocess` again to finish it", folder.display())]
    NotSealed {
        /// The output folder.
        folder: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected.
        problem: String,
    },
    /// zarrs could not encode, decode or open.
    #[error("{object}: {problem}")]
    Zarr {
        /// The array, or the array and the chunk.
        object: String,
        /// The error of zarrs.
        problem: String,
    },
    /// Shards are missing.
    #[error(
        "{missing} of {expected} shards are not written yet, the first of them is {first}; run `pointshard preprocess` again"
    )]
    Incomplete {
        /// How many are missing.
        missing: usize,
        /// How many there should be.
        expected: usize,
        /// Path of the first.
        first: String,
    },
    /// Every chunk of a source that windows touch is missing.
    #[error(
        "the layer `{layer}`: all {touched} chunks that windows touch are missing in {location}. The path is probably wrong, or the layer is empty there: only its fill value would have been written. Correct the layer. If it is meant to be empty (chunks of zeros are not stored), set \"empty\": \"allow\" in `layers.{layer}` of the config. Then start again with --force"
    )]
    NoStoredChunk {
        /// Name of the layer in the config.
        layer: String,
        /// Where the volume lies.
        location: String,
        /// Chunks that windows touch.
        touched: u64,
    },
}

impl DatasetError {
    /// The error. Where the output belongs to another plan, `difference` gets the digest of that plan and describes the
    /// differences.
    pub(crate) fn with_difference(mut self, difference: impl FnOnce(&str) -> String) -> Self {
        if let Self::OtherPlan { found, what, .. } = &mut self {
            *what = difference(found);
        }
        self
    }

    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl Fault for DatasetError {
    fn kind(&self) -> FaultKind {
        match self {
            // The user chose the folder's name.
            Self::Io { source, .. } if source.kind() == ErrorKind::InvalidFilename => {
                FaultKind::Usage
            }
            Self::Io {
                action: "read",
                source,
                ..
            } => FaultKind::of_read(source),
            Self::Io { source, .. } => FaultKind::of_write(source),
            Self::OtherPlan { .. }
            | Self::NotAnOutput { .. }
            | Self::ForeignFiles { .. }
            | Self::NotAFolder { .. }
            | Self::NotADataset { .. } => FaultKind::Usage,
            Self::NotSealed { .. }
            | Self::Damaged { .. }
            | Self::Zarr { .. }
            | Self::Incomplete { .. }
            | Self::NoStoredChunk { .. } => FaultKind::Data,
        }
    }
}

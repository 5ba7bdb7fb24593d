//! What can go wrong with an output.

use crate::fault::{Fault, FaultKind};
use std::io::ErrorKind;
use std::path::PathBuf;

/// Why a dataset cannot be written or read. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The operating system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The output belongs to another plan.
    #[error("{} holds the output of another job: choose another folder, start anew with --force, or undo what differs: {what}", folder.display())]
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
    /// The folder is full of something else.
    #[error("{} is not empty and was not written by pointshard (it has no .pointshard/plan.json): choose another folder; nothing in it is changed, with --force or without", folder.display())]
    NotAnOutput {
        /// The output folder.
        folder: PathBuf,
    },
    /// There are files among an earlier output's that pointshard did not write.
    #[error("{} holds {}{}, which pointshard did not write: --force deletes only what it wrote, and nothing was deleted. Move what is yours elsewhere, then run again with --force, or choose another folder", folder.display(), file.display(), match others { 0 => String::new(), n => format!(" and {n} more") })]
    ForeignFiles {
        /// The output folder.
        folder: PathBuf,
        /// The first of the files.
        file: PathBuf,
        /// How many more there are.
        others: usize,
    },
    /// There is a file where a folder should be.
    #[error("{} is a file, or lies below one; expected a folder, or the name of a new one", folder.display())]
    NotAFolder {
        /// What should be a folder.
        folder: PathBuf,
    },
    /// Nothing that pointshard wrote is there.
    #[error("{} is no pointshard dataset: {problem}{}", folder.display(), hint.as_ref().map(|h| format!("; did you mean {}?", h.display())).unwrap_or_default())]
    NotADataset {
        /// What should be one.
        folder: PathBuf,
        /// What it is.
        problem: String,
        /// A folder above or below that is one.
        hint: Option<PathBuf>,
    },
    /// There is no manifest.
    #[error("{} has no manifest.json: it is no complete dataset; run `pointshard preprocess` again to finish it", folder.display())]
    NotSealed {
        /// The output folder.
        folder: PathBuf,
    },
    /// A JSON file is not what it should be.
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
        /// The array, and the chunk where it is one.
        object: String,
        /// What zarrs said.
        problem: String,
    },
    /// Shards are missing.
    #[error(
        "{missing} of {expected} shards are not written yet, the first is {first}; run `pointshard preprocess` again"
    )]
    Incomplete {
        /// How many are missing.
        missing: usize,
        /// How many there should be.
        expected: usize,
        /// Path of the first.
        first: String,
    },
    /// A source of which nothing was found.
    #[error(
        "the layer `{layer}`: none of the {touched} chunks that windows touch is stored in {location}: the path is probably wrong, or the layer is empty there. Nothing but its fill value would have been written. Correct the layer or, where it is meant to be empty (chunks of zeros are not stored), set \"empty\": \"allow\" in `layers.{layer}` of the config. Then start anew with --force"
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
    /// The error; where the output belongs to another plan, `difference` gets the digest of that plan and says what
    /// differs.
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
            // The folder's name was given.
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

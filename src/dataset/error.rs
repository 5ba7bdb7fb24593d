//! Why an output cannot be written or read.

use crate::fault::{Fault, FaultKind};
use crate::storage::{StorageError, enough};

/// Why a dataset cannot be written or read. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// An object cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The output is only read.
    #[error("cannot write to {output}: it was opened for reading")]
    ReadOnly {
        /// The output.
        output: String,
    },
    /// A file or object is missing.
    #[error("cannot read {object}: it is missing")]
    Missing {
        /// Its path or URL.
        object: String,
    },
    /// The bytes of a sample cannot be read.
    #[error("{sample}: cannot read it")]
    Sample {
        /// The array and the sample.
        sample: String,
        /// The cause.
        source: StorageError,
    },
    /// The output belongs to another job.
    #[error(
        "{output} holds the output of another job: choose another folder, start again with --force, or undo the differences: {what}"
    )]
    OtherPlan {
        /// The output.
        output: String,
        /// What differs.
        what: String,
    },
    /// Another process writes to the output, and this one cannot work beside it.
    #[error(
        "another pointshard process writes to {output}: wait until it ends, or stop it, then run the same command again"
    )]
    Busy {
        /// The output.
        output: String,
    },
    /// Another process overwrote the output with `--force`, or it was replaced.
    #[error(
        "{output} belongs to another job now: while this process wrote to it, another one overwrote it; use a separate folder for each job"
    )]
    Overwritten {
        /// The output.
        output: String,
    },
    /// The output was deleted while a process wrote to it.
    #[error(
        "{output} was deleted or moved while pointshard wrote to it (.pointshard/claim.json is missing); delete what is left of it, then run the same command again to start anew"
    )]
    OutputRemoved {
        /// The output.
        output: String,
    },
    /// The folder is not empty, and pointshard did not write what is in it.
    #[error(
        "{output} is not empty and was not written by pointshard (it has no .pointshard/claim.json): choose another folder. --force does not change anything in it either"
    )]
    NotAnOutput {
        /// The output.
        output: String,
    },
    /// The output has no plan yet.
    #[error(
        "{output} has no plan (.pointshard/plan.json); run `pointshard plan CONFIG --out {output}` or `pointshard preprocess CONFIG --out {output}`"
    )]
    NoPlan {
        /// The output.
        output: String,
    },
    /// The folders of an earlier output hold files that pointshard did not write.
    #[error("{output} holds {file}{}, which pointshard did not write: --force deletes only files that pointshard wrote, and nothing was deleted. Move your files elsewhere and run again with --force, or choose another folder", match others { 0 => String::new(), n => format!(" and {n} more") })]
    ForeignFiles {
        /// The output.
        output: String,
        /// The first of the files.
        file: String,
        /// How many more there are.
        others: usize,
    },
    /// A file is where a folder should be.
    #[error("{folder} is a file, or a path below one; expected a folder, or the name of a new one")]
    NotAFolder {
        /// What should be a folder.
        folder: String,
    },
    /// The folder is not a dataset of pointshard.
    #[error("{folder} is not a pointshard dataset: {problem}{}", hint.as_ref().map(|h| format!("; did you mean {h}?")).unwrap_or_default())]
    NotADataset {
        /// What should be a dataset.
        folder: String,
        /// What was found.
        problem: String,
        /// A dataset above or below it.
        hint: Option<String>,
    },
    /// There is no manifest.
    #[error(
        "{folder} has no manifest.json, so the dataset is not complete; run `pointshard preprocess` again to finish it"
    )]
    NotSealed {
        /// The output folder.
        folder: String,
    },
    /// A file does not hold what it should.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// The file's path or URL.
        path: String,
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
    /// The memory limit is too small for a check.
    #[error("--memory {limit} is too low: with {threads} threads, the check takes {needed}; use fewer --threads or more --memory", limit = bytesize::ByteSize(*limit_bytes), needed = enough(*needed_bytes))]
    CheckMemory {
        /// The limit.
        limit_bytes: u64,
        /// What is needed, with the program.
        needed_bytes: u64,
        /// Number of threads.
        threads: usize,
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

impl Fault for DatasetError {
    fn kind(&self) -> FaultKind {
        match self {
            // The user chose the name of the output.
            Self::Storage(e) if e.is_invalid_name() => FaultKind::Usage,
            Self::Storage(e) | Self::Sample { source: e, .. } => e.kind(),
            Self::Busy { .. } | Self::OutputRemoved { .. } => FaultKind::Environment,
            Self::OtherPlan { .. }
            | Self::NoPlan { .. }
            | Self::Overwritten { .. }
            | Self::NotAnOutput { .. }
            | Self::ForeignFiles { .. }
            | Self::NotAFolder { .. }
            | Self::NotADataset { .. }
            | Self::ReadOnly { .. }
            | Self::CheckMemory { .. } => FaultKind::Usage,
            Self::NotSealed { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Zarr { .. }
            | Self::Incomplete { .. }
            | Self::NoStoredChunk { .. } => FaultKind::Data,
        }
    }
}

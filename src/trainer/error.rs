//! Errors of training and inference.

use std::path::{Path, PathBuf};

use pointshard::trainer_api::LoaderError;
use pointshard::{DatasetError, Fault, FaultKind};
use tch::TchError;

/// Why training or inference failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The dataset cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Batches cannot be loaded from the dataset.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The config doesn't fit this machine or this dataset.
    #[error("at `{path}`: {problem}")]
    Config {
        /// JSON path of the value.
        path: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// The run folder contains another training.
    #[error(
        "{} contains another training: {difference}; choose another folder with --out, or overwrite it with --force",
        folder.display()
    )]
    OtherRun {
        /// The run folder.
        folder: PathBuf,
        /// What differs.
        difference: String,
    },
    /// The loss is NaN or infinite.
    #[error(
        "the {of} loss is {loss} at step {step}: the training diverged, or the samples contain NaN or infinite values; try a smaller `optimizer.lr` and check the data"
    )]
    Diverged {
        /// `training` or `validation`.
        of: &'static str,
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A file of weights or a TorchScript module cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// A verb: `read`, `write`, `create` or `remove`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// An error in libtorch.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl TrainError {
    pub(super) fn config(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config {
            path: path.into(),
            problem: problem.into(),
        }
    }

    pub(super) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

impl From<TchError> for TrainError {
    fn from(error: TchError) -> Self {
        Self::Torch(without_frames(&error))
    }
}

/// libtorch's message without the C++ stack frames below it.
pub(super) fn without_frames(error: &TchError) -> String {
    let text = match error {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    let end = text.find("\nException raised from").unwrap_or(text.len());
    let mut message = text[..end].trim().to_owned();
    if message.contains("out of memory") {
        message.push_str("; use a smaller `batch_size`, `crop` or network");
    }
    message
}

impl Fault for TrainError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Dataset(e) => e.kind(),
            Self::Loader(e) => e.kind(),
            Self::Config { .. } | Self::OtherRun { .. } => FaultKind::Usage,
            Self::Io {
                doing: "read",
                source,
                ..
            } => FaultKind::of_read(source),
            Self::Io { source, .. } => FaultKind::of_write(source),
            Self::Diverged { .. } | Self::File { .. } | Self::Torch(_) => FaultKind::Data,
        }
    }
}

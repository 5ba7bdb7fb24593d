//! Errors of a config: the file, the JSON path, what was found, what is allowed.

use std::path::{Path, PathBuf};

use super::nearest;

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the config {}", file.display())]
    Read {
        /// The config file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It does not say what a config must say.
    #[error("{}: at `{path}`: {problem}", file.display())]
    Invalid {
        /// The config file.
        file: PathBuf,
        /// JSON path of the value; `.` is the whole document.
        path: String,
        /// What was found and what is allowed.
        problem: String,
    },
}

impl ConfigError {
    pub(crate) fn invalid(file: &Path, path: impl Into<String>, problem: String) -> Self {
        Self::Invalid {
            file: file.to_owned(),
            path: path.into(),
            problem,
        }
    }

    pub(super) fn from_json(
        file: &Path,
        error: serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let path = error.path().to_string();
        let mut problem = error.into_inner().to_string();
        if let Some(hint) = hint(&problem) {
            problem = format!("{problem}; did you mean `{hint}`?");
        }
        Self::invalid(file, path, problem)
    }
}

/// The nearest allowed name, for serde's "unknown field `x`, expected one of `a`, `b`" (and its "unknown
/// variant"), which is the only form in which serde hands them over.
fn hint(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let found = names.next()?;
    nearest(found, names).map(str::to_owned)
}

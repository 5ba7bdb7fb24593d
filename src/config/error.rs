//! Errors of a config: the file, the JSON path, what was found, what is allowed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::error::Category;

use super::nearest;
use crate::fault::{Fault, FaultKind};
use crate::storage::redacted;

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the config {}", file.display())]
    Read {
        /// The config file.
        file: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A value is invalid.
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
            // Serde's messages have the value that was found.
            problem: redacted(&problem).into_owned(),
        }
    }

    /// The text is not JSON, or has a repeated name.
    pub(super) fn from_json(
        file: &Path,
        error: serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        // If the text is not JSON, the path may end in a question mark.
        let path = error.path().to_string();
        let path = path.split('?').next().unwrap_or_default();
        let path = match path.trim_end_matches('.') {
            "" => ".",
            path => path,
        };
        let error = error.into_inner();
        let problem = match error.classify() {
            Category::Data => error.to_string(),
            _ => format!("{error}; expected plain JSON in UTF-8, without comments"),
        };
        Self::invalid(file, path, problem)
    }

    /// The text is JSON, but not a config.
    pub(super) fn from_value(
        file: &Path,
        error: serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let path = error.path().to_string();
        let mut problem = for_json_authors(error.into_inner().to_string());
        if let Some(hint) = hint(&problem) {
            problem = format!("{problem}; did you mean `{hint}`?");
        }
        Self::invalid(file, path, problem)
    }
}

/// Rewrites a message of serde_json for people who write JSON: it reports a list or object with too many members as a
/// syntax error, and calls an object by the name of a Rust struct.
fn for_json_authors(message: String) -> String {
    // Lists of a fixed length are all triples.
    if let Some(at) = message.strip_prefix("trailing characters") {
        return format!("found more than three values, expected three: x, y, z{at}");
    }
    if let Some(at) = message.strip_prefix("expected value") {
        return format!("found several members, expected an object with one{at}");
    }
    match message.split_once("expected struct ") {
        Some((before, after)) => {
            let name = |c: char| c.is_alphanumeric();
            let after = after.trim_start_matches(name);
            format!("{before}expected an object{after}")
        }
        None => message,
    }
}

/// The closest allowed name in serde's "unknown field `x`, expected one of `a`, `b`" or "unknown variant": serde gives the
/// names only in this message.
fn hint(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let found = names.next()?;
    nearest(found, names).map(str::to_owned)
}

impl Fault for ConfigError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } => match FaultKind::of_read(source) {
                // A config that may not be read was named by mistake, as one that does not exist.
                FaultKind::Environment if source.kind() != ErrorKind::PermissionDenied => {
                    FaultKind::Environment
                }
                _ => FaultKind::Usage,
            },
            Self::Invalid { .. } => FaultKind::Usage,
        }
    }
}

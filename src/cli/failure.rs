//! Errors of commands and their exit codes.

use std::process::ExitCode;

use crate::fault::{Fault, FaultKind};

/// An error and its kind, which determines the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: anyhow::Error,
    kind: FaultKind,
}

impl Failure {
    pub fn new(kind: FaultKind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            kind,
        }
    }

    /// 1, 2 or 75: see [`FaultKind`].
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }
}

impl<E: Fault + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.kind(), error)
    }
}

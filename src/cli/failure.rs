//! Errors of commands and their exit codes.

use std::process::ExitCode;

use crate::fault::{Fault, FaultKind};

/// An error and its exit code.
#[derive(Debug)]
pub struct Failure {
    pub error: anyhow::Error,
    exit_code: u8,
}

impl Failure {
    pub fn new(kind: FaultKind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            exit_code: kind.exit_code(),
        }
    }

    /// An error with an exit code of its own.
    pub fn with_exit_code(exit_code: u8, error: anyhow::Error) -> Self {
        Self { error, exit_code }
    }

    /// 1, 2 or 75, see [`FaultKind`], or 128 and the number of a signal.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_code)
    }
}

impl<E: Fault + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.kind(), error)
    }
}

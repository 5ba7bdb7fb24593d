//! Why no plan was finished.

use crate::extract::ExtractError;
use crate::fault::{Fault, FaultKind};
use crate::plan::PlanError;

/// Why no plan was finished.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// A volume cannot be read, or a window cannot be cut.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The samples cannot be used together.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl Fault for SelectError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Extract(e) => e.kind(),
            Self::Plan(e) => e.kind(),
        }
    }
}

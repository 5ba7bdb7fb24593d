//! `train` and `infer` in a binary built without the trainer: an error that says how to get it.

use std::process::ExitCode;

use crate::fault::FaultKind;
use clap::Args;

use super::failure::Failure;

/// Train or predict (not available in this binary)
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct TrainerUnavailable {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<std::ffi::OsString>,
}

impl TrainerUnavailable {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        Err(Failure::new(
            FaultKind::Usage,
            anyhow::anyhow!(
                "this binary was built without the trainer; rebuild it with the cargo feature `tch` (see docs/train.md)"
            ),
        ))
    }
}

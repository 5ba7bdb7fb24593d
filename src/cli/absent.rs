//! `train` and `infer` where the program was built without them.

use std::process::ExitCode;

use crate::fault::FaultKind;
use clap::Args;

use super::Failure;

/// Train or predict; not in this program
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Absent {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<std::ffi::OsString>,
}

impl Absent {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        Err(Failure::new(
            FaultKind::Usage,
            anyhow::anyhow!(
                "this program was built without the trainer: build it with the cargo feature `tch`, as docs/train.md says"
            ),
        ))
    }
}

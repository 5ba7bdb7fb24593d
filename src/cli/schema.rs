//! `pointshard schema`: the JSON Schema of the config.

use std::process::ExitCode;

use clap::Args;
use pointshard::config::Config;

use super::Failure;
use super::printer::Printer;

/// Print the JSON Schema of the config
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, printer: Printer) -> Result<ExitCode, Failure> {
        printer.result(format!("{:#}", Config::schema()));
        Ok(ExitCode::SUCCESS)
    }
}

//! `pointshard schema`: the JSON Schema of the config.

use std::process::ExitCode;

use crate::config::Config;
use clap::Args;

use super::Failure;
use super::printer::Printer;

/// Print the JSON Schema of the config
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Of the config of `train`
    #[cfg(feature = "tch")]
    #[arg(long)]
    train: bool,
}

impl Schema {
    pub(super) fn run(self, printer: Printer) -> Result<ExitCode, Failure> {
        let schema = Config::schema;
        #[cfg(feature = "tch")]
        let schema = match self.train {
            true => crate::trainer::TrainConfig::schema,
            false => schema,
        };
        printer.json(&schema())?;
        Ok(ExitCode::SUCCESS)
    }
}

//! `pointshard schema`: prints the JSON Schema of the config.

use std::process::ExitCode;

use crate::config::Config;
use clap::Args;

use super::failure::Failure;
use super::printer::Printer;

/// Print the JSON Schema of the config
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Print the schema of the config of `train` instead
    #[cfg(feature = "tch")]
    #[arg(long)]
    train: bool,
}

impl Schema {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let schema = Config::schema;
        #[cfg(feature = "tch")]
        let schema = if self.train {
            crate::train_config::TrainConfig::schema
        } else {
            schema
        };
        printer.json(&schema())?;
        Ok(ExitCode::SUCCESS)
    }
}

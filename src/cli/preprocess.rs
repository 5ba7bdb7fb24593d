//! `pointshard preprocess`: plan, extract, seal; again: resume.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::RunArgs;
use super::{Failure, local};

/// Make the shards of a job; run again, do only what is missing
#[derive(Debug, Args)]
pub(super) struct Preprocess {
    /// The job description (JSON; `pointshard schema` prints its schema)
    #[arg(value_parser = local::read())]
    config: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR", value_parser = local::written())]
    out: PathBuf,
    /// Delete what a job wrote to the folder, another one or this one, and start anew
    #[arg(long)]
    force: bool,
    /// Say what would be read and written, and do neither
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl Preprocess {
    pub(super) fn run(self, printer: Printer) -> Result<ExitCode, Failure> {
        self.network.choose(printer);
        match self.dry_run {
            true => self
                .run
                .dry_run(printer, &self.config, &self.out, self.force)?,
            false => {
                self.run
                    .run_job(printer, &self.config, &self.out, self.force)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

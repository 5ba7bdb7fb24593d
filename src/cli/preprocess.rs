//! `pointshard preprocess`: runs a job, or resumes it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::local_path;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::RunArgs;

/// Cut windows and write shards; rerun to resume
#[derive(Debug, Args)]
pub(super) struct Preprocess {
    /// Config file of the job (JSON; `pointshard schema` prints its schema)
    #[arg(value_parser = local_path::input())]
    config: PathBuf,
    /// Output folder
    #[arg(long, value_name = "DIR", value_parser = local_path::output())]
    out: PathBuf,
    /// Overwrite existing pointshard output
    #[arg(long)]
    force: bool,
    /// Print what would be read and written, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl Preprocess {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        if self.dry_run {
            self.run
                .dry_run(printer, storage, &self.config, &self.out, self.force)?;
        } else {
            self.run
                .run_job(printer, storage, &self.config, &self.out, self.force)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

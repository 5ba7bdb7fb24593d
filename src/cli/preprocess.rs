//! `pointshard preprocess`: plan, extract, seal; again: resume.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use pointshard::storage::Network;

use super::Failure;
use super::printer::Printer;
use super::run::RunArgs;

/// Make the shards of a job; run again, do only what is missing
#[derive(Debug, Args)]
pub(super) struct Preprocess {
    /// The job description (JSON; `pointshard schema` prints its schema)
    config: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Delete what another job wrote to the folder, and start anew
    #[arg(long)]
    force: bool,
    /// How long a server may say nothing until a request is given up and made again
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Requests to servers that are in flight at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    requests: u16,
    #[command(flatten)]
    run: RunArgs,
}

impl Preprocess {
    pub(super) fn run(self, printer: Printer) -> Result<ExitCode, Failure> {
        Network {
            idle_timeout: Duration::from_secs(self.idle_timeout),
            requests: self.requests.into(),
        }
        .choose();
        self.run
            .run_job(printer, &self.config, &self.out, self.force)?;
        Ok(ExitCode::SUCCESS)
    }
}

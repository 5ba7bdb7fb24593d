//! `pointshard seal`: finishes a dataset whose shards are all written.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::location;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::RunArgs;
use super::summary::complete;
use crate::job::PlannedOutput;
use crate::storage::Location;

/// Write metadata, index columns and manifest, when all shards are written
#[derive(Debug, Args)]
pub(super) struct Seal {
    /// Output: a folder, or a URL of one in a bucket (s3://, gs://)
    #[arg(value_name = "OUT", value_parser = location::output())]
    out: Location,
    /// Read all shards and compare them with their digests, not only their sizes
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl Seal {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        let options = self.run.options(false, self.verify);
        let seal = || PlannedOutput::open(&self.out, options, storage)?.seal(options);
        let manifest = self.run.pool()?.install(seal)?;
        for warning in &manifest.warnings {
            printer.warn(warning);
        }
        printer.result(complete(&manifest, &self.out));
        Ok(ExitCode::SUCCESS)
    }
}

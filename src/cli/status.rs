//! `pointshard status`: which shards of an output are written.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::location;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::rows::Rows;
use super::run::RunArgs;
use crate::job::{ArrayStatus, PlannedOutput, Status};
use crate::storage::Location;

/// Print which shards of an output are written and which are missing
#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    /// Output: a folder, or a URL of one in a bucket (s3://, gs://)
    #[arg(value_name = "OUT", value_parser = location::output())]
    out: Location,
    /// Read all shards and compare them with their digests, not only their sizes
    #[arg(long)]
    verify: bool,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl StatusCommand {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        let options = self.run.options(false, self.verify);
        let look = || PlannedOutput::status(&self.out, options, storage);
        let status = self.run.pool()?.install(look)?;
        if self.json {
            printer.json(&status)?;
        } else {
            self.print(printer, &status);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, printer: &Printer, status: &Status) {
        let mut table = Rows::new(["split", "array", "shards", "missing", "first missing"]);
        for array in &status.arrays {
            table.add_row([
                array.split.clone(),
                array.array.clone(),
                array.shards.to_string(),
                array.missing.len().to_string(),
                first_missing(array),
            ]);
        }
        printer.rows(&table);
        let (present, all) = (status.present, status.shards);
        let next = if status.complete {
            printer.result(format!("complete: {all} of {all} shards, and the manifest"));
            return;
        } else if present == all {
            printer.result(format!(
                "{all} of {all} shards are written, the manifest is not"
            ));
            "seal"
        } else {
            printer.result(format!("{present} of {all} shards are written"));
            "preprocess --out"
        };
        printer.result(format!("next: pointshard {next} {}", self.out));
    }
}

/// The first few missing shards.
fn first_missing(array: &ArrayStatus) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = array
        .missing
        .iter()
        .take(SHOWN)
        .map(u64::to_string)
        .collect();
    match array.missing.len() {
        0 => "-".to_owned(),
        n if n > SHOWN => format!("{}, ...", shown.join(", ")),
        _ => shown.join(", "),
    }
}

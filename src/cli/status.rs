//! `pointshard status`: which shards of an output are written.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanCount, HumanDuration};
use serde::Serialize;

use super::failure::Failure;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::rows::Rows;
use super::run::RunArgs;
use super::{command, location};
use crate::job::{ArrayStatus, PlannedOutput, Status, TaskStatus, Throughput};
use crate::plan::list_of_tasks;
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
            let next = self.next(&status);
            printer.json(&StatusWithNext {
                status: &status,
                next,
            })?;
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
        print_tasks(printer, &status.tasks);
        if let Some(throughput) = &status.throughput {
            print_throughput(printer, throughput);
        }
        let (present, all) = (status.present, status.shards);
        if status.complete {
            printer.result(format!("complete: {all} of {all} shards, and the manifest"));
        } else if present == all {
            printer.result(format!(
                "{all} of {all} shards are written, the manifest is not"
            ));
        } else {
            printer.result(format!("{present} of {all} shards are written"));
        }
        if let Some(next) = self.next(status) {
            printer.result(format!("next: {next}"));
        }
    }

    /// The command to run next; `None` if the dataset is complete.
    fn next(&self, status: &Status) -> Option<String> {
        let out = &self.out;
        let mut unfinished = status.tasks.iter().filter(|t| t.missing > 0);
        match (unfinished.next(), status.tasks.len() as u32) {
            _ if status.complete => None,
            (None, _) => Some(command::seal(out)),
            (Some(_), 1) => Some(command::preprocess(out)),
            (Some(first), tasks) => Some(command::preprocess_task(out, first.task, tasks)),
        }
    }
}

/// The status as JSON.
#[derive(Serialize)]
struct StatusWithNext<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// The command to run next.
    next: Option<String>,
}

/// Prints which tasks are unfinished, where there are several.
fn print_tasks(printer: &Printer, tasks: &[TaskStatus]) {
    let unfinished = tasks.iter().filter(|t| t.missing > 0).map(|t| t.task);
    let unfinished: Vec<u32> = unfinished.collect();
    if tasks.len() < 2 {
        return;
    }
    let done = tasks.len() - unfinished.len();
    printer.result(format!(
        "tasks: {done} of {} are done{}",
        tasks.len(),
        if unfinished.is_empty() {
            String::new()
        } else {
            format!("; unfinished: {}", list_of_tasks(&unfinished))
        }
    ));
}

fn print_throughput(printer: &Printer, throughput: &Throughput) {
    let rate = throughput.windows_per_second;
    let ago = Duration::from_secs_f64(throughput.seconds_since_last_shard);
    let left = throughput.windows_missing as f64 / rate.max(1e-9);
    let left = Duration::from_secs_f64(left.min(1e9));
    let left = match throughput.windows_missing {
        0 => String::new(),
        windows => format!(
            "; {} windows left, about {}",
            HumanCount(windows),
            HumanDuration(left)
        ),
    };
    printer.result(format!(
        "rate: {} windows/s; last shard written {} ago{left}",
        HumanCount(rate as u64),
        HumanDuration(ago)
    ));
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

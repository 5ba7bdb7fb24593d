//! `pointshard check`: verifies a dataset and prints its findings as a table or as JSON.

use std::process::ExitCode;

use crate::check::{self, Finding, Report};
use crate::dataset::Dataset;
use crate::storage::{Location, Storage};
use bytesize::ByteSize;
use clap::Args;
use indicatif::HumanCount;

use super::failure::Failure;
use super::location;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::rows::Rows;
use super::run::RunArgs;
use super::summary::{boxes_table, counted, print_sources};

/// Verify a dataset: files, checksums and values; the exit code is 1 if anything is wrong
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_name = "DATASET", value_parser = location::output())]
    out: Location,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl Check {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        printer.note(format!("checking {}", self.out));
        if printer.is_verbose() && !self.json {
            self.print_contents(printer, storage);
        }
        let options = self.run.check_options();
        let pool = self.run.pool()?;
        let report = pool.install(|| check::check(&self.out, options, storage))?;
        if self.json {
            printer.json(&report)?;
        } else {
            print(printer, &report);
        }
        Ok(exit_code(&report))
    }

    /// Prints the boxes and sources of the dataset. Problems with its manifest are findings of the report.
    fn print_contents(&self, printer: &Printer, storage: &Storage) {
        if let Ok(dataset) = Dataset::open(&self.out, storage) {
            printer.rows(&boxes_table(&dataset.manifest().boxes));
            print_sources(printer, dataset.manifest());
        }
    }
}

/// Success if nothing is wrong.
pub(super) fn exit_code(report: &Report) -> ExitCode {
    if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the report as a table and a summary line.
pub(super) fn print(printer: &Printer, report: &Report) {
    let checked = &report.checked;
    if !report.findings.is_empty() {
        let mut table = Rows::left_aligned(["finding", "file", "samples", "details"]);
        for f in &report.findings {
            table.add_row([f.kind.name(), &f.file, &samples(f), &f.message]);
        }
        printer.rows(&table);
    }
    printer.result(format!(
        "{}: checked {} shards and {} other files ({}), {} samples; decoded {} windows; {}",
        if report.ok { "ok" } else { "failed" },
        HumanCount(checked.shards),
        HumanCount(checked.files),
        ByteSize(checked.bytes),
        HumanCount(checked.samples),
        HumanCount(checked.windows),
        counted(report.findings.len(), "finding", "findings")
    ));
    if checked.files > 0 && !checked.unexpected_files {
        printer.result(
            "files that the manifest does not list were not looked for, because http(s) servers have no listings",
        );
    }
}

/// The samples of a finding as ranges: `0-3, 7`.
fn samples(finding: &Finding) -> String {
    let mut sorted = finding.samples.clone();
    sorted.sort_unstable();
    let ranges: Vec<_> = sorted
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [one] => one.to_string(),
            run => format!("{}-{}", run[0], run[run.len() - 1]),
        })
        .collect();
    match ranges.len() {
        0 => "-".into(),
        n if n > 6 => format!(
            "{}, ... ({} in total)",
            ranges[..6].join(", "),
            sorted.len()
        ),
        _ => ranges.join(", "),
    }
}

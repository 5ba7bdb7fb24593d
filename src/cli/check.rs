//! `pointshard check`: verifies a dataset and prints its findings as a table or as JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::check::{self, Finding, Report};
use crate::dataset::Dataset;
use crate::fault::{Fault, FaultKind};
use bytesize::ByteSize;
use clap::Args;
use indicatif::HumanCount;

use super::failure::Failure;
use super::local_path;
use super::printer::Printer;
use super::rows::Rows;
use super::run::Threads;
use super::summary::{boxes_table, counted, print_sources};

/// Verify a dataset: files, checksums and values; the exit code is 1 if anything is wrong
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Dataset folder
    #[arg(value_name = "DATASET", value_parser = local_path::input())]
    out: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

impl Check {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let dataset = match Dataset::open(&self.out) {
            Err(e) if e.kind() == FaultKind::Usage => return Err(e.into()),
            // Any other problem with the manifest becomes a finding of the report.
            opened => opened.ok(),
        };
        printer.note(format!("checking {}", self.out.display()));
        if let Some(dataset) = dataset.filter(|_| printer.is_verbose() && !self.json) {
            printer.rows(&boxes_table(&dataset.manifest().boxes));
            print_sources(printer, dataset.manifest());
        }
        let report = self.threads.pool()?.install(|| check::check(&self.out));
        if self.json {
            printer.json(&report)?;
        } else {
            print(printer, &report);
        }
        Ok(exit_code(&report))
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

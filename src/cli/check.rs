//! `pointshard check`: a table for people, JSON for programs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::check::{self, Finding, Report};
use crate::dataset::Dataset;
use crate::fault::{Fault, FaultKind};
use bytesize::ByteSize;
use clap::Args;
use indicatif::HumanCount;

use super::printer::Printer;
use super::rows::Rows;
use super::run::Threads;
use super::summary::{boxes_table, print_sources};
use super::{Failure, local};

/// Prove that a dataset is whole and right; exit code 1 where it is not
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The dataset's folder
    #[arg(value_parser = local::read())]
    out: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

impl Check {
    pub(super) fn run(self, printer: Printer) -> Result<ExitCode, Failure> {
        let dataset = match Dataset::open(&self.out) {
            Err(e) if e.kind() == FaultKind::Usage => return Err(e.into()),
            // What else is wrong with the manifest is a finding.
            opened => opened.ok(),
        };
        printer.note(format!("checking {}", self.out.display()));
        if let Some(dataset) = dataset.filter(|_| printer.is_verbose() && !self.json) {
            printer.rows(&boxes_table(&dataset.manifest().boxes));
            print_sources(printer, dataset.manifest());
        }
        let report = self.threads.pool()?.install(|| check::run(&self.out));
        match self.json {
            true => {
                printer.json(&report)?;
            }
            false => print(printer, &report),
        }
        Ok(match report.ok {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Prints the report for people.
pub(super) fn print(printer: Printer, report: &Report) {
    let checked = &report.checked;
    if !report.findings.is_empty() {
        let mut table = Rows::of_text(["wrong", "file", "samples", "what"]);
        for f in &report.findings {
            table.add_row([f.kind.name(), &f.file, &samples(f), &f.message]);
        }
        printer.rows(&table);
    }
    printer.result(format!(
        "{}: {} shards and {} other files ({}), {} samples, {} windows decoded, {} finding(s)",
        if report.ok { "ok" } else { "wrong" },
        HumanCount(checked.shards),
        HumanCount(checked.files),
        ByteSize(checked.bytes),
        HumanCount(checked.samples),
        HumanCount(checked.windows),
        report.findings.len()
    ));
}

/// The samples as ranges: `0-3, 7`.
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
        n if n > 6 => format!("{}, ... ({} in all)", ranges[..6].join(", "), sorted.len()),
        _ => ranges.join(", "),
    }
}

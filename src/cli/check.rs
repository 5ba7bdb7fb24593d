//! `pointshard check`: verifies a dataset and prints its findings as a table or as JSON.

use std::process::ExitCode;

use crate::check::{self, CheckLevel, Finding, Report, Severity, SourceSamples};
use crate::dataset::Dataset;
use crate::extract::Progress;
use crate::storage::{Location, Storage};
use bytesize::ByteSize;
use clap::Args;

use super::control_chars;
use super::failure::Failure;
use super::location;
use super::network::NetworkArgs;
use super::printer::{Color, Printer};
use super::rows::shortened;
use super::run::{RunArgs, run_with_progress};
use super::signals::interruptible;
use super::summary::{boxes_table, counted, print_sources};

/// Verify a dataset: files, checksums, values and columns; the exit code is 1 if anything is wrong
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_name = "DATASET", value_parser = location::output())]
    out: Location,
    /// Verify only sizes and digests of files
    #[arg(long, conflicts_with = "sample")]
    quick: bool,
    /// Decode only this many random samples of each split; of other shards, verify only the size
    #[arg(long, value_name = "K")]
    sample: Option<u64>,
    /// Choose other random samples
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    seed: u64,
    /// Cut the samples again from the sources, in another and slower way, and compare them; with --sample, only those that it chooses
    #[arg(long, conflicts_with = "quick")]
    source: bool,
    /// Write what is damaged again, with the same bytes, and check again. Needs the sources if samples are damaged
    #[arg(long)]
    repair: bool,
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
        let options = self.run.check_options(self.level());
        let pool = self.run.pool()?;
        let check = || pool.install(|| check::check(&self.out, options, storage));
        let mut report = check()?;
        for _ in 0..MAX_REPAIRS {
            if !self.repair || !report.can_be_repaired() {
                break;
            }
            self.print_damage(printer, &report);
            pool.install(|| self.repair(printer, storage, &report))?;
            // A manifest that was damaged hid what is wrong with the files that it lists.
            report = check()?;
        }
        if self.source && report.ok {
            pool.install(|| self.compare_sources(printer, storage, &mut report))?;
        } else if self.source {
            printer.note("the sources were not compared, because the dataset is damaged");
        }
        if self.json {
            printer.json(&report)?;
        } else {
            print(printer, &report, &self.out);
        }
        Ok(exit_code(&report))
    }

    fn level(&self) -> CheckLevel {
        match self.sample {
            _ if self.quick => CheckLevel::Quick,
            Some(samples) => CheckLevel::Sample {
                samples,
                seed: self.seed,
            },
            None => CheckLevel::Full,
        }
    }

    /// Compares samples with their sources, and adds the findings to the report.
    fn compare_sources(
        &self,
        printer: &Printer,
        storage: &Storage,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let samples = match self.sample {
            Some(samples) => SourceSamples::Random {
                samples,
                seed: self.seed,
            },
            None => SourceSamples::All,
        };
        printer.note("comparing samples with their sources");
        let options = self.run.options(false, false);
        let compare = || Ok(check::check_source(&self.out, samples, options, storage)?);
        let (findings, windows) = interruptible(printer, storage, compare)?;
        printer.note(format!(
            "{} compared with the sources",
            counted(windows, "window", "windows")
        ));
        report.ok = findings.is_empty();
        report.findings.extend(findings);
        Ok(())
    }

    /// Prints what is repaired, as progress.
    fn print_damage(&self, printer: &Printer, report: &Report) {
        for finding in &report.findings {
            if finding.severity == Severity::Error {
                printer.note(line(finding));
            }
        }
        printer.note(format!("repairing {}", self.out));
    }

    fn repair(&self, printer: &Printer, storage: &Storage, report: &Report) -> Result<(), Failure> {
        let options = self.run.options(false, false);
        let repair = |progress: &Progress| {
            Ok(check::repair(
                &self.out, report, options, storage, progress,
            )?)
        };
        let outcome = run_with_progress(printer, storage, repair)?;
        let written = outcome.extracted.shards_written;
        printer.note(format!(
            "{} written again",
            counted(written, "shard", "shards")
        ));
        Ok(())
    }

    /// Prints the boxes and sources of the dataset. Problems with its manifest are findings of the report.
    fn print_contents(&self, printer: &Printer, storage: &Storage) {
        if let Ok(dataset) = Dataset::open(&self.out, storage) {
            printer.rows(&boxes_table(printer, &dataset.manifest().boxes));
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

/// Prints the findings, a line each, and a summary line. With `-v`, each finding is followed by its message.
pub(super) fn print(printer: &Printer, report: &Report, location: &Location) {
    let checked = &report.checked;
    for finding in &report.findings {
        print_finding(printer, finding);
    }
    let errors = report
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error);
    let errors = errors.count();
    let warnings = report.findings.len() - errors;
    let (color, word) = if report.ok {
        (Color::Green, "ok")
    } else {
        (Color::Red, "failed")
    };
    let summary = format!(
        ": checked {} and {} ({}), {}; decoded {}; {}, {}",
        counted(checked.shards, "shard", "shards"),
        counted(checked.files, "other file", "other files"),
        ByteSize(checked.bytes),
        counted(checked.samples, "sample", "samples"),
        counted(checked.windows, "window", "windows"),
        counted(errors, "error", "errors"),
        counted(warnings, "warning", "warnings"),
    );
    printer.colored(color, word, summary);
    if report.can_be_repaired() {
        printer.detail(if location.is_writable() {
            "to repair the dataset: the same command with --repair"
        } else {
            "to repair the dataset: check it with --repair where it can be written to; http(s) servers cannot be written to"
        });
    }
    if !report.findings.is_empty() && !printer.is_verbose() {
        printer.detail(
            "details: -v or --json; what each finding means, and what to do: docs/check.md",
        );
    }
    if checked.files > 0 && !checked.unexpected_files {
        printer.detail(
            "files that the manifest does not list were not looked for, because http(s) servers have no listings",
        );
    }
}

/// Most repairs of a run. The second one repairs what a damaged manifest hid.
const MAX_REPAIRS: usize = 3;

/// Widths of the columns of a finding's line, so that it has 80 characters at most.
const SEVERITY_WIDTH: usize = 8;
const KIND_WIDTH: usize = 20;
const FILE_WIDTH: usize = 28;
const SAMPLES_WIDTH: usize = 22;

/// Prints the finding as a line, unless `--quiet`, and its message with `-v`.
fn print_finding(printer: &Printer, finding: &Finding) {
    if !printer.shows_progress() {
        return;
    }
    let color = match finding.severity {
        Severity::Error => Color::Red,
        Severity::Warning => Color::Yellow,
    };
    let line = line(finding);
    let (severity, rest) = line.split_at(SEVERITY_WIDTH);
    printer.colored(color, severity, rest);
    if printer.is_verbose() {
        printer.result(format!("        {}", finding.message));
    }
}

/// The finding as a line: severity, kind, file, samples.
fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let kind = finding.kind.name();
    let file = shortened(&control_chars::escape_line(&finding.file), FILE_WIDTH);
    let samples = samples(finding);
    format!("{severity:<SEVERITY_WIDTH$}{kind:<KIND_WIDTH$}{file:<FILE_WIDTH$}  {samples}")
}

/// The samples of a finding as ranges, as many as fit: `0-3, 7`.
fn samples(finding: &Finding) -> String {
    let mut sorted = finding.samples.clone();
    sorted.sort_unstable();
    if sorted.is_empty() {
        return "-".to_owned();
    }
    let ranges = sorted.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    let ranges: Vec<_> = ranges.collect();
    let all = ranges.join(", ");
    if all.len() <= SAMPLES_WIDTH {
        return all;
    }
    let count = format!("{} samples, {}", sorted.len(), ranges[0]);
    if count.len() + 4 <= SAMPLES_WIDTH {
        format!("{count} ...")
    } else {
        format!("{} samples", sorted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::FindingKind;

    fn finding(kind: FindingKind, file: &str, samples: impl IntoIterator<Item = u64>) -> Finding {
        Finding {
            kind,
            severity: kind.severity(),
            file: file.to_owned(),
            split: Some("train".to_owned()),
            samples: samples.into_iter().collect(),
            message: String::new(),
        }
    }

    #[test]
    fn a_line_has_80_characters_at_most_and_shows_the_number_of_the_shard() {
        let file = "validation_with_a_long_name.zarr/an_array_with_a_long_name/c.123456.0.0.0.0";
        for kind in FindingKind::ALL {
            for samples in [0..0, 3..4, 0..7, 10_000_000_000..10_000_001_000] {
                let every_second = samples.clone().filter(|i| i % 2 == 0).collect::<Vec<_>>();
                for samples in [samples.collect(), every_second] {
                    let line = line(&finding(kind, file, samples));
                    assert!(line.chars().count() <= 80, "{line}");
                    assert!(line.contains("c.123456.0.0.0.0"), "{line}");
                }
            }
        }
    }

    #[test]
    fn samples_are_ranges() {
        let text = |of: &[u64]| samples(&finding(FindingKind::Digest, "f", of.iter().copied()));
        assert_eq!(text(&[]), "-");
        assert_eq!(text(&[7, 0, 1, 2]), "0-2, 7");
        assert_eq!(text(&[1, 3, 5, 7, 9, 11, 13, 15]), "8 samples, 1 ...");
    }
}

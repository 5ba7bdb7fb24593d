//! `pointshard diff`: what two datasets differ in, or a config and a dataset.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::location;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::RunArgs;
use super::summary::counted;
use crate::dataset::{Dataset, DatasetError};
use crate::diff::{self, Diff};
use crate::job::{JobError, PlannedOutput};
use crate::storage::{Location, Storage};

/// Most lines that are printed without `-v`.
const MAX_LINES: usize = 30;

/// Print what two datasets differ in, or a config and a dataset; the exit code is 1 if they differ
#[derive(Debug, Args)]
pub(super) struct DiffCommand {
    /// A dataset (folder or URL), or the config file of a job
    #[arg(value_name = "A", value_parser = location::output())]
    a: Location,
    /// A dataset (folder or URL)
    #[arg(value_name = "B", value_parser = location::output())]
    b: Location,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl DiffCommand {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        if let Location::Local(path) = &self.a
            && path.is_file()
        {
            return self.compare_config(printer, storage, path);
        }
        let a = Dataset::open(&self.a, storage)?;
        let b = Dataset::open(&self.b, storage)?;
        let diff = self.run.pool()?.install(|| diff::compare(&a, &b))?;
        if self.json {
            printer.json(&diff)?;
        } else {
            self.print(printer, &diff);
        }
        Ok(exit_code(diff.equal))
    }

    fn print(&self, printer: &Printer, diff: &Diff) {
        let differences = &diff.differences;
        let shown = if printer.is_verbose() {
            differences.len()
        } else {
            MAX_LINES
        };
        for difference in differences.iter().take(shown) {
            printer.result(format!(
                "{:<11} {}: {}",
                difference.kind.name(),
                difference.name,
                difference.message
            ));
        }
        if differences.len() > shown {
            printer.result(format!(
                "... and {} more: -v prints all",
                differences.len() - shown
            ));
        }
        printer.result(match differences.len() {
            0 => "no differences".to_owned(),
            n => format!(
                "{}; first {}, second {}",
                counted(n, "difference", "differences"),
                self.a,
                self.b
            ),
        });
    }

    /// Compares the job of a config with the plan of the dataset. Reads no voxel.
    fn compare_config(
        &self,
        printer: &Printer,
        storage: &Storage,
        config: &Path,
    ) -> Result<ExitCode, Failure> {
        let options = self.run.options(false, false);
        let resume = || PlannedOutput::resume_to_read(config, &self.b, options, storage);
        let (differences, moved) = match self.run.pool()?.install(resume) {
            Ok(Some(planned)) => (Vec::new(), planned.moved_sources().to_vec()),
            // The error says that there is no plan.
            Ok(None) => (
                Vec::new(),
                PlannedOutput::open_to_read(&self.b, options, storage)?
                    .moved_sources()
                    .to_vec(),
            ),
            Err(JobError::Dataset(DatasetError::OtherPlan { what, .. })) => {
                let lines = what.lines().map(str::trim).filter(|line| !line.is_empty());
                (lines.map(str::to_owned).collect(), Vec::new())
            }
            Err(e) => return Err(e.into()),
        };
        let equal = differences.is_empty();
        if self.json {
            printer.json(&json!({"equal": equal, "differences": differences, "moved": moved}))?;
        } else {
            differences
                .iter()
                .chain(&moved)
                .for_each(|line| printer.result(line));
            printer.result(if equal {
                "no differences: the config has the plan of the dataset".to_owned()
            } else {
                format!("the config and the plan of {} differ", self.b)
            });
        }
        Ok(exit_code(equal))
    }
}

fn exit_code(equal: bool) -> ExitCode {
    if equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

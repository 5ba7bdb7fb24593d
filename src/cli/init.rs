//! `pointshard init`: drafts a config and prints what to check in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::fault::FaultKind;
use crate::geometry::Resolution;
use crate::init::{self, Draft, Target};
use crate::storage::{Existing, redacted, write_atomic};
use clap::Args;

use super::command;
use super::failure::Failure;
use super::local_path;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::RunArgs;

/// Draft a config from a viewer state, a Neuroglancer URL, a collection, or layers and tables
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Viewer state, Neuroglancer URL, collection file, folder or bucket of layers, HDF5 file, TIFF stack, or several layers and
    /// tables
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Size of a voxel in nm, of volumes that do not state it, such as most TIFF stacks
    #[arg(long, num_args = 3, value_names = ["X", "Y", "Z"])]
    resolution: Option<Vec<f64>>,
    /// Config file to write [default: standard output]
    #[arg(long, value_parser = local_path::output())]
    out: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl Init {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = self.network.storage(printer);
        let resolution = self.resolution()?;
        let here = std::env::current_dir();
        let here = here.map_err(|e| environment(e, "cannot find the working directory"))?;
        let target = match &self.out {
            None => Target::Anywhere,
            Some(out) => {
                let out = std::path::absolute(out).unwrap_or_else(|_| out.clone());
                if out.exists() && !self.force {
                    return Err(exists(&out));
                }
                Target::File(out)
            }
        };
        printer.note("reading the layers");
        let memory_bytes = self.run.memory_bytes();
        let draft = || {
            let sources = &self.sources;
            init::draft(sources, resolution, &here, &target, memory_bytes, &storage)
        };
        let draft = self.run.pool()?.install(draft)?;
        match &target {
            Target::Anywhere => printer.json_text(&draft.text()),
            Target::File(out) => write(out, &draft.text(), self.force)?,
        }
        print_checks(printer, &draft);
        print_next_step(printer, self.out.as_deref());
        Ok(ExitCode::SUCCESS)
    }

    fn resolution(&self) -> Result<Option<Resolution>, Failure> {
        let Some(given) = &self.resolution else {
            return Ok(None);
        };
        let nm = <[f64; 3]>::try_from(&given[..]).ok();
        let resolution = nm.and_then(Resolution::new);
        let wrong = || {
            anyhow::anyhow!(
                "--resolution is {given:?}, expected three positive numbers: the size of a voxel in nm along x, y, z"
            )
        };
        match resolution {
            Some(resolution) => Ok(Some(resolution)),
            None => Err(Failure::new(FaultKind::Usage, wrong())),
        }
    }
}

/// Writes the config to `out` atomically.
fn write(out: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let existing = if force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let text = format!("{}\n", redacted(text));
    match write_atomic(out, ".config-", text.as_bytes(), existing) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(exists(out)),
        Err(e) => {
            let (kind, error) = (FaultKind::of_write(&e), anyhow::Error::new(e));
            let error = error.context(format!("cannot write {}", out.display()));
            Err(Failure::new(kind, error))
        }
        Ok(()) => Ok(()),
    }
}

fn environment(error: std::io::Error, what: &'static str) -> Failure {
    Failure::new(
        FaultKind::Environment,
        anyhow::Error::new(error).context(what),
    )
}

fn exists(out: &Path) -> Failure {
    Failure::new(
        FaultKind::Usage,
        anyhow::anyhow!(
            "{} already exists; choose another name, or overwrite it with --force",
            out.display()
        ),
    )
}

/// Prints what to check, on stderr.
fn print_checks(printer: &Printer, draft: &Draft) {
    printer.hint("check this config:");
    for (i, check) in draft.checks.iter().enumerate() {
        printer.hint(format!("{:>3}. {check}", i + 1));
    }
}

fn print_next_step(printer: &Printer, out: Option<&Path>) {
    match out {
        None => printer.hint("next: save the config, then run `pointshard plan CONFIG`"),
        Some(out) => {
            printer.hint(format!("wrote {}", out.display()));
            printer.hint(format!("next: run `{}`", command::plan(out)));
        }
    }
}

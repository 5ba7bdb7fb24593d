//! `pointshard init`: a first config from a viewer state, a collection, a folder of layers, or layers.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::fault::FaultKind;
use crate::init::{self, Draft, Target};
use crate::storage::redacted;
use clap::Args;

use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::RunArgs;
use super::{Failure, local};

/// Write a first config from a viewer state, a pasted URL, a collection or a folder of layers, and say what to check
#[derive(Debug, Args)]
pub(super) struct Init {
    /// A viewer state, a pasted Neuroglancer URL, a collection file, a folder or bucket of layers, or several layers
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// The file to write; standard output by default
    #[arg(long, value_parser = local::written())]
    out: Option<PathBuf>,
    /// Overwrite the file
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
        printer.note("opening the layers and planning a first config");
        let memory_bytes = self.run.memory_bytes();
        let draft = || init::draft(&self.sources, &here, &target, memory_bytes, &storage);
        let draft = self.run.pool()?.install(draft)?;
        match &target {
            Target::Anywhere => printer.json_text(&draft.text()),
            Target::File(out) => write(out, &draft.text(), self.force)?,
        }
        tell_checks(printer, &draft);
        tell_next(printer, self.out.as_deref());
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the config to `out`, all of it or nothing.
fn write(out: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| {
        let error = anyhow::Error::new(e);
        Failure::new(
            FaultKind::Environment,
            error.context(format!("cannot write {}", out.display())),
        )
    };
    let folder = out.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
    writeln!(file, "{}", redacted(text)).map_err(cannot)?;
    let written = match force {
        true => file.persist(out),
        false => file.persist_noclobber(out),
    };
    match written {
        Err(e) if e.error.kind() == ErrorKind::AlreadyExists => Err(exists(out)),
        Err(e) => Err(cannot(e.error)),
        Ok(_) => Ok(()),
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
            "{} exists already; give another name, or --force to overwrite it",
            out.display()
        ),
    )
}

/// Says what to check, on stderr.
fn tell_checks(printer: &Printer, draft: &Draft) {
    printer.note("check in this config:");
    for (i, check) in draft.checks.iter().enumerate() {
        printer.note(format!("{:>3}. {check}", i + 1));
    }
}

fn tell_next(printer: &Printer, out: Option<&Path>) {
    match out {
        None => printer.note("next: save the config, then `pointshard plan CONFIG`"),
        Some(out) => {
            printer.note(format!("wrote {}", out.display()));
            printer.note(format!("next: pointshard plan {}", out.display()));
        }
    }
}

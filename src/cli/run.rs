//! Arguments shared by several commands (threads, memory), and running a job with a progress display.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::extract::Progress;
use crate::fault::FaultKind;
use crate::job::{Job, Outcome, RunOptions};
use crate::storage::{Location, Storage};
use anyhow::Context;
use clap::Args;

use super::failure::Failure;
use super::printer::Printer;
use super::progress::{Status, with_progress};
use super::summary::{self, counted};

/// The option `--threads`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Threads {
    /// Number of compute threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// Options that limit the use of resources. They don't change the output.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    threads: Threads,
    /// Memory limit, for example 4GiB
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: bytesize::ByteSize,
}

fn status(progress: &Progress) -> Status {
    Status {
        done: progress.windows_done.load(Ordering::Relaxed),
        total: progress.windows_total.load(Ordering::Relaxed),
        details: None,
    }
}

impl RunArgs {
    /// Runs the job in the config file and prints its summary.
    pub(super) fn run_job(
        self,
        printer: &Printer,
        storage: &Storage,
        config: &Path,
        out: &Location,
        options: RunOptions,
    ) -> Result<Outcome, Failure> {
        let pool = self.pool()?;
        let outcome = pool.install(|| -> Result<Outcome, Failure> {
            printer.note(format!("reading {}", config.display()));
            let job = Job::prepare(config, self.memory_bytes(), storage)?;
            printer.note(format!(
                "{} in {}; writing {} to {}",
                counted(job.plan.samples(), "sample", "samples"),
                counted(job.plan.boxes.len(), "box", "boxes"),
                counted(job.plan.arrays.len(), "array", "arrays"),
                out
            ));
            let progress = Progress::default();
            let run = || job.run(out.clone(), options, &progress);
            Ok(with_progress(
                printer,
                "windows",
                || status(&progress),
                run,
            )?)
        })?;
        summary::print(printer, out, &outcome);
        Ok(outcome)
    }

    /// The memory limit in bytes.
    pub(super) fn memory_bytes(self) -> u64 {
        self.memory.as_u64()
    }

    /// Prints what the job in the config file would read and write, without doing it.
    pub(super) fn dry_run(
        self,
        printer: &Printer,
        storage: &Storage,
        config: &Path,
        out: &Location,
        options: RunOptions,
    ) -> Result<(), Failure> {
        self.pool()?.install(|| {
            let job = Job::prepare(config, self.memory_bytes(), storage)?;
            summary::print_plan(printer, &job);
            job.require_samples()?;
            let present = job.finished_shards(out, options)?;
            summary::print_estimate(printer, &job.estimate(), present, out);
            Ok(())
        })
    }

    /// The thread pool that runs the work.
    pub(super) fn pool(self) -> Result<rayon::ThreadPool, Failure> {
        self.threads.pool()
    }
}

impl Threads {
    /// The thread pool that runs the work.
    pub(super) fn pool(self) -> Result<rayon::ThreadPool, Failure> {
        let threads = self.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .context("cannot start threads");
        pool.map_err(|e| Failure::new(FaultKind::Environment, e))
    }
}

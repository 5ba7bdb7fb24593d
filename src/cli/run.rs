//! What `preprocess` and `demo` share: threads, memory, and running a job with its progress told.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::extract::Progress;
use crate::fault::FaultKind;
use crate::job::{Job, Outcome, RunOptions};
use anyhow::Context;
use clap::Args;

use super::printer::Printer;
use super::progress::{Reached, told};
use super::{Failure, summary};

/// How much is done at once.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Threads {
    /// Threads to compute with; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// How a job is run. None of it changes what comes out.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    threads: Threads,
    /// Most memory to take, for example 4GiB
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: bytesize::ByteSize,
}

fn reached(progress: &Progress) -> Reached {
    Reached {
        done: progress.windows_done.load(Ordering::Relaxed),
        total: progress.windows_total.load(Ordering::Relaxed),
        more: None,
    }
}

impl RunArgs {
    /// Runs the job in the config file and prints its summary.
    pub(super) fn run_job(
        self,
        printer: Printer,
        config: &Path,
        out: &Path,
        force: bool,
    ) -> Result<Outcome, Failure> {
        let pool = self.pool()?;
        let outcome = pool.install(|| -> Result<Outcome, Failure> {
            printer.note(format!("reading {}", config.display()));
            let job = Job::prepare(config, self.memory_bytes())?;
            printer.note(format!(
                "{} samples in {} boxes; cutting {} array(s) into {}",
                job.plan.samples(),
                job.plan.boxes.len(),
                job.plan.arrays.len(),
                out.display()
            ));
            let options = RunOptions {
                memory_bytes: self.memory_bytes(),
                force,
            };
            let progress = Progress::default();
            let run = || job.run(out, options, &progress);
            Ok(told(printer, "windows", || reached(&progress), run)?)
        })?;
        summary::print(printer, out, &outcome);
        Ok(outcome)
    }

    /// Most memory to take, in bytes.
    pub(super) fn memory_bytes(self) -> u64 {
        self.memory.as_u64()
    }

    /// Says what the job in the config file would read and write, and does neither.
    pub(super) fn dry_run(
        self,
        printer: Printer,
        config: &Path,
        out: &Path,
        force: bool,
    ) -> Result<(), Failure> {
        self.pool()?.install(|| {
            let mut job = Job::prepare(config, self.memory_bytes())?;
            summary::print_plan(printer, &job);
            job.require_samples()?;
            let options = RunOptions {
                memory_bytes: self.memory_bytes(),
                force,
            };
            let finished_shards = job.finished_shards(out, options)?;
            summary::print_survey(printer, &job.estimate(), finished_shards, out);
            Ok(())
        })
    }

    /// The threads that everything runs in.
    pub(super) fn pool(self) -> Result<rayon::ThreadPool, Failure> {
        self.threads.pool()
    }
}

impl Threads {
    /// The threads that everything runs in.
    pub(super) fn pool(self) -> Result<rayon::ThreadPool, Failure> {
        let threads = self.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .context("cannot start threads");
        pool.map_err(|e| Failure::new(FaultKind::Environment, e))
    }
}

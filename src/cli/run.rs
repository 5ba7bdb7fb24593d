//! Arguments shared by several commands (threads, memory), and running a job with a progress display.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::check::{CheckLevel, CheckOptions};
use crate::extract::Progress;
use crate::fault::FaultKind;
use crate::job::{Job, PlannedOutput, RunOptions};
use crate::storage::{Location, Storage};
use anyhow::Context;
use clap::Args;

use super::default_memory::default_memory_bytes;
use super::failure::Failure;
use super::printer::Printer;
use super::progress::{Status, with_progress};
use super::signals::interruptible;
use super::summary::{self, counted};
use super::task::{TaskArg, chosen_task};

/// Where a job comes from, and where its output is.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobPlaces<'a> {
    /// The config file; without one, the plan in the output is used.
    pub config: Option<&'a Path>,
    pub out: &'a Location,
    /// An earlier output whose order of samples and shards are used again.
    pub reuse: Option<&'a Location>,
}

/// Options that limit the use of resources. They don't change the output.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RunArgs {
    /// Number of compute threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Memory limit, for example 4GiB [default: half of the memory of the machine, or of the container or job]
    #[arg(long, value_name = "SIZE", value_parser = memory_limit, allow_negative_numbers = true)]
    memory: Option<bytesize::ByteSize>,
}

fn memory_limit(text: &str) -> Result<bytesize::ByteSize, String> {
    let limit = text.parse();
    limit.map_err(|_| "expected a size with its unit, for example 2GiB or 500MiB".to_owned())
}

fn status(progress: &Progress, storage: &Storage) -> Status {
    Status {
        done: progress.windows_done.load(Ordering::Relaxed),
        total: progress.windows_total.load(Ordering::Relaxed),
        details: None,
        preparing: storage.stage().status(),
    }
}

impl RunArgs {
    /// Writes the shards that are missing, of the task that `task` or the engine names or of all tasks, and prints the summary.
    /// Without a config, the plan in the output is used. A single task needs a plan.
    pub(super) fn run_job(
        self,
        printer: &Printer,
        storage: &Storage,
        places: JobPlaces<'_>,
        options: RunOptions,
        task: Option<TaskArg>,
    ) -> Result<(), Failure> {
        let JobPlaces { config, out, reuse } = places;
        self.pool()?.install(|| {
            let planned = match (config, task) {
                // The config is compared with the plan.
                (Some(config), Some(TaskArg::One { .. })) => {
                    let resumed = PlannedOutput::resume(config, out, reuse, options, storage)?;
                    resumed.map_or_else(|| PlannedOutput::open(out, options, storage), Ok)?
                }
                _ => planned_output(printer, storage, places, options)?,
            };
            let tasks = planned.plan.tasks.count();
            // An engine's number may be that of a config: an array can run over configs, one job each.
            let is_whole_job = config.is_some() && tasks == 1 && task.is_none();
            let chosen = if is_whole_job {
                None
            } else {
                chosen_task(task, tasks)?
            };
            match chosen {
                None => run_all(printer, storage, planned, out, options),
                Some(task) => run_one(printer, storage, planned, out, options, task),
            }
        })
    }

    /// How a job is run.
    pub(super) fn options(self, force: bool, verify: bool) -> RunOptions {
        RunOptions {
            memory_bytes: self.memory_bytes(),
            force,
            verify,
            tasks: None,
        }
    }

    /// How a dataset is checked.
    pub(super) fn check_options(self, level: CheckLevel) -> CheckOptions {
        CheckOptions {
            level,
            memory_bytes: self.memory_bytes(),
        }
    }

    /// The memory limit in bytes.
    pub(super) fn memory_bytes(self) -> u64 {
        self.memory
            .map_or_else(default_memory_bytes, |m| m.as_u64())
    }

    /// Prints what a run would read and write, without doing it.
    pub(super) fn dry_run(
        self,
        printer: &Printer,
        storage: &Storage,
        places: JobPlaces<'_>,
        options: RunOptions,
    ) -> Result<(), Failure> {
        let JobPlaces { config, out, reuse } = places;
        self.pool()?.install(|| {
            let planned = match config {
                None => Some(PlannedOutput::open(out, options, storage)?),
                Some(_) if options.force => None,
                Some(config) => PlannedOutput::resume(config, out, reuse, options, storage)?,
            };
            if let Some(mut planned) = planned {
                note_moved_sources(printer, &planned);
                let plan = &planned.plan;
                summary::print_plan(printer, &plan.table, &plan.layout, &plan.padding);
                let present = planned.shards_present(options)?;
                let estimate = planned.estimate(options)?;
                summary::print_estimate(printer, &estimate, present, out);
            } else if let Some(config) = config {
                let prepare = || Job::prepare_reusing(config, out, reuse, options, storage);
                let job = with_stages(printer, storage, prepare)?;
                for warning in job.supervoxels_without_root() {
                    printer.warn(warning);
                }
                summary::print_plan(printer, &job.plan, &job.layout, &job.padding);
                job.require_samples()?;
                job.check_output(out, options)?;
                summary::print_estimate(printer, &job.estimate(), 0, out);
            }
            Ok(())
        })
    }

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

/// Writes all shards that are missing, seals the dataset, and prints the summary.
fn run_all(
    printer: &Printer,
    storage: &Storage,
    planned: PlannedOutput,
    out: &Location,
    options: RunOptions,
) -> Result<(), Failure> {
    let table = &planned.plan.table;
    printer.note(format!(
        "{} in {}; writing {} to {out}",
        counted(table.samples(), "sample", "samples"),
        counted(table.boxes.len(), "box", "boxes"),
        counted(table.arrays.len(), "array", "arrays"),
    ));
    let run = |progress: &Progress| Ok(planned.run(options, progress)?);
    let outcome = run_with_progress(printer, storage, run)?;
    summary::print(printer, out, &outcome);
    Ok(())
}

/// Runs work on windows that signals can end, and displays its progress.
pub(super) fn run_with_progress<T>(
    printer: &Printer,
    storage: &Storage,
    work: impl FnOnce(&Progress) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let progress = Progress::default();
    let run = || interruptible(printer, storage, || work(&progress));
    with_progress(printer, "windows", || status(&progress, storage), run)
}

/// Writes the shards of a task that are missing, and prints the summary.
fn run_one(
    printer: &Printer,
    storage: &Storage,
    planned: PlannedOutput,
    out: &Location,
    options: RunOptions,
    task: u32,
) -> Result<(), Failure> {
    let tasks = planned.plan.tasks.count();
    printer.note(format!(
        "writing the shards of task {task} of {tasks} to {out}"
    ));
    let run = |progress: &Progress| Ok(planned.run_task(task, options, progress)?);
    let outcome = run_with_progress(printer, storage, run)?;
    summary::print_task(printer, out, &outcome);
    Ok(())
}

/// Runs work that has stages, and displays the current one.
pub(super) fn with_stages<T>(printer: &Printer, storage: &Storage, work: impl FnOnce() -> T) -> T {
    let status = || Status::of_stage(storage.stage().status());
    with_progress(printer, "", status, work)
}

/// The output with its plan: the plan of the job in the config file or, without one, the plan that is there.
pub(super) fn planned_output(
    printer: &Printer,
    storage: &Storage,
    places: JobPlaces<'_>,
    options: RunOptions,
) -> Result<PlannedOutput, Failure> {
    let JobPlaces { config, out, reuse } = places;
    let planned = match config {
        Some(config) => {
            printer.note(format!("reading {}", config.display()));
            let begin = || PlannedOutput::begin(config, out, reuse, options, storage);
            with_stages(printer, storage, begin)?
        }
        None => {
            printer.note(format!("reading the plan in {out}"));
            PlannedOutput::open(out, options, storage)?
        }
    };
    note_moved_sources(printer, &planned);
    Ok(planned)
}

fn note_moved_sources(printer: &Printer, planned: &PlannedOutput) {
    for moved in planned.moved_sources() {
        printer.warn(moved);
    }
}

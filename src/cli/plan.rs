//! `pointshard plan`: plans a job without writing any window, and prints its samples. With an output, writes the plan.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::RandomParts;
use crate::dataset::{BoxEntry, Layout};
use crate::job::{self, Job, RunOptions};
use crate::plan::{FinishedPlan, Padding, Plan};
use crate::storage::Location;
use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::rows::Rows;
use super::run::{JobPlaces, RunArgs, planned_output, with_stages};
use super::summary::{boxes_table, counted, padded_of_plan};
use super::{command, local_path, location};

/// Most tasks of a plan, which lists all of them.
const MAX_TASKS: i64 = 1_000_000;

/// Plan a job: print its samples, and how many annotations of each box are dropped and why
#[derive(Debug, Args)]
pub(super) struct PlanCommand {
    /// Config file of the job (JSON; `pointshard schema` prints its schema)
    #[arg(value_parser = local_path::input())]
    config: PathBuf,
    /// Write the plan to this output: a folder, or a URL of one in a bucket (s3://, gs://)
    #[arg(long, value_name = "OUT", value_parser = location::output())]
    out: Option<Location>,
    /// Keep the order of samples of an earlier output of this job, and use its shards again that stay the same
    #[arg(long, value_name = "OLD", value_parser = location::output(), requires = "out")]
    reuse: Option<Location>,
    /// Divide the shards into this many tasks, for `pointshard preprocess --task` [default: 1]
    #[arg(long, value_name = "N", requires = "out", value_parser = clap::value_parser!(u32).range(1..=MAX_TASKS))]
    tasks: Option<u32>,
    /// Overwrite existing pointshard output
    #[arg(long, requires = "out")]
    force: bool,
    /// Print a line per sample
    #[arg(long)]
    samples: bool,
    /// Print boxes and samples as JSON; ids are decimal strings
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl PlanCommand {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = self.network.storage(printer);
        let options = RunOptions {
            tasks: self.tasks,
            ..self.run.options(self.force, false)
        };
        self.run.pool()?.install(|| match &self.out {
            None => {
                let prepare = || Job::prepare(&self.config, options.memory_bytes, &storage);
                let job = with_stages(printer, &storage, prepare)?;
                warn(printer, &job.supervoxels_without_root());
                self.print(printer, &job.plan, &job.layout, &job.padding)?;
                Ok(job.require_samples()?)
            }
            Some(out) => {
                let places = JobPlaces {
                    config: Some(&self.config),
                    out,
                    reuse: self.reuse.as_ref(),
                };
                let planned = planned_output(printer, &storage, places, options)?;
                warn(printer, &planned.supervoxels_without_root());
                let plan = &planned.plan;
                self.print(printer, &plan.table, &plan.layout, &plan.padding)?;
                if !self.json {
                    print_next(printer, out, plan);
                }
                Ok::<_, Failure>(())
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(
        &self,
        printer: &Printer,
        plan: &Plan,
        layout: &Layout,
        padding: &Padding,
    ) -> Result<(), Failure> {
        if self.json {
            printer.json(&as_json(plan, layout, padding))?;
        } else {
            print(printer, plan, padding, self.samples);
        }
        Ok(())
    }
}

fn warn(printer: &Printer, warnings: &[String]) {
    for warning in warnings {
        printer.warn(warning);
    }
}

/// Prints the command that comes next.
fn print_next(printer: &Printer, out: &Location, plan: &FinishedPlan) {
    let tasks = plan.tasks.count();
    let next = match tasks {
        1 => command::preprocess(out),
        _ => command::preprocess_task(out, 0, tasks),
    };
    printer.detail(format!("plan     in {out}; next: {next}"));
    if tasks > 1 {
        printer.detail(format!(
            "tasks    0 to {}, for {} in all; when all tasks are done: {}",
            tasks - 1,
            counted(plan.layout.all_shards().count(), "shard", "shards"),
            command::seal(out)
        ));
    }
}

/// Most boxes that have a line each without `-v`.
const MAX_BOXES: usize = 100;

/// Prints warnings, boxes and totals; with `samples`, a line per sample.
fn print(printer: &Printer, plan: &Plan, padding: &Padding, samples: bool) {
    warn(printer, &plan.warnings);
    if plan.boxes.len() <= MAX_BOXES || printer.is_verbose() {
        printer.detail_rows(&boxes_table(printer, &job::boxes(plan)));
    } else {
        printer.detail(format!(
            "{}: -v prints a line for each",
            counted(plan.boxes.len(), "box", "boxes")
        ));
    }
    if let Some(counts) = random_splits(plan) {
        printer.detail(format!("random   {counts}"));
    }
    if printer.is_verbose() {
        for (i, source) in plan.sources.iter().enumerate() {
            let layer = plan.layer_of_source(i);
            printer.result(format!("layer {layer}: {}", source.url.location));
        }
    }
    if samples {
        printer.rows(&samples_table(plan));
    }
    printer.detail(format!("padded   {}", padded_of_plan(plan, padding)));
    let total = plan.samples();
    printer.result(format!("total    {}", counted(total, "sample", "samples")));
}

/// The number of boxes in each random split, beside what the config asks for.
fn random_splits(plan: &Plan) -> Option<String> {
    let random = plan.config.random_splits.as_ref()?;
    let boxes = |split: usize| {
        let of_split = plan.boxes.iter().filter(|b| b.split == Some(split));
        counted(of_split.count(), "box", "boxes")
    };
    let counts: Vec<_> = random
        .names()
        .enumerate()
        .map(|(i, name)| match &random.parts {
            RandomParts::Fractions(fractions) => {
                let fraction = fractions.get(name).copied().unwrap_or_default();
                format!("{name} {} (fraction {fraction})", boxes(i))
            }
            RandomParts::Folds { .. } => format!("{name} {}", boxes(i)),
        })
        .collect();
    let fold = match random.parts {
        RandomParts::Fractions(_) => String::new(),
        RandomParts::Folds { folds, fold } => format!("fold {fold} of {folds}: "),
    };
    Some(format!("{fold}{}", counts.join(", ")))
}

fn samples_table(plan: &Plan) -> Rows {
    let mut table = Rows::new([
        "split",
        "sample",
        "annotation",
        "box",
        "center (nm)",
        "first voxel",
    ]);
    for split in &plan.splits {
        for (i, s) in split.samples.iter().enumerate() {
            table.add_row([
                split.name.clone(),
                i.to_string(),
                s.annotation_id.to_string(),
                plan.boxes[s.box_index as usize].id.clone(),
                s.center_nm.0.map(|v| v.to_string()).join(", "),
                s.start_voxel.map(|v| v.to_string()).join(", "),
            ]);
        }
    }
    table
}

fn as_json(plan: &Plan, layout: &Layout, padding: &Padding) -> Value {
    let boxes: Vec<BoxEntry> = job::boxes(plan);
    let splits = plan.splits.iter().map(|split| {
        let samples = split.samples.iter().map(|s| {
            json!({
                "annotation_id": s.annotation_id.to_string(),
                "box": s.box_index,
                "center_nm": s.center_nm,
                "start_voxel": s.start_voxel,
                "resolution_nm": plan.resolution_of(s),
            })
        });
        (split.name.clone(), samples.collect::<Vec<_>>().into())
    });
    // By array, then by split, as in the manifest.
    let padded = plan.arrays.iter().enumerate().map(|(array, planned)| {
        let of_splits = plan.splits.iter().enumerate();
        let of_splits = of_splits.map(|(i, split)| {
            let windows = padding.windows(i, array);
            (split.name.clone(), json!(windows))
        });
        let of_splits: serde_json::Map<String, Value> = of_splits.collect();
        (planned.name.clone(), of_splits.into())
    });
    let arrays = layout.arrays.iter();
    let codecs = arrays.map(|array| (array.name.clone(), json!(array.codec)));
    json!({
        "window_voxels": plan.config.window,
        "boxes": boxes,
        "splits": splits.collect::<serde_json::Map<String, Value>>(),
        "padded_windows": padded.collect::<serde_json::Map<String, Value>>(),
        "codecs": codecs.collect::<serde_json::Map<String, Value>>(),
        "warnings": plan.warnings,
    })
}

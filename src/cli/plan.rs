//! `pointshard plan`: prints the samples of a job, without writing anything.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::dataset::BoxEntry;
use crate::job::Job;
use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use super::local_path;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::rows::Rows;
use super::run::RunArgs;
use super::summary::{boxes_table, counted, padded_of_plan};

/// Print the samples of a job, and how many annotations of each box are dropped and why
#[derive(Debug, Args)]
pub(super) struct PlanCommand {
    /// Config file of the job (JSON; `pointshard schema` prints its schema)
    #[arg(value_parser = local_path::input())]
    config: PathBuf,
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
        let prepare = || Job::prepare(&self.config, self.run.memory_bytes(), &storage);
        let job = self.run.pool()?.install(prepare)?;
        if self.json {
            printer.json(&as_json(&job))?;
        } else {
            print(printer, &job, self.samples);
        }
        job.require_samples()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints warnings, boxes and totals; with `samples`, a line per sample.
fn print(printer: &Printer, job: &Job, samples: bool) {
    for warning in &job.plan.warnings {
        printer.warn(warning);
    }
    printer.rows(&boxes_table(&job.boxes()));
    if printer.is_verbose() {
        for (i, source) in job.plan.sources.iter().enumerate() {
            let layer = job.plan.layer_of_source(i);
            printer.result(format!("layer {layer}: {}", source.url.location));
        }
    }
    if samples {
        printer.rows(&samples_table(job));
    }
    printer.result(format!("padded   {}", padded_of_plan(job)));
    let total = job.plan.samples();
    printer.result(format!("total    {}", counted(total, "sample", "samples")));
}

fn samples_table(job: &Job) -> Rows {
    let mut table = Rows::new([
        "split",
        "sample",
        "annotation",
        "box",
        "center (nm)",
        "first voxel",
    ]);
    for split in &job.plan.splits {
        for (i, s) in split.samples.iter().enumerate() {
            table.add_row([
                split.name.clone(),
                i.to_string(),
                s.annotation_id.to_string(),
                job.plan.boxes[s.box_index as usize].id.clone(),
                s.center_nm.0.map(|v| v.to_string()).join(", "),
                s.start_voxel.map(|v| v.to_string()).join(", "),
            ]);
        }
    }
    table
}

fn as_json(job: &Job) -> Value {
    let plan = &job.plan;
    let boxes: Vec<BoxEntry> = job.boxes();
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
            let windows = job.padding.windows(i, array);
            (split.name.clone(), json!(windows))
        });
        let of_splits: serde_json::Map<String, Value> = of_splits.collect();
        (planned.name.clone(), of_splits.into())
    });
    let arrays = job.layout.arrays.iter();
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

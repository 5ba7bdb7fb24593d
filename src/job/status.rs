//! What of an output is written.

use std::time::SystemTime;

use serde::Serialize;

use super::planned_output::{PlannedOutput, no_plan, stored_header, trust};
use super::{JobError, RunOptions};
use crate::dataset::{ArrayLayout, Layout, Output, PresentShards, ShardId, Unsealed};
use crate::plan::Tasks;
use crate::storage::{Location, Storage};

/// The rate is that of the shards that were written in this time before the last one.
const RATE_OVER_MS: i64 = 600_000;

/// What of an output is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Whether all shards are present and the manifest is written.
    pub complete: bool,
    /// Number of shards.
    pub shards: u64,
    /// Shards that are present.
    pub present: u64,
    /// How fast shards are written; `None` with less than two shards, or if they were written at the same moment.
    pub throughput: Option<Throughput>,
    /// The tasks, by number.
    pub tasks: Vec<TaskStatus>,
    /// The shards of each array, by split.
    pub arrays: Vec<ArrayStatus>,
}

/// How fast shards are written, by all processes together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Throughput {
    /// Windows that were written per second, in the ten minutes before the last shard.
    pub windows_per_second: f64,
    /// Seconds since the last shard was written.
    pub seconds_since_last_shard: f64,
    /// Windows of the missing shards.
    pub windows_missing: u64,
}

/// The shards of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    /// The number of the task, from 0.
    pub task: u32,
    /// Number of shards.
    pub shards: u64,
    /// How many of them are missing.
    pub missing: u64,
}

/// The shards of an array in a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArrayStatus {
    /// The split.
    pub split: String,
    /// The array.
    pub array: String,
    /// Number of shards.
    pub shards: u64,
    /// Numbers of the shards that are missing.
    pub missing: Vec<u64>,
}

impl PlannedOutput {
    /// Which shards of the output at `out` are present and which are missing, and whether the dataset is complete.
    ///
    /// # Errors
    /// There is no plan, or it cannot be read.
    pub fn status(
        out: &Location,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Status, JobError> {
        let output = Output::to_read(out, storage);
        let header = stored_header(&output)?.ok_or_else(|| no_plan(out))?;
        let layout = header.layout().map_err(|e| output.damaged_plan(e))?;
        let (order, tasks) = header.tasks().map_err(|e| output.damaged_plan(e))?;
        let digest = header.plan_digest();
        let present = PresentShards::find(&output, &layout, digest, trust(options))?;
        let arrays = of_arrays(&layout, &present);
        let times = present.times(&output, &layout)?;
        let mut status = Status {
            complete: false,
            shards: arrays.iter().map(|a| a.shards).sum(),
            present: present.count(),
            throughput: throughput(&layout, present.missing(), times, now_ms()),
            tasks: of_tasks(&order, &tasks, &present),
            arrays,
        };
        let unsealed = Unsealed {
            output: &output,
            layout: &layout,
            plan_digest: digest,
            present,
        };
        status.complete = unsealed.finished()?.is_some();
        Ok(status)
    }
}

fn of_arrays(layout: &Layout, present: &PresentShards) -> Vec<ArrayStatus> {
    let mut arrays: Vec<ArrayStatus> = Vec::new();
    for (split, of_split) in layout.splits.iter().enumerate() {
        let of_array = |array: &ArrayLayout| ArrayStatus {
            split: of_split.name.clone(),
            array: array.name.clone(),
            shards: layout.shards(split),
            missing: Vec::new(),
        };
        arrays.extend(layout.arrays.iter().map(of_array));
    }
    for id in present.missing() {
        let array = &mut arrays[id.split * layout.arrays.len() + id.array];
        array.missing.push(id.shard);
    }
    arrays
}

fn of_tasks(order: &[ShardId], tasks: &Tasks, present: &PresentShards) -> Vec<TaskStatus> {
    let of_task = |task| {
        let shards = &order[tasks.share(task).unwrap_or_default()];
        let missing = shards.iter().filter(|id| !present.contains(**id));
        TaskStatus {
            task,
            shards: shards.len() as u64,
            missing: missing.count() as u64,
        }
    };
    (0..tasks.count()).map(of_task).collect()
}

fn now_ms() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The rate at which shards were written at these `times`.
fn throughput(
    layout: &Layout,
    missing: impl Iterator<Item = ShardId>,
    mut times: Vec<(ShardId, i64)>,
    now_ms: i64,
) -> Option<Throughput> {
    let windows = |id: ShardId| {
        let samples = layout.samples(id);
        samples.end - samples.start
    };
    times.sort_by_key(|(_, time)| *time);
    let last = times.last()?.1;
    let first = times.partition_point(|(_, time)| *time < last - RATE_OVER_MS);
    let counted = &times[first..];
    let seconds = (last - counted.first()?.1) as f64 / 1000.0;
    // When work on the first of them began is not known.
    let written: u64 = counted.iter().skip(1).map(|(id, _)| windows(*id)).sum();
    (seconds > 0.0).then(|| Throughput {
        windows_per_second: written as f64 / seconds,
        seconds_since_last_shard: (now_ms - last).max(0) as f64 / 1000.0,
        windows_missing: missing.map(windows).sum(),
    })
}

#[cfg(test)]
mod tests;

//! Why a job failed.

use crate::collection::CollectionError;
use crate::config::ConfigError;
use crate::dataset::DatasetError;
use crate::extract::ExtractError;
use crate::fault::{Fault, FaultKind};
use crate::plan::{DisplacedLayers, PlanError};
use crate::points::PointsError;
use crate::select::SelectError;
use crate::storage::enough;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The config cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The collection cannot be used.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// The plan cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The annotations cannot be read.
    #[error("cannot read the annotations of `{layer}`, at `{key}` in the config")]
    Points {
        /// Its name in the config, or its file.
        layer: String,
        /// What names it in the config.
        key: String,
        /// Why.
        source: PointsError,
    },
    /// The negatives cannot be placed.
    #[error("cannot place the negatives, at `points.negatives` in the config")]
    Negatives(#[source] PointsError),
    /// The dataset would be empty.
    #[error("the job has no sample: {why}")]
    NoSample {
        /// Why no annotation is a sample.
        why: String,
    },
    /// No window touches a layer.
    #[error(transparent)]
    Displaced(#[from] DisplacedLayers),
    /// The metadata of sources are not those that the plan was made with.
    #[error(
        "sources have changed since the plan was written: restore them, or start again with --force: {what}"
    )]
    SourcesChanged {
        /// The sources, one line each.
        what: String,
    },
    /// A source cannot be read where it was when the plan was made.
    #[error(
        "cannot open a source of the plan in {output}. If the source has moved, write its new place into the config, and run `pointshard preprocess CONFIG --out {output}`, with --verify if shards are damaged"
    )]
    PlannedSources {
        /// The output.
        output: String,
        /// Why.
        source: ExtractError,
    },
    /// A source cannot be compared with samples where it was when the plan was made.
    #[error(
        "cannot open a source of the plan in {output}. `check --source` reads each source where it was when the plan was made: if the source has moved, put it back, or make a link there"
    )]
    ComparedSources {
        /// The output.
        output: String,
        /// Why.
        source: ExtractError,
    },
    /// The dataset would have too many files.
    #[error(
        "the dataset would be too large to list: {what}; set `shard_samples` higher, or leave it out"
    )]
    TooManyShards {
        /// How many shards it has, and how many are allowed.
        what: String,
    },
    /// The memory limit is too small for the plan.
    #[error("--memory {limit} is too low: the plan of {samples} samples alone takes {needed}; use more --memory, or split the collection over several jobs", limit = bytesize::ByteSize(*limit_bytes), needed = enough(*needed_bytes))]
    PlanMemory {
        /// The limit.
        limit_bytes: u64,
        /// What the plan needs, with the program.
        needed_bytes: u64,
        /// Samples of all splits.
        samples: u64,
    },
    /// The memory limit is too small to seal the dataset.
    #[error("--memory {limit} is too low to seal the dataset: that takes {needed}, of which {plan} for the plan, and {shards} for what is known of the shards; use more --memory", limit = bytesize::ByteSize(*limit_bytes), needed = enough(*needed_bytes), plan = bytesize::ByteSize(*plan_bytes), shards = bytesize::ByteSize(*shards_bytes))]
    SealMemory {
        /// The limit.
        limit_bytes: u64,
        /// What is needed, with the program.
        needed_bytes: u64,
        /// What the plan needs, with the metadata of its boxes.
        plan_bytes: u64,
        /// What the shards need.
        shards_bytes: u64,
    },
    /// The memory limit is too small to compare a sample with its source.
    #[error("--memory {limit} is too low to compare samples of `{array}` with their source: that takes {needed}; use more --memory", limit = bytesize::ByteSize(*limit_bytes), needed = enough(*needed_bytes))]
    SourceMemory {
        /// The array.
        array: String,
        /// The limit.
        limit_bytes: u64,
        /// What is needed, with the program and the plan.
        needed_bytes: u64,
    },
    /// The plan has another number of tasks.
    #[error(
        "the plan in {output} has {planned} task(s), but --tasks is {wanted}: leave out --tasks, or start again with --force"
    )]
    OtherTasks {
        /// The output.
        output: String,
        /// The number of tasks that the plan has.
        planned: u32,
        /// The number in `--tasks`.
        wanted: u32,
    },
    /// The plan was written with another earlier output, or with none.
    #[error(
        "the plan in {output} was written {}, but --reuse is {wanted}: leave out --reuse, write to another folder, or start again with --force",
        planned.as_ref().map_or("without --reuse".to_owned(), |planned| format!("with --reuse {planned}"))
    )]
    OtherReuse {
        /// The output.
        output: String,
        /// The earlier output that was given.
        wanted: String,
        /// The one of the plan.
        planned: Option<String>,
    },
    /// There is no earlier plan.
    #[error(
        "--reuse {earlier} has no plan (.pointshard/plan.json): expected an output of `pointshard preprocess`, finished or not, of schema version 3"
    )]
    NothingToReuse {
        /// The earlier output.
        earlier: String,
    },
    /// The plan of the earlier output is damaged.
    #[error(
        "cannot use --reuse {earlier}: run `pointshard check {earlier} --repair` first, or leave out --reuse"
    )]
    DamagedEarlier {
        /// The earlier output.
        earlier: String,
        /// Why.
        source: DatasetError,
    },
    /// The earlier output is the new one.
    #[error("--reuse {output} is the output itself: write to another folder")]
    ReuseOfItself {
        /// The output.
        output: String,
    },
    /// The plan has no such task.
    #[error("there is no task {task}: the plan has {tasks} task(s), and the first is number 0")]
    NoTask {
        /// Its number.
        task: u32,
        /// The number of tasks.
        tasks: u32,
    },
    /// Shards of several tasks are missing.
    #[error(
        "{missing} of {expected} shards are not written yet, the first of them is {first}. They belong to the task(s) {unfinished} of {tasks}: run `pointshard preprocess --out {output} --task N/{tasks}` for each of these, then `pointshard seal {output}` again"
    )]
    TasksUnfinished {
        /// How many shards are missing.
        missing: usize,
        /// How many there should be.
        expected: usize,
        /// Path of the first.
        first: String,
        /// The numbers of the tasks that they belong to, as a list with ranges.
        unfinished: String,
        /// The number of tasks.
        tasks: u32,
        /// The output.
        output: String,
    },
    /// Shards cannot be written.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The output cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl From<SelectError> for JobError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Extract(e) => Self::Extract(e),
            SelectError::Plan(e) => Self::Plan(e),
        }
    }
}

impl Fault for JobError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Config(e) => e.kind(),
            Self::Collection(e) => e.kind(),
            Self::Plan(e) => e.kind(),
            Self::Points { source, .. } | Self::Negatives(source) => source.kind(),
            Self::Displaced(e) => e.kind(),
            Self::Extract(e)
            | Self::PlannedSources { source: e, .. }
            | Self::ComparedSources { source: e, .. } => e.kind(),
            Self::Dataset(e) | Self::DamagedEarlier { source: e, .. } => e.kind(),
            Self::TooManyShards { .. }
            | Self::OtherTasks { .. }
            | Self::OtherReuse { .. }
            | Self::NothingToReuse { .. }
            | Self::ReuseOfItself { .. }
            | Self::NoTask { .. }
            | Self::PlanMemory { .. }
            | Self::SealMemory { .. }
            | Self::SourceMemory { .. } => FaultKind::Usage,
            Self::NoSample { .. } | Self::SourcesChanged { .. } | Self::TasksUnfinished { .. } => {
                FaultKind::Data
            }
        }
    }
}

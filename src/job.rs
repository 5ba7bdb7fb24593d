//! A whole job: a config file comes in, a sealed dataset goes out.
//!
//! [`Job::prepare`] drafts the plan, selects its samples and finishes it, in memory. A [`PlannedOutput`] has the plan in its
//! output: its shards are written, and it is sealed. A rerun does only what is missing.

mod compare;
mod draft;
mod dropped;
mod error;
mod index_columns;
mod lookups;
mod negatives;
mod plan_files;
mod planned_output;
mod provenance;
mod repair;
mod reuse;
mod stages;
mod status;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::config::ConfigFile;
use crate::dataset::{ClaimState, Layout, Manifest, Output};
use crate::extract::{self, Estimate, ExtractReport, Progress, Sources};
use crate::plan::{Padding, Plan, Reuse};
use crate::points::supervoxels_without_root;
use crate::select::{self, SelectReport, Selected};
use crate::storage::{Location, Storage};
use draft::Draft;
pub use error::JobError;
pub use planned_output::PlannedOutput;
pub(crate) use provenance::boxes;
use reuse::EarlierOutput;
use stages::Stages;
pub use status::{ArrayStatus, Status, TaskStatus, Throughput};

/// A job with a finished plan.
#[derive(Debug)]
pub struct Job {
    /// Where the collection was read from.
    pub(crate) collection: String,
    /// The sample table.
    pub(crate) plan: Plan,
    /// The volumes, opened.
    pub(crate) sources: Sources,
    /// Splits, arrays and shards of the output.
    pub(crate) layout: Layout,
    /// How much of each window is inside of its volume.
    pub(crate) padding: Padding,
    /// The earlier output whose order of samples and whose shards are used again, if there is one.
    pub(crate) reuse: Option<Reuse>,
    /// A line for each volume that is elsewhere than in the earlier output.
    pub(crate) moved_sources: Vec<String>,
    /// What was read before the plan was final.
    pub(crate) selected: SelectReport,
    /// How long each stage took.
    pub(crate) stages: Vec<(&'static str, Duration)>,
}

/// What a run did.
#[derive(Debug)]
pub struct Outcome {
    /// The manifest of the finished dataset.
    pub manifest: Manifest,
    /// What was read before the plan was final.
    pub selected: SelectReport,
    /// What was read and written.
    pub extracted: ExtractReport,
    /// Why an earlier output could not be used again, if it could not.
    pub not_reused: Option<String>,
    /// Warnings about supervoxels without a root in the chunks that were read.
    pub without_root: Vec<String>,
    /// How long each stage took, including those of [`Job::prepare`].
    pub stages: Vec<(&'static str, Duration)>,
}

/// What the run of a task did.
#[derive(Debug)]
pub struct TaskOutcome {
    /// The number of the task, from 0.
    pub task: u32,
    /// How many tasks there are.
    pub tasks: u32,
    /// What was read and written.
    pub extracted: ExtractReport,
    /// Why an earlier output could not be used again, if it could not.
    pub not_reused: Option<String>,
    /// Warnings about supervoxels without a root in the chunks that were read.
    pub without_root: Vec<String>,
    /// How long each stage took.
    pub stages: Vec<(&'static str, Duration)>,
}

/// How to run a job. None of this changes the bytes of the dataset.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Most memory that the program may take, in bytes.
    pub memory_bytes: u64,
    /// Overwrite existing pointshard output, whether of this plan or of another one.
    pub force: bool,
    /// Compare the bytes of shards that are present with the digests in their receipts, not only their sizes.
    pub verify: bool,
    /// Number of tasks that the shards of a new plan are divided into; one if it is not given. A plan that is there must have
    /// as many.
    pub tasks: Option<u32>,
}

impl Job {
    /// Reads config, collection and annotations through `storage`, opens the volumes, and makes the plan: samples, objects and
    /// codecs. What is read for it takes `memory_bytes` at most.
    ///
    /// # Errors
    /// The config is not valid, something that it names cannot be read, or no window touches a layer. A job without samples
    /// is no error: see [`Job::require_samples`].
    pub fn prepare(config: &Path, memory_bytes: u64, storage: &Storage) -> Result<Self, JobError> {
        Self::prepare_config(ConfigFile::read(config)?, memory_bytes, storage)
    }

    /// As [`Job::prepare`], with a config that is in memory.
    pub fn prepare_config(
        config: ConfigFile,
        memory_bytes: u64,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        Self::prepare_after(config, None, memory_bytes, storage)
    }

    /// As [`Job::prepare`], for the output at `out`. The samples of the output at `earlier` keep their order, and its shards are
    /// used again.
    ///
    /// # Errors
    /// Those of [`Job::prepare`]; the plan of the earlier output cannot be read, or is at the same place.
    pub fn prepare_reusing(
        config: &Path,
        out: &Location,
        earlier: Option<&Location>,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        Self::prepare_growing(ConfigFile::read(config)?, out, earlier, options, storage)
    }

    fn prepare_growing(
        config: ConfigFile,
        out: &Location,
        earlier: Option<&Location>,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        let earlier = earlier.map(|at| EarlierOutput::open(at, out, options, storage));
        Self::prepare_after(config, earlier.transpose()?, options.memory_bytes, storage)
    }

    fn prepare_after(
        config: ConfigFile,
        earlier: Option<EarlierOutput>,
        memory_bytes: u64,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        let of_earlier = earlier.as_ref().map_or(0, |earlier| earlier.memory_bytes);
        let memory_bytes = memory_bytes.saturating_sub(of_earlier);
        let storage = &storage.for_job(memory_bytes);
        let mut stages = Stages::new(Vec::new(), storage);
        let Draft {
            plan: draft,
            collection,
        } = Draft::read(&config, storage, &mut stages)?;
        stages.begin("open layers");
        let mut sources = Sources::open(&draft, storage)?;
        extract::require_touched(&draft, &sources)?;
        stages.begin("select");
        let compared = earlier.as_ref().map(|e| e.compare_with(&draft, &sources));
        let (earlier_plan, moved_sources) = compared.unzip();
        let selected = select::select(draft, &mut sources, memory_bytes, earlier_plan.as_ref())?;
        let Selected { mut plan, report } = selected;
        if let Some(earlier) = &earlier_plan {
            earlier.keep_order(&mut plan);
        }
        let padding = extract::measure_padding(&plan, &sources);
        plan.warnings.extend(padding.warnings(&plan));
        plan.warnings
            .extend(extract::image_warnings(&plan, &sources));
        let mut layout = sources.layout(&plan);
        if let Some(earlier) = &earlier_plan {
            earlier.keep_shard_samples(&plan, &mut layout);
        }
        let reuse = earlier.as_ref().zip(earlier_plan);
        let reuse = reuse.map(|(output, earlier)| {
            let location = output.location.without_secrets();
            earlier.reuse(&plan, &layout, location, &output.plan_digest)
        });
        Ok(Self {
            collection,
            layout,
            reuse,
            moved_sources: moved_sources.unwrap_or_default(),
            plan,
            sources,
            padding,
            selected: report,
            stages: stages.finished(),
        })
    }

    /// Warnings about supervoxels without a root in the chunks that were read.
    pub fn supervoxels_without_root(&self) -> Vec<String> {
        supervoxels_without_root(self.sources.storage())
    }

    /// Fails where the job has no sample, and says why.
    pub fn require_samples(&self) -> Result<(), JobError> {
        match self.plan.why_no_samples() {
            None => Ok(()),
            Some(why) => Err(JobError::NoSample { why }),
        }
    }

    /// What a run into a new folder reads and writes.
    pub fn estimate(&self) -> Estimate {
        let reuse = self.reuse.as_ref();
        extract::estimate(&self.plan, &self.sources, &self.layout, reuse)
    }

    /// Checks that the output at `out` could be written, without writing to it.
    ///
    /// # Errors
    /// Those of [`Job::run`] that occur before it writes anything.
    pub fn check_output(&self, out: &Location, options: RunOptions) -> Result<(), JobError> {
        extract::cache_budget(&self.plan, &self.sources, options.memory_bytes)?;
        let output = Output::at(out, self.sources.storage())?;
        match output.state()? {
            ClaimState::New | ClaimState::Claimed(_) if !options.force => Ok(()),
            ClaimState::Earlier { schema_version, .. } if !options.force => {
                Err(output.earlier_version(schema_version).into())
            }
            _ => Ok(output.check_clearing()?),
        }
    }

    /// Writes the plan to `out`, writes the shards that are missing, and seals the dataset.
    ///
    /// # Errors
    /// The job has no sample, `out` holds the output of another job or files of others, a source cannot be read, or the
    /// output cannot be written. A rerun continues where this one stopped.
    pub fn run(
        self,
        out: impl Into<Location>,
        options: RunOptions,
        progress: &Progress,
    ) -> Result<Outcome, JobError> {
        PlannedOutput::create(self, &out.into(), options)?.run(options, progress)
    }
}

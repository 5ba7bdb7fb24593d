//! A whole job: a config file comes in, a sealed dataset goes out.
//!
//! [`Job::prepare`] drafts the plan, selects its samples and finishes it. [`Job::run`] claims the output folder, writes the
//! shards that are missing, and seals. A rerun does only what is missing.

mod difference;
mod draft;
mod error;
mod index_columns;
mod provenance;
mod record;
mod stages;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::collection::Collection;
use crate::config::{Config, ConfigFile};
use crate::dataset::{BoxEntry, Layout, Manifest, Output, Receipt, seal};
use crate::extract::{self, Estimate, ExtractReport, Padding, Progress, Sources};
use crate::plan::Plan;
use crate::select;
use crate::storage::{Location, Storage};
pub use error::JobError;
use record::PlanRecord;
use stages::Stages;

/// A job with a finished plan.
#[derive(Debug)]
pub struct Job {
    /// Where the collection was read from.
    pub(crate) collection: String,
    /// The sample table.
    pub(crate) plan: Plan,
    /// The volumes, opened.
    pub(crate) sources: Sources,
    /// Splits, arrays and shards of the output. Arrays with the codec `auto` get their codec when the job runs, because that
    /// needs voxels.
    pub(crate) layout: Layout,
    /// How many windows are padded.
    pub(crate) padding: Padding,
    /// How long each stage took.
    pub(crate) stages: Vec<(&'static str, Duration)>,
}

/// What a run did.
#[derive(Debug)]
pub struct Outcome {
    /// The manifest of the finished dataset.
    pub manifest: Manifest,
    /// What was read and written.
    pub extracted: ExtractReport,
    /// How long each stage took, including those of [`Job::prepare`].
    pub stages: Vec<(&'static str, Duration)>,
}

/// How to run a job. None of this changes the bytes of the dataset.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Most memory that the program may take, in bytes.
    pub memory_bytes: u64,
    /// Overwrite existing pointshard output in the folder, whether of this plan or of another one.
    pub force: bool,
}

impl Job {
    /// Reads config, collection and annotations through `storage`, opens the volumes, and makes the plan. What is read for it
    /// takes `memory_bytes` at most.
    ///
    /// # Errors
    /// The config is not valid, something that it names cannot be read, or no window touches a layer. A job without samples
    /// is no error: see [`Job::require_samples`].
    pub fn prepare(config: &Path, memory_bytes: u64, storage: &Storage) -> Result<Self, JobError> {
        let path = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        let config = Config::read(&path)?;
        Self::prepare_config(ConfigFile { config, path }, memory_bytes, storage)
    }

    /// As [`Job::prepare`], with a config that is in memory.
    pub fn prepare_config(
        config: ConfigFile,
        memory_bytes: u64,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        let storage = &storage.for_job(memory_bytes);
        let mut stages = Stages::begin(Vec::new());
        let folder = Location::folder_of(&config.path);
        let collection = Collection::open(&config.config.collection, &folder, storage)?;
        stages.end("read config and collection");
        let draft = draft::draft(&config, &collection, storage, &mut stages)?;
        let (plan, sources) = select_samples(draft, memory_bytes, storage, &mut stages)?;
        let (plan, padding) = finish_plan(plan, &sources)?;
        stages.end("finish the plan");
        Ok(Self {
            collection: collection.source,
            layout: sources.layout(&plan),
            plan,
            sources,
            padding,
            stages: stages.finished(),
        })
    }

    /// Fails where the job has no sample, and says why.
    pub fn require_samples(&self) -> Result<(), JobError> {
        match self.plan.why_no_samples() {
            None => Ok(()),
            Some(why) => Err(JobError::NoSample { why }),
        }
    }

    /// Every box of the collection, with the numbers of its annotations, samples and dropped annotations.
    pub fn boxes(&self) -> Vec<BoxEntry> {
        provenance::boxes(&self.plan)
    }

    /// What a run into a new folder reads and writes.
    pub fn estimate(&self) -> Estimate {
        extract::estimate(&self.plan, &self.sources, &self.layout)
    }

    /// How many shards are already present in the folder `out`, which is not changed. Where the folder is in use, this
    /// chooses codecs first, because the digest of the plan depends on them.
    ///
    /// # Errors
    /// Those of [`Job::run`] that occur before it writes anything.
    pub fn finished_shards(&mut self, out: &Path, options: RunOptions) -> Result<u64, JobError> {
        extract::cache_budget(&self.plan, &self.sources, options.memory_bytes)?;
        if Output::exists_in(out) && !options.force {
            select::choose_codecs(&self.plan, &mut self.sources, options.memory_bytes)?;
            self.layout = self.sources.layout(&self.plan);
        }
        let digest = self.sources.digest(&self.plan);
        let record = || PlanRecord::of(&self.plan, &self.sources, digest);
        let found = Output::find(out, digest, options.force);
        let Some(output) = found.map_err(|e| difference::explain(e, out, record))? else {
            return Ok(0);
        };
        let mut shards = 0;
        for id in self.layout.all_shards() {
            shards += u64::from(Receipt::find(&output, &self.layout, id)?.is_some());
        }
        Ok(shards)
    }

    /// Writes what is missing in the folder `out`, and seals the dataset.
    ///
    /// # Errors
    /// The job has no sample, the folder holds the output of another job or files of others, a source cannot be read, or the
    /// output cannot be written. A rerun continues where this one stopped.
    pub fn run(
        self,
        out: &Path,
        options: RunOptions,
        progress: &Progress,
    ) -> Result<Outcome, JobError> {
        self.require_samples()?;
        let Self {
            plan,
            mut sources,
            layout: _,
            padding,
            stages,
            collection,
        } = self;
        let memory_bytes = options.memory_bytes;
        let mut stages = Stages::begin(stages);
        select::choose_codecs(&plan, &mut sources, memory_bytes)?;
        stages.end("choose codecs");
        let layout = &sources.layout(&plan);
        // A job that needs more memory fails before it changes the folder.
        extract::cache_budget(&plan, &sources, memory_bytes)?;
        let output = claim(out, &plan, &sources, layout, options.force)?;
        let extracted = extract::run(&plan, &sources, layout, &output, memory_bytes, progress)?;
        stages.end("extract");
        let index = (0..plan.splits.len()).map(|s| index_columns::of_split(&plan, &sources, s));
        let provenance = provenance::provenance(&plan, &sources, &padding, &collection);
        let manifest = seal(&output, layout, provenance, index.collect())?;
        stages.end("seal");
        Ok(Outcome {
            manifest,
            extracted,
            stages: stages.finished(),
        })
    }
}

/// Opens the volumes, and drops the samples that the config does not want.
fn select_samples(
    mut plan: Plan,
    memory_bytes: u64,
    storage: &Storage,
    stages: &mut Stages,
) -> Result<(Plan, Sources), JobError> {
    let sources = Sources::open(&plan, storage)?;
    extract::require_touched(&plan, &sources)?;
    stages.end("open layers");
    select::filter_by_voxels(&mut plan, &sources, memory_bytes)?;
    stages.end("select samples");
    Ok((plan, sources))
}

/// Finishes the plan, and counts the padded windows.
fn finish_plan(plan: Plan, sources: &Sources) -> Result<(Plan, Padding), JobError> {
    let mut plan = plan.finish()?;
    let padding = Padding::count(&plan, sources);
    plan.warnings.extend(padding.warnings(&plan));
    Ok((plan, padding))
}

/// Claims the folder `out` for the plan, and keeps the record of the plan in it.
fn claim(
    out: &Path,
    plan: &Plan,
    sources: &Sources,
    layout: &Layout,
    force: bool,
) -> Result<Output, JobError> {
    let digest = sources.digest(plan);
    let record = || PlanRecord::of(plan, sources, digest);
    let output = Output::claim(out, digest, layout, force)
        .map_err(|e| difference::explain(e, out, record))?;
    difference::keep_record(&output, record);
    Ok(output)
}

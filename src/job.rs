//! A whole job: a config file comes in, a sealed dataset goes out.
//!
//! [`Job::prepare`] drafts the plan, selects its samples and finishes it. [`Job::run`] claims the output folder, writes the
//! shards that are missing, and seals. A rerun does only what is missing.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the job does not read stored plans yet")
)]
mod compare;
mod difference;
mod draft;
mod error;
mod index_columns;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the job does not write its plan yet")
)]
mod plan_files;
mod provenance;
mod record;
mod stages;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::collection::Collection;
use crate::config::{Config, ConfigFile};
use crate::dataset::{
    BoxEntry, Claim, ClaimState, Layout, Manifest, Output, PresentShards, Trust, Unsealed,
};
use crate::extract::{self, Estimate, ExtractReport, Progress, Sources, Target};
use crate::plan::{FinishedPlan, Padding, Plan, SourceFacts};
use crate::select::{self, SelectReport, Selected};
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
    /// Splits, arrays and shards of the output.
    pub(crate) layout: Layout,
    /// How much of each window is inside of its volume.
    pub(crate) padding: Padding,
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
    /// How long each stage took, including those of [`Job::prepare`].
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
}

impl Job {
    /// Reads config, collection and annotations through `storage`, opens the volumes, and makes the plan: samples, objects and
    /// codecs. What is read for it takes `memory_bytes` at most.
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
        let mut sources = Sources::open(&draft, storage)?;
        extract::require_touched(&draft, &sources)?;
        stages.end("open layers");
        let Selected { mut plan, report } = select::select(draft, &mut sources, memory_bytes)?;
        let padding = extract::measure_padding(&plan, &sources);
        plan.warnings.extend(padding.warnings(&plan));
        stages.end("select");
        Ok(Self {
            collection: collection.source,
            layout: sources.layout(&plan),
            plan,
            sources,
            padding,
            selected: report,
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

    /// How many shards are already present in `out`, which is not changed.
    ///
    /// # Errors
    /// Those of [`Job::run`] that occur before it writes anything.
    pub fn finished_shards(&self, out: &Location, options: RunOptions) -> Result<u64, JobError> {
        extract::cache_budget(&self.plan, &self.sources, options.memory_bytes)?;
        let output = Output::at(out, self.sources.storage())?;
        match output.state()? {
            ClaimState::New => return Ok(0),
            _ if options.force => return Ok(output.check_clearing().map(|()| 0)?),
            ClaimState::Claimed(_) => {}
            ClaimState::Earlier { .. } => {
                output.claim(&self.claim(), false)?;
                return Ok(0);
            }
        }
        let digest = self.sources.digest(&self.plan);
        let record = || PlanRecord::of(&self.plan, &self.sources, digest);
        if !difference::has_plan(&output, &self.claim(), record)? {
            return Ok(0);
        }
        let digest = digest.to_string();
        let present = PresentShards::find(&output, &self.layout, &digest, Trust::Size)?;
        Ok(present.count())
    }

    /// Writes what is missing in `out`, and seals the dataset.
    ///
    /// # Errors
    /// The job has no sample, `out` holds the output of another job or files of others, a source cannot be read, or the
    /// output cannot be written. A rerun continues where this one stopped.
    pub fn run(
        mut self,
        out: impl Into<Location>,
        options: RunOptions,
        progress: &Progress,
    ) -> Result<Outcome, JobError> {
        self.require_samples()?;
        let mut stages = Stages::begin(std::mem::take(&mut self.stages));
        let Self { plan, sources, .. } = &self;
        let layout = &self.layout.clone();
        // A job that needs more memory fails before it changes the output.
        extract::cache_budget(plan, sources, options.memory_bytes)?;
        let digest = sources.digest(plan);
        let record = || PlanRecord::of(plan, sources, digest);
        let output = Output::at(&out.into(), sources.storage())?;
        let dataset = UnfinishedDataset {
            layout,
            plan_digest: &digest.to_string(),
            trust: match options.verify {
                true => Trust::Digest,
                false => Trust::Size,
            },
        };
        if !options.force
            && difference::has_plan(&output, &self.claim(), record)?
            && let Some((manifest, shards)) = dataset.finished(&output)?
        {
            stages.end("compare with the output");
            return Ok(Outcome {
                manifest,
                selected: self.selected,
                extracted: ExtractReport {
                    shards_already_present: shards,
                    ..ExtractReport::default()
                },
                stages: stages.finished(),
            });
        }
        let output = difference::claim(output, &self.claim(), options.force, record)?;
        let present = dataset.find_shards(&output)?;
        let target = Target {
            output: &output,
            layout,
            plan_digest: dataset.plan_digest,
            present: &present,
        };
        let extracted = extract::run(plan, sources, target, options.memory_bytes, progress)?;
        stages.end("extract");
        let facts = SourceFacts::of_all(&self.sources.volumes);
        let plan = FinishedPlan::new(
            self.plan,
            facts,
            self.padding,
            layout.clone(),
            &self.collection,
        )?;
        let splits = 0..plan.table.splits.len();
        let index = splits.map(|s| index_columns::of_split(&plan, s));
        let provenance = provenance::provenance(&plan);
        let unsealed = dataset.unsealed(&output, dataset.find_shards(&output)?);
        let manifest = unsealed.seal(provenance, index)?;
        stages.end("seal");
        Ok(Outcome {
            manifest,
            selected: self.selected,
            extracted,
            stages: stages.finished(),
        })
    }

    /// The claim of this job on an output.
    fn claim(&self) -> Claim {
        Claim::new(
            self.plan.config.digest(),
            self.plan.splits.iter().map(|s| s.name.as_str()),
            self.plan.arrays.iter().map(|a| a.name.as_str()),
        )
    }
}

/// What of a dataset does not depend on how much of it is written.
struct UnfinishedDataset<'a> {
    layout: &'a Layout,
    plan_digest: &'a str,
    trust: Trust,
}

impl<'a> UnfinishedDataset<'a> {
    fn find_shards(&self, output: &Output) -> Result<PresentShards, JobError> {
        let found = PresentShards::find(output, self.layout, self.plan_digest, self.trust);
        Ok(found?)
    }

    fn unsealed(&self, output: &'a Output, present: PresentShards) -> Unsealed<'a> {
        Unsealed {
            output,
            layout: self.layout,
            plan_digest: self.plan_digest,
            present,
        }
    }

    /// The manifest of the output, if nothing of it is missing, and the number of its shards.
    fn finished(&self, output: &'a Output) -> Result<Option<(Manifest, u64)>, JobError> {
        let present = self.find_shards(output)?;
        let shards = present.count();
        let manifest = self.unsealed(output, present).finished()?;
        Ok(manifest.map(|manifest| (manifest, shards)))
    }
}

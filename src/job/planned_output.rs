//! An output with a plan. Its shards are written, it is sealed, and its status is looked up. All of this reads the plan in
//! the output alone; the volumes are opened when a window is to be cut.

mod run;

use std::path::Path;
use std::time::Duration;

use super::compare::{compare, moved_sources};
use super::draft::Draft;
use super::error::JobError;
use super::plan_files::{self, PlanHeader};
use super::stages::Stages;
use super::{Job, RunOptions};
use crate::config::{Config, ConfigFile};
use crate::dataset::{Claim, ClaimState, DatasetError, Layout, Output, Trust, to_checksummed};
use crate::extract::{self, Sources};
use crate::plan::{FinishedPlan, SourceFacts};
use crate::points::supervoxels_without_root;
use crate::select::SelectReport;
use crate::storage::{BASE_BYTES, Location, Storage, WriteBatches};

/// An output with a plan.
#[derive(Debug)]
pub struct PlannedOutput {
    pub(super) output: Output,
    pub(crate) plan: FinishedPlan,
    plan_digest: String,
    /// The volumes, where the config was read. Otherwise they are opened from the plan.
    sources: Option<Sources>,
    /// Where sources were when the plan was made, and where they are now.
    moved_sources: Vec<String>,
    selected: SelectReport,
    stages: Vec<(&'static str, Duration)>,
    storage: Storage,
}

impl PlannedOutput {
    /// The output at `out`, which has a plan.
    ///
    /// # Errors
    /// There is no plan, it cannot be read, or it takes more memory than the options allow.
    pub fn open(out: &Location, options: RunOptions, storage: &Storage) -> Result<Self, JobError> {
        Self::of_output(Output::at(out, storage)?, options, storage)
    }

    /// As [`PlannedOutput::open`], for an output that is only read. It may be on an http(s) server.
    pub(crate) fn open_to_read(
        location: &Location,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        Self::of_output(Output::to_read(location, storage), options, storage)
    }

    fn of_output(output: Output, options: RunOptions, storage: &Storage) -> Result<Self, JobError> {
        match stored_plan(&output, options)? {
            Some(plan) => Ok(Self::of(output, plan, storage)),
            None => Err(no_plan(output.location())),
        }
    }

    /// The output at `out`, if it has the plan of the job in the config file; `None` if it has no plan yet. Reads the
    /// collection and the annotations, but no voxel, and writes nothing.
    ///
    /// # Errors
    /// The output belongs to another job: the error lists the differences.
    pub fn resume(
        config: &Path,
        out: &Location,
        earlier: Option<&Location>,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Option<Self>, JobError> {
        let file = ConfigFile::read(config)?;
        Self::resume_job(&file, Output::at(out, storage)?, earlier, options, storage)
    }

    /// As [`PlannedOutput::resume`], for an output that is only read. It may be on an http(s) server.
    pub(crate) fn resume_to_read(
        config: &Path,
        location: &Location,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Option<Self>, JobError> {
        let file = ConfigFile::read(config)?;
        let output = Output::to_read(location, storage);
        Self::resume_job(&file, output, None, options, storage)
    }

    /// The output at `out` with the plan of the job in the config file. Claims the output before it reads anything big,
    /// makes the plan if there is none, and writes it. A new plan keeps the order of samples of the output at `earlier`, and
    /// uses its shards again.
    ///
    /// # Errors
    /// Those of [`Job::prepare`] and of [`PlannedOutput::resume`]; the job has no sample; the output cannot be written.
    pub fn begin(
        config: &Path,
        out: &Location,
        earlier: Option<&Location>,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        let file = ConfigFile::read(config)?;
        let output = Output::at(out, storage)?;
        let prepare = |file| Job::prepare_growing(file, out, earlier, options, storage);
        if options.force {
            // A job that fails must not have deleted the output that it overwrites.
            return Self::create(prepare(file)?, out, options);
        }
        let resumed = Self::resume_job(&file, output.clone(), earlier, options, storage)?;
        if let Some(resumed) = resumed {
            return Ok(resumed);
        }
        let output = output.claim(&claim_of(&file.config), false)?;
        Self::plan_or_release(output, |output| {
            Self::write_plan(prepare(file)?, output, options)
        })
    }

    /// As [`PlannedOutput::begin`], for a job that is planned in memory.
    pub(super) fn create(job: Job, out: &Location, options: RunOptions) -> Result<Self, JobError> {
        let output = Output::at(out, job.sources.storage())?;
        let claim = claim_of(&job.plan.config);
        if !options.force
            && let Some(stored) = stored_plan(&output, options)?
        {
            let (plan, mut sources) = (&job.plan, job.sources);
            let storage = sources.storage().clone();
            compare(&stored, plan, &SourceFacts::of_all(&sources.volumes))
                .map_err(|what| other_plan(&output, what))?;
            require_tasks(&output, &stored, options)?;
            use_codecs(&mut sources, &stored.layout);
            return Ok(Self {
                sources: Some(sources),
                selected: job.selected,
                stages: job.stages,
                ..Self::of(output, stored, &storage)
            });
        }
        job.require_samples()?;
        let output = output.claim(&claim, options.force)?;
        Self::plan_or_release(output, |output| Self::write_plan(job, output, options))
    }

    /// Plans the output, which is claimed. A job that fails before its plan is written leaves nothing behind.
    fn plan_or_release(
        output: Output,
        plan: impl FnOnce(Output) -> Result<Self, JobError>,
    ) -> Result<Self, JobError> {
        plan(output.clone()).inspect_err(|_| output.release())
    }

    fn resume_job(
        file: &ConfigFile,
        output: Output,
        earlier: Option<&Location>,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Option<Self>, JobError> {
        let Some(stored) = stored_plan(&output, options)? else {
            return Ok(None);
        };
        let storage = &storage.for_job(options.memory_bytes);
        let mut stages = Stages::new(Vec::new(), storage);
        let draft = Draft::read(file, storage, &mut stages)?.plan;
        stages.begin("open layers");
        let mut sources = Sources::open(&draft, storage)?;
        stages.begin("compare with the plan");
        let facts = SourceFacts::of_all(&sources.volumes);
        compare(&stored, &draft, &facts).map_err(|what| other_plan(&output, what))?;
        require_tasks(&output, &stored, options)?;
        use_codecs(&mut sources, &stored.layout);
        let mut resumed = Self {
            sources: Some(sources),
            moved_sources: moved_sources(&stored, &draft, &facts),
            stages: stages.finished(),
            ..Self::of(output, stored, storage)
        };
        if let Some(earlier) = earlier {
            resumed.require_reuse(earlier, storage)?;
        }
        Ok(Some(resumed))
    }

    /// Writes the plan of the job to the output, which it claimed.
    fn write_plan(mut job: Job, output: Output, options: RunOptions) -> Result<Self, JobError> {
        job.require_samples()?;
        let shards = job.layout.check_shards();
        shards.map_err(|what| JobError::TooManyShards { what })?;
        // A job that needs more memory fails before it is planned in the output.
        extract::cache_budget(&job.plan, &job.sources, options.memory_bytes)?;
        let storage = job.sources.storage().clone();
        let mut stages = Stages::new(job.stages, &storage);
        stages.begin("write the plan");
        let facts = SourceFacts::of_all(&job.sources.volumes);
        let dropped = std::mem::take(&mut job.plan.dropped);
        let (layout, count) = (job.layout, options.tasks.unwrap_or(1));
        let tasks = extract::divide(&job.plan, &job.sources, &layout, count);
        let plan = FinishedPlan::new(
            job.plan,
            facts,
            job.padding,
            layout,
            tasks,
            job.reuse,
            &job.collection,
        )?;
        let write = |key: &str, bytes: &[u8]| output.write_plan_file(key, bytes);
        let mut files = WriteBatches::new(write);
        let header = plan_files::write(&plan, &dropped, |key, bytes| files.add(key, bytes))?;
        drop(dropped);
        files.finish()?;
        let header = to_checksummed(&header).map_err(|e| output.damaged_plan(e.to_string()))?;
        if !output.create_plan(&header)? {
            let stored = stored_plan(&output, options)?;
            if stored.as_ref() != Some(&plan) {
                let what = "another process wrote its plan at the same moment".to_owned();
                return Err(other_plan(&output, what));
            }
        }
        Ok(Self {
            sources: Some(job.sources),
            moved_sources: job.moved_sources,
            selected: job.selected,
            stages: stages.finished(),
            ..Self::of(output, plan, &storage)
        })
    }

    fn of(output: Output, plan: FinishedPlan, storage: &Storage) -> Self {
        Self {
            output,
            plan_digest: plan.digest().to_string(),
            plan,
            sources: None,
            moved_sources: Vec::new(),
            selected: SelectReport::default(),
            stages: Vec::new(),
            storage: storage.clone(),
        }
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &FinishedPlan {
        &self.plan
    }

    /// Warnings about supervoxels without a root in the chunks that were read.
    pub fn supervoxels_without_root(&self) -> Vec<String> {
        supervoxels_without_root(&self.storage)
    }

    /// For each source that is not where it was when the plan was made: a line with both places.
    pub fn moved_sources(&self) -> &[String] {
        &self.moved_sources
    }
}

/// The claim of a job on an output.
pub(super) fn claim_of(config: &Config) -> Claim {
    let splits = config.split_names();
    let arrays = config.arrays.keys().map(String::as_str);
    Claim::new(config.digest(), splits, arrays)
}

/// The plan of the output; `None` if it has none yet.
fn stored_plan(output: &Output, options: RunOptions) -> Result<Option<FinishedPlan>, JobError> {
    let header = stored_header(output)?;
    let plan = header.map(|header| read_stored_plan(output, &header, options));
    plan.transpose()
}

/// The plan of the output with this header.
pub(super) fn read_stored_plan(
    output: &Output,
    header: &PlanHeader,
    options: RunOptions,
) -> Result<FinishedPlan, JobError> {
    let needed_bytes = BASE_BYTES.saturating_add(header.memory_bytes());
    if needed_bytes > options.memory_bytes {
        return Err(JobError::PlanMemory {
            limit_bytes: options.memory_bytes,
            needed_bytes,
            samples: header.samples(),
        });
    }
    Ok(plan_files::read(header, output.store())?)
}

/// The header of the output's plan; `None` if it has none yet.
pub(super) fn stored_header(output: &Output) -> Result<Option<PlanHeader>, JobError> {
    match output.state()? {
        ClaimState::Claimed(claim) if claim.clearing.is_none() => {}
        _ => return Ok(None),
    }
    match output.read_plan()? {
        None => Ok(None),
        Some(bytes) => {
            let header = PlanHeader::parse(&bytes).map_err(|e| output.damaged_plan(e));
            Ok(Some(header?))
        }
    }
}

pub(super) fn no_plan(out: &Location) -> JobError {
    let output = out.to_string();
    DatasetError::NoPlan { output }.into()
}

pub(super) fn trust(options: RunOptions) -> Trust {
    if options.verify {
        Trust::Digest
    } else {
        Trust::Size
    }
}

fn other_plan(output: &Output, what: String) -> JobError {
    let output = output.location().to_string();
    DatasetError::OtherPlan { output, what }.into()
}

/// Fails if another number of tasks is asked for than the plan has.
fn require_tasks(
    output: &Output,
    stored: &FinishedPlan,
    options: RunOptions,
) -> Result<(), JobError> {
    let planned = stored.tasks.count();
    match options.tasks {
        Some(wanted) if wanted != planned => Err(JobError::OtherTasks {
            output: output.location().to_string(),
            planned,
            wanted,
        }),
        _ => Ok(()),
    }
}

/// Compresses arrays with the codecs of the layout.
fn use_codecs(sources: &mut Sources, layout: &Layout) {
    for (array, of_array) in layout.arrays.iter().enumerate() {
        sources.choose_codec(array, of_array.codec);
    }
}

//! Work on an output with a plan: shards are written, and the dataset is sealed.

use std::collections::HashSet;

use super::{PlannedOutput, claim_of, trust, use_codecs};
use crate::dataset::{Claim, Manifest, PresentShards, ShardId, Unsealed, plan_copy_key};
use crate::extract::{self, Estimate, ExtractReport, Progress, Sources, Target};
use crate::fault::{Fault, FaultKind};
use crate::job::compare::compare_metadata;
use crate::job::plan_files::PlanHeader;
use crate::job::stages::Stages;
use crate::job::{JobError, Outcome, RunOptions, TaskOutcome, dropped, index_columns, provenance};
use crate::plan::{SourceFacts, list_of_tasks, work_order};
use crate::storage::BASE_BYTES;

impl PlannedOutput {
    /// Writes the shards that are missing, and seals the dataset.
    ///
    /// # Errors
    /// A source cannot be read, or the output cannot be written. A rerun continues where this one stopped.
    pub fn run(mut self, options: RunOptions, progress: &Progress) -> Result<Outcome, JobError> {
        self.require_seal_memory(options)?;
        let mut stages = Stages::new(std::mem::take(&mut self.stages), &self.storage);
        stages.begin("look for shards");
        if let Some((manifest, shards)) = self.finished(options)? {
            let extracted = ExtractReport {
                shards_already_present: shards,
                ..ExtractReport::default()
            };
            return Ok(self.outcome(manifest, extracted, stages));
        }
        self.output = self.output.clone().claim(&self.claim(), false)?;
        let present = self.find_shards(options)?;
        let shards = self.work_order();
        let written = self.write_shards(&shards, &present, options, progress, &mut stages);
        let extracted = written.map_err(|e| self.or_output_lost(e))?;
        stages.begin("seal");
        let manifest = self.write_dataset(options);
        let manifest = manifest.map_err(|e| self.or_output_lost(e))?;
        Ok(self.outcome(manifest, extracted, stages))
    }

    /// Writes the shards of a task that are missing. Other tasks may run at the same time, and so may this one.
    ///
    /// # Errors
    /// There is no such task, a source cannot be read, or the output cannot be written. A rerun continues where this one
    /// stopped.
    pub fn run_task(
        mut self,
        task: u32,
        options: RunOptions,
        progress: &Progress,
    ) -> Result<TaskOutcome, JobError> {
        let mut stages = Stages::new(std::mem::take(&mut self.stages), &self.storage);
        stages.begin("look for shards");
        let tasks = self.plan.tasks.count();
        let share = self.plan.tasks.share(task);
        let share = share.ok_or(JobError::NoTask { task, tasks })?;
        let shards = &self.work_order()[share];
        let (layout, digest) = (&self.plan.layout, &self.plan_digest);
        let trust = trust(options);
        let present = PresentShards::find_some(&self.output, layout, digest, trust, shards)?;
        let is_done = present.missing().next().is_none();
        let extracted = if is_done {
            ExtractReport {
                shards_already_present: present.count(),
                ..ExtractReport::default()
            }
        } else {
            self.output = self.output.clone().claim(&self.claim(), false)?;
            let written = self.write_shards(shards, &present, options, progress, &mut stages);
            written.map_err(|e| self.or_output_lost(e))?
        };
        Ok(TaskOutcome {
            task,
            tasks,
            extracted,
            stages: stages.finished(),
        })
    }

    /// Seals the dataset: writes metadata, columns and manifest. Reads no volume.
    ///
    /// # Errors
    /// Shards are missing, or the output cannot be written.
    pub fn seal(mut self, options: RunOptions) -> Result<Manifest, JobError> {
        self.require_seal_memory(options)?;
        if let Some((manifest, _)) = self.finished(options)? {
            return Ok(manifest);
        }
        self.output = self.output.clone().claim(&self.claim(), false)?;
        self.write_dataset(options)
    }

    /// Fails if there is too little memory to seal the dataset.
    fn require_seal_memory(&self, options: RunOptions) -> Result<(), JobError> {
        let plan_bytes = self.plan.table.sealing_bytes();
        let shards_bytes = PresentShards::memory_bytes(&self.plan.layout);
        let needed_bytes = BASE_BYTES + plan_bytes + shards_bytes;
        if needed_bytes > options.memory_bytes {
            return Err(JobError::SealMemory {
                limit_bytes: options.memory_bytes,
                needed_bytes,
                plan_bytes,
                shards_bytes,
            });
        }
        Ok(())
    }

    /// Deletes the manifest, and those shards whose key, or whose receipt's key, is in `damaged`.
    pub(crate) fn discard(&mut self, damaged: &HashSet<&str>) -> Result<(), JobError> {
        self.output = self.output.clone().claim(&self.claim(), false)?;
        let layout = &self.plan.layout;
        let is_damaged = |id: &ShardId| {
            damaged.contains(layout.shard_path(*id).as_str())
                || damaged.contains(layout.receipt_path(*id).as_str())
        };
        let shards = layout.all_shards().filter(is_damaged);
        Ok(self.output.discard(layout, shards)?)
    }

    /// Number of shards that are present.
    pub fn shards_present(&self, options: RunOptions) -> Result<u64, JobError> {
        Ok(self.find_shards(options)?.count())
    }

    /// What a run into a new output reads and writes.
    pub fn estimate(&mut self, options: RunOptions) -> Result<Estimate, JobError> {
        let sources = match self.sources.take() {
            Some(sources) => sources,
            None => self.open_sources()?,
        };
        let sources = self.sources.insert(sources);
        let plan = &self.plan.table;
        extract::cache_budget(plan, sources, options.memory_bytes)?;
        Ok(extract::estimate(plan, sources, &self.plan.layout))
    }

    /// Writes those of `shards` that are not present.
    fn write_shards(
        &mut self,
        shards: &[ShardId],
        present: &PresentShards,
        options: RunOptions,
        progress: &Progress,
        stages: &mut Stages,
    ) -> Result<ExtractReport, JobError> {
        if present.missing().next().is_none() {
            return Ok(ExtractReport {
                shards_already_present: present.count(),
                ..ExtractReport::default()
            });
        }
        stages.begin("open layers");
        let sources = match self.sources.take() {
            Some(sources) => sources,
            None => self.open_sources()?,
        };
        stages.begin("extract");
        let target = Target {
            output: &self.output,
            layout: &self.plan.layout,
            plan_digest: &self.plan_digest,
            shards,
            present,
        };
        let plan = &self.plan.table;
        Ok(extract::run(
            plan,
            &sources,
            target,
            options.memory_bytes,
            progress,
        )?)
    }

    /// The error, or that the output was deleted or overwritten meanwhile, which is its likely cause.
    fn or_output_lost(&self, error: JobError) -> JobError {
        match self.output.require_own_now() {
            Err(lost) if error.kind() != FaultKind::Environment => lost.into(),
            _ => error,
        }
    }

    /// All shards, in the order in which work on them begins.
    fn work_order(&self) -> Vec<ShardId> {
        work_order(&self.plan.table.arrays, &self.plan.layout)
    }

    fn outcome(self, manifest: Manifest, extracted: ExtractReport, stages: Stages) -> Outcome {
        Outcome {
            manifest,
            selected: self.selected,
            extracted,
            stages: stages.finished(),
        }
    }

    /// The manifest, if nothing of the dataset is missing, and the number of its shards.
    fn finished(&self, options: RunOptions) -> Result<Option<(Manifest, u64)>, JobError> {
        let present = self.find_shards(options)?;
        let shards = present.count();
        let manifest = self.unsealed(present).finished()?;
        Ok(manifest.map(|manifest| (manifest, shards)))
    }

    fn write_dataset(&self, options: RunOptions) -> Result<Manifest, JobError> {
        let plan = &self.plan;
        let splits = 0..plan.table.splits.len();
        let index = splits.map(|split| index_columns::of_split(plan, split));
        let present = self.find_shards(options)?;
        self.require_all_tasks(&present)?;
        let unsealed = self.unsealed(present);
        let header = self.copy_plan()?;
        let dropped = dropped::files(&header, &self.output);
        Ok(unsealed.seal(provenance::provenance(plan), index, dropped)?)
    }

    /// Writes the copy of `plan.json`, from which it is restored if it is damaged. Returns its contents.
    fn copy_plan(&self) -> Result<PlanHeader, JobError> {
        let key = plan_copy_key(&self.plan_digest);
        let damaged = |problem: String| JobError::from(self.output.damaged_plan(problem));
        let bytes = self.output.read_plan()?;
        let bytes = bytes.ok_or_else(|| damaged("it is missing".to_owned()))?;
        self.output.write_plan_file(&key, &bytes)?;
        PlanHeader::parse(&bytes).map_err(damaged)
    }

    /// Fails if shards are missing and the plan has several tasks.
    fn require_all_tasks(&self, present: &PresentShards) -> Result<(), JobError> {
        let tasks = &self.plan.tasks;
        let (Some(first), 2..) = (present.missing().next(), tasks.count()) else {
            return Ok(());
        };
        let order = self.work_order();
        let is_unfinished = |task: &u32| {
            let share = tasks.share(*task).unwrap_or_default();
            order[share].iter().any(|id| !present.contains(*id))
        };
        let unfinished: Vec<u32> = (0..tasks.count()).filter(is_unfinished).collect();
        Err(JobError::TasksUnfinished {
            missing: present.missing().count(),
            expected: order.len(),
            first: self.plan.layout.shard_path(first),
            unfinished: list_of_tasks(&unfinished),
            tasks: tasks.count(),
            output: self.output.location().to_string(),
        })
    }

    fn find_shards(&self, options: RunOptions) -> Result<PresentShards, JobError> {
        let (layout, digest) = (&self.plan.layout, &self.plan_digest);
        let found = PresentShards::find(&self.output, layout, digest, trust(options));
        Ok(found?)
    }

    fn unsealed(&self, present: PresentShards) -> Unsealed<'_> {
        Unsealed {
            output: &self.output,
            layout: &self.plan.layout,
            plan_digest: &self.plan_digest,
            present,
        }
    }

    fn claim(&self) -> Claim {
        claim_of(&self.plan.table.config)
    }

    /// Opens the volumes where the plan says that they are.
    fn open_sources(&self) -> Result<Sources, JobError> {
        let mut sources = Sources::open(&self.plan.table, &self.storage)?;
        let facts = SourceFacts::of_all(&sources.volumes);
        compare_metadata(&self.plan, &facts).map_err(|what| JobError::SourcesChanged { what })?;
        use_codecs(&mut sources, &self.plan.layout);
        Ok(sources)
    }
}

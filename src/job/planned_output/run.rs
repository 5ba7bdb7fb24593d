//! Work on an output with a plan: shards are written, and the dataset is sealed.

use std::collections::HashSet;

use super::{PlannedOutput, claim_of, trust, use_codecs};
use crate::dataset::{
    Claim, EarlierShards, Manifest, PresentShards, ShardId, Unsealed, plan_copy_key,
};
use crate::extract::{self, Estimate, ExtractError, ExtractReport, Progress, Sources, Target};
use crate::fault::{Fault, FaultKind};
use crate::job::compare::compare_metadata;
use crate::job::plan_files::PlanHeader;
use crate::job::reuse::earlier_output;
use crate::job::stages::Stages;
use crate::job::{JobError, Outcome, RunOptions, TaskOutcome, dropped, index_columns, provenance};
use crate::plan::{Reuse, SourceFacts, list_of_tasks, work_order};
use crate::storage::{BASE_BYTES, wait_in_parallel};

/// What was written of the shards.
struct WrittenShards {
    extracted: ExtractReport,
    /// Why an earlier output could not be used again, if it could not.
    not_reused: Option<String>,
}

impl WrittenShards {
    /// Nothing was written: all `shards` were there.
    fn already_present(shards: u64) -> Self {
        Self {
            extracted: ExtractReport {
                shards_already_present: shards,
                ..ExtractReport::default()
            },
            not_reused: None,
        }
    }
}

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
            let written = WrittenShards::already_present(shards);
            return Ok(self.outcome(manifest, written, stages));
        }
        self.output = self.output.clone().claim(&self.claim(), false)?;
        let find = |planned: &Self, _: &[ShardId]| planned.find_shards(options);
        let present = self.find_shards(options)?;
        let shards = self.work_order();
        let written = self.write_shards(&shards, present, find, options, progress, &mut stages);
        let written = written.map_err(|e| self.or_output_lost(e))?;
        stages.begin("seal");
        let manifest = self.write_dataset(options);
        let manifest = manifest.map_err(|e| self.or_output_lost(e))?;
        Ok(self.outcome(manifest, written, stages))
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
        let find = |planned: &Self, shards: &[ShardId]| {
            let (layout, digest) = (&planned.plan.layout, &planned.plan_digest);
            let trust = trust(options);
            PresentShards::find_some(&planned.output, layout, digest, trust, shards)
                .map_err(JobError::from)
        };
        let present = find(&self, shards)?;
        let is_done = present.missing().next().is_none();
        let written = if is_done {
            WrittenShards::already_present(present.count())
        } else {
            self.output = self.output.clone().claim(&self.claim(), false)?;
            let written = self.write_shards(shards, present, find, options, progress, &mut stages);
            written.map_err(|e| self.or_output_lost(e))?
        };
        Ok(TaskOutcome {
            task,
            tasks,
            extracted: written.extracted,
            not_reused: written.not_reused,
            without_root: self.supervoxels_without_root(),
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

    /// Cuts and writes the shards that are missing, and those whose key, or whose receipt's key, is in `damaged`. Seals the
    /// dataset again. Nothing is deleted before: a damaged shard may have samples that can be read, and the sources may be
    /// gone.
    ///
    /// # Errors
    /// A source cannot be read, or the output cannot be written.
    pub(in crate::job) fn rewrite(
        mut self,
        damaged: &HashSet<&str>,
        options: RunOptions,
        progress: &Progress,
    ) -> Result<Outcome, JobError> {
        self.require_seal_memory(options)?;
        let mut stages = Stages::new(Vec::new(), &self.storage);
        stages.begin("look for shards");
        self.output = self.output.clone().claim(&self.claim(), false)?;
        let layout = &self.plan.layout;
        let is_damaged = |id: ShardId| {
            damaged.contains(layout.shard_path(id).as_str())
                || damaged.contains(layout.receipt_path(id).as_str())
        };
        let present = self.find_shards(options)?.without(is_damaged);
        let shards = self.work_order();
        let extracted = self.cut_shards(&shards, present, options, progress, &mut stages);
        let extracted = extracted.map_err(|e| self.or_output_lost(e))?;
        stages.begin("seal");
        let manifest = self.write_dataset(options);
        let manifest = manifest.map_err(|e| self.or_output_lost(e))?;
        let written = WrittenShards {
            extracted,
            not_reused: None,
        };
        Ok(self.outcome(manifest, written, stages))
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
        let reuse = self.plan.reuse.as_ref();
        Ok(extract::estimate(plan, sources, &self.plan.layout, reuse))
    }

    /// Writes those of `shards` that are not present: copies those that an earlier output has, and cuts the others. `find` looks
    /// for the shards again.
    fn write_shards(
        &mut self,
        shards: &[ShardId],
        mut present: PresentShards,
        find: impl Fn(&Self, &[ShardId]) -> Result<PresentShards, JobError>,
        options: RunOptions,
        progress: &Progress,
        stages: &mut Stages,
    ) -> Result<WrittenShards, JobError> {
        let before = present.count();
        let mut not_reused = None;
        if let Some(reuse) = &self.plan.reuse {
            let missing = present.missing().filter(|id| reuse.contains(*id)).collect();
            stages.begin("copy shards");
            not_reused = self.copy_shards(reuse, missing)?;
            present = find(self, shards)?;
        }
        let reused = present.count() - before;
        let extracted = self.cut_shards(shards, present, options, progress, stages)?;
        Ok(WrittenShards {
            extracted: ExtractReport {
                shards_already_present: before,
                shards_reused: reused,
                ..extracted
            },
            not_reused,
        })
    }

    /// Copies shards from the earlier output. Returns why that cannot be used, if it cannot. Shards that it does not have are
    /// left out.
    fn copy_shards(&self, reuse: &Reuse, shards: Vec<ShardId>) -> Result<Option<String>, JobError> {
        if shards.is_empty() {
            return Ok(None);
        }
        let output = earlier_output(&reuse.location, &reuse.plan_digest, &self.storage);
        let output = match output {
            Ok(output) => output,
            Err(why) => return Ok(Some(format!("{}: {why}", reuse.location))),
        };
        let earlier = EarlierShards {
            output: &output,
            plan_digest: &reuse.plan_digest,
            sources: &reuse.sources,
        };
        let work = self.storage.begin_work();
        let stage = self.storage.stage();
        stage.count("shards", Some(shards.len() as u64));
        let (layout, digest) = (&self.plan.layout, &self.plan_digest);
        wait_in_parallel(&shards, |id| {
            if work.is_stopped() {
                return Err(JobError::from(ExtractError::Interrupted));
            }
            earlier.copy_to(&self.output, layout, digest, *id)?;
            stage.add(1);
            Ok(())
        })?;
        Ok(None)
    }

    /// Cuts and writes those of `shards` that are not present.
    fn cut_shards(
        &mut self,
        shards: &[ShardId],
        mut present: PresentShards,
        options: RunOptions,
        progress: &Progress,
        stages: &mut Stages,
    ) -> Result<ExtractReport, JobError> {
        if present.missing().next().is_none() {
            return Ok(ExtractReport::default());
        }
        let manifest = self.output.read_manifest()?;
        let manifest = manifest.and_then(|bytes| Manifest::parse_whole(&bytes));
        if let Some(manifest) = manifest.filter(|m| m.plan_digest == self.plan_digest) {
            present.remember(&manifest, &self.plan.layout);
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
            present: &present,
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

    fn outcome(self, manifest: Manifest, written: WrittenShards, stages: Stages) -> Outcome {
        Outcome {
            without_root: self.supervoxels_without_root(),
            manifest,
            selected: self.selected,
            extracted: written.extracted,
            not_reused: written.not_reused,
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
        let opened = Sources::open(&self.plan.table, &self.storage);
        let mut sources = opened.map_err(|source| JobError::PlannedSources {
            output: self.output.location().to_string(),
            source,
        })?;
        let facts = SourceFacts::of_all(&sources.volumes);
        compare_metadata(&self.plan, &facts).map_err(|what| JobError::SourcesChanged { what })?;
        use_codecs(&mut sources, &self.plan.layout);
        Ok(sources)
    }
}

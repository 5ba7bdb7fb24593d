//! An earlier output whose samples and shards a new job uses again.

use super::compare::same_sources;
use super::error::JobError;
use super::plan_files::PlanHeader;
use super::planned_output::{read_stored_plan, stored_header};
use super::{PlannedOutput, RunOptions};
use crate::dataset::{DatasetError, Output};
use crate::extract::Sources;
use crate::plan::{EarlierPlan, FinishedPlan, Plan, SourceFacts};
use crate::storage::{Location, Storage};

/// An earlier output with its plan.
#[derive(Debug)]
pub(super) struct EarlierOutput {
    /// Where it is.
    pub location: Location,
    pub plan: FinishedPlan,
    pub plan_digest: String,
    /// Memory that its plan takes while the new one is made.
    pub memory_bytes: u64,
}

impl EarlierOutput {
    /// Reads the plan of the output at `location`, which may be unfinished. The new output is at `out`.
    ///
    /// # Errors
    /// There is no plan, it cannot be read, or it takes more memory than the options allow. Both outputs are the same.
    pub fn open(
        location: &Location,
        out: &Location,
        options: RunOptions,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        require_other(out, location)?;
        let output = Output::to_read(location, storage);
        let of_earlier = |e| earlier_error(location, e);
        let header = stored_header(&output).map_err(of_earlier)?;
        let header = header.ok_or_else(|| nothing_to_reuse(location))?;
        Ok(Self {
            plan: read_stored_plan(&output, &header, options).map_err(of_earlier)?,
            plan_digest: header.plan_digest().to_owned(),
            memory_bytes: header
                .memory_bytes()
                .saturating_add(EarlierPlan::memory_bytes(header.samples())),
            location: location.clone(),
        })
    }

    /// The earlier plan, compared with the plan `now`, whose volumes are `sources`, and lines about what is not reused: volumes that moved, or everything.
    pub fn compare_with(&self, now: &Plan, sources: &Sources) -> (EarlierPlan<'_>, Vec<String>) {
        let facts = SourceFacts::of_all(&sources.volumes);
        let (same, moved) = same_sources(&self.plan, now, &facts);
        let earlier = EarlierPlan::new(&self.plan, now, same);
        let moved = moved.into_iter();
        let moved = moved.map(|line| format!("{line}: its windows are cut again"));
        let mut notes: Vec<String> = moved.collect();
        if earlier.has_no_common_box() {
            let example = |plan: &Plan| plan.boxes.first().map_or("", |b| &b.id).to_owned();
            notes.push(format!(
                "no shard of {} can be copied: no box has the id and the split of one of its boxes, for example {:?}, and {:?} there",
                self.location,
                example(now),
                example(&self.plan.table)
            ));
        }
        (earlier, notes)
    }
}

impl PlannedOutput {
    /// Fails unless the plan uses the earlier output at `location` again. Shards are copied from there, wherever it was when
    /// the plan was made.
    pub(super) fn require_reuse(
        &mut self,
        location: &Location,
        storage: &Storage,
    ) -> Result<(), JobError> {
        let earlier = Output::to_read(location, storage);
        let header = stored_header(&earlier).map_err(|e| earlier_error(location, e))?;
        let planned = self.plan.reuse.as_ref().map(|reuse| &reuse.location);
        if header.is_none() && planned.is_some_and(|planned| place(planned) == place(location)) {
            // It is gone. The plan has its order, and windows are cut instead.
            return Ok(());
        }
        let header = header.ok_or_else(|| nothing_to_reuse(location))?;
        let digest = header.plan_digest();
        match &mut self.plan.reuse {
            Some(reuse) if reuse.plan_digest == digest => {
                reuse.location = location.clone();
                Ok(())
            }
            reuse => Err(JobError::OtherReuse {
                output: self.output.location().to_string(),
                wanted: location.to_string(),
                planned: reuse.as_ref().map(|reuse| reuse.location.to_string()),
            }),
        }
    }
}

/// The error of reading the earlier output, which the user must not take for the new one.
fn earlier_error(location: &Location, error: JobError) -> JobError {
    match error {
        JobError::Dataset(
            DatasetError::NotAnOutput { .. }
            | DatasetError::ForeignFiles { .. }
            | DatasetError::NotAFolder { .. },
        ) => nothing_to_reuse(location),
        JobError::Dataset(source @ DatasetError::Damaged { .. }) => JobError::DamagedEarlier {
            earlier: location.to_string(),
            source,
        },
        other => other,
    }
}

fn nothing_to_reuse(location: &Location) -> JobError {
    let earlier = location.to_string();
    JobError::NothingToReuse { earlier }
}

/// Fails if the earlier output is at the same place as the new one.
fn require_other(out: &Location, earlier: &Location) -> Result<(), JobError> {
    if place(out) == place(earlier) {
        let output = out.to_string();
        return Err(JobError::ReuseOfItself { output });
    }
    Ok(())
}

/// The location in a form that can be compared. A local folder may be gone.
fn place(location: &Location) -> Location {
    match location {
        Location::Local(path) => {
            let path = path.canonicalize().or_else(|_| std::path::absolute(path));
            path.map_or_else(|_| location.clone(), Location::Local)
        }
        Location::Remote(_) => location.without_secrets(),
    }
}

/// The earlier output of a plan's shards, if it still has the plan that they belong to, or why it cannot be used.
pub(super) fn earlier_output(
    location: &Location,
    plan_digest: &str,
    storage: &Storage,
) -> Result<Output, String> {
    let output = Output::to_read(location, storage);
    let bytes = output.read_plan().map_err(|e| e.to_string())?;
    let header = bytes.map(|bytes| PlanHeader::parse(&bytes)).transpose()?;
    match header {
        Some(header) if header.plan_digest() == plan_digest => Ok(output),
        Some(_) => Err("it has another plan now".to_owned()),
        None => Err("it has no plan any more".to_owned()),
    }
}

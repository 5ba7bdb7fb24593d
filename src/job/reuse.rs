//! An earlier output whose samples and shards a new job uses again.

use super::compare::same_sources;
use super::error::JobError;
use super::plan_files::PlanHeader;
use super::planned_output::{no_plan, read_stored_plan, stored_header};
use super::{PlannedOutput, RunOptions};
use crate::dataset::Output;
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
        let output = Output::at(location, storage)?;
        let header = stored_header(&output)?.ok_or_else(|| no_plan(location))?;
        Ok(Self {
            plan: read_stored_plan(&output, &header, options)?,
            plan_digest: header.plan_digest().to_owned(),
            memory_bytes: header
                .memory_bytes()
                .saturating_add(EarlierPlan::memory_bytes(header.samples())),
            location: location.clone(),
        })
    }

    /// The earlier plan, seen from `now`, whose volumes are `sources`, and a line for each volume that moved.
    pub fn seen_from(&self, now: &Plan, sources: &Sources) -> (EarlierPlan<'_>, Vec<String>) {
        let facts = SourceFacts::of_all(&sources.volumes);
        let (same, moved) = same_sources(&self.plan, now, &facts);
        let moved = moved.into_iter();
        let moved = moved.map(|line| format!("{line}: its windows are cut again"));
        (EarlierPlan::new(&self.plan, now, same), moved.collect())
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
        let earlier = Output::at(location, storage)?;
        let header = stored_header(&earlier)?.ok_or_else(|| no_plan(location))?;
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

/// Fails if the earlier output is at the same place as the new one.
fn require_other(out: &Location, earlier: &Location) -> Result<(), JobError> {
    let place = |location: &Location| match location {
        Location::Local(path) => match path.canonicalize() {
            Ok(path) => Location::Local(path),
            Err(_) => location.clone(),
        },
        Location::Remote(_) => location.clone(),
    };
    if place(out) == place(earlier) {
        let output = out.to_string();
        return Err(JobError::ReuseOfItself { output });
    }
    Ok(())
}

/// The earlier output of a plan's shards, if it still has the plan that they belong to, or why it cannot be used.
pub(super) fn earlier_output(
    location: &Location,
    plan_digest: &str,
    storage: &Storage,
) -> Result<Output, String> {
    let output = Output::at(location, storage).map_err(|e| e.to_string())?;
    let bytes = output.read_plan().map_err(|e| e.to_string())?;
    let header = bytes.map(|bytes| PlanHeader::parse(&bytes)).transpose()?;
    match header {
        Some(header) if header.plan_digest() == plan_digest => Ok(output),
        Some(_) => Err("it has another plan now".to_owned()),
        None => Err("it has no plan any more".to_owned()),
    }
}

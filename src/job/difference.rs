//! The differences between the plan that an output belongs to and another plan.

use super::record::PlanRecord;
use crate::dataset::{Claim, ClaimState, DatasetError, Output, from_checksummed, to_checksummed};

mod boxes;
mod config;
mod list;
mod sources;

use list::Differences;

/// Claims the output for the plan of `record`, and writes the record as its plan.
///
/// # Errors
/// The output belongs to another job or plan: the error lists the differences.
pub(super) fn claim(
    output: Output,
    claim: &Claim,
    force: bool,
    record: impl Fn() -> PlanRecord,
) -> Result<Output, DatasetError> {
    let before = output.clone();
    let output = match output.claim(claim, force) {
        Err(DatasetError::OtherPlan { output, what }) => {
            let what = explain(&before, &record()).unwrap_or(what);
            return Err(DatasetError::OtherPlan { output, what });
        }
        claimed => claimed?,
    };
    let bytes = to_checksummed(&record()).map_err(|e| output.damaged_plan(e.to_string()))?;
    if !output.create_plan(&bytes)? {
        has_plan(&output, claim, record)?;
    }
    Ok(output)
}

/// Whether the output has the plan of `record`; `false` if it has no plan yet.
///
/// # Errors
/// It belongs to another job, or has another plan: the error lists the differences.
pub(super) fn has_plan(
    output: &Output,
    claim: &Claim,
    record: impl Fn() -> PlanRecord,
) -> Result<bool, DatasetError> {
    let ClaimState::Claimed(found) = output.state()? else {
        return Ok(false);
    };
    let Some(bytes) = output.read_plan()? else {
        return Ok(false);
    };
    let now = record();
    let was: PlanRecord = from_checksummed(&bytes).map_err(|e| output.damaged_plan(e))?;
    if found.is_same_job(claim) && was.plan_digest == now.plan_digest {
        return Ok(found.clearing.is_none());
    }
    Err(DatasetError::OtherPlan {
        output: output.location().to_string(),
        what: describe(&was, &now),
    })
}

/// The differences between the plan of the output and this one, if it has a plan that can be read.
fn explain(output: &Output, now: &PlanRecord) -> Option<String> {
    let bytes = output.read_plan().ok()??;
    let was: PlanRecord = from_checksummed(&bytes).ok()?;
    Some(describe(&was, now))
}

/// The differences, one line each.
fn describe(was: &PlanRecord, now: &PlanRecord) -> String {
    let mut differences = Differences::default();
    let config = config::compare(&was.config, &now.config, &mut differences);
    sources::compare(was, now, &config, &mut differences);
    boxes::compare(was, now, &config, &mut differences);
    if differences.is_empty() {
        compare_samples(was, now, &mut differences);
    }
    if differences.is_empty() {
        differences.add(|| {
            format!(
                "nothing that is recorded; the output was written by pointshard {}, this is {}",
                was.program, now.program
            )
        });
    }
    differences.to_string()
}

/// Compares samples. Where everything else is equal, voxels must have changed.
fn compare_samples(was: &PlanRecord, now: &PlanRecord, differences: &mut Differences) {
    for (was, now) in was.splits.iter().zip(&now.splits) {
        let voxels = "voxels of a layer that decide about samples (`outside`, `min_nonzero_fraction`, `object_at`) have changed";
        if was.samples != now.samples {
            differences.add(|| {
                format!(
                    "split `{}`: had {} samples, has {} now: {voxels}",
                    now.name, was.samples, now.samples
                )
            });
        } else if was.digest != now.digest {
            differences.add(|| {
                format!(
                    "split `{}`: its samples or their objects: {voxels}",
                    now.name
                )
            });
        }
    }
}

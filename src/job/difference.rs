//! The differences between the plan that an output belongs to and another plan.

use std::path::Path;

use super::record::PlanRecord;
use crate::dataset::{DatasetError, Output};

mod boxes;
mod config;
mod list;
mod sources;

use list::Differences;

/// Writes the record of the output's plan beside it, if it has none.
pub(super) fn keep_record(output: &Output, record: impl FnOnce() -> PlanRecord) {
    // The digest comes first in a record.
    let start = format!("{{\"plan_digest\":\"{}\"", output.plan_digest());
    if !Output::has_record(output.root(), start.as_bytes()) {
        // The dataset does not need it, and a finished one may be in a folder that cannot be written.
        let _ = output.write_record(&record());
    }
}

/// The error. Where the folder `out` holds the output of another plan, it lists the differences.
pub(super) fn explain(
    error: DatasetError,
    out: &Path,
    record: impl FnOnce() -> PlanRecord,
) -> DatasetError {
    error.with_difference(|found| match Output::read_record(out) {
        None => unknown("it was written by an older version, which kept no record of its plan"),
        Some(bytes) => match PlanRecord::parse(&bytes) {
            None => unknown(
                "the record of its plan, .pointshard/record.json, is damaged or of another version",
            ),
            Some(was) if was.plan_digest != found => {
                unknown("the record of its plan, .pointshard/record.json, is that of another run")
            }
            Some(was) => describe(&was, &record()),
        },
    })
}

fn unknown(why: &str) -> String {
    format!(
        "the config, the collection, the annotations or a source; it is not known which of them: {why}"
    )
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

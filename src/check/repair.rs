//! Repairing what a check found: damaged files are replaced, with the same bytes.

use std::collections::HashSet;

use super::kind::{FindingKind, Severity};
use super::report::Report;
use crate::extract::Progress;
use crate::job::{JobError, Outcome, PlannedOutput, RunOptions};
use crate::storage::{Location, Storage};

impl Report {
    /// Whether something is wrong that a repair can correct. Files that do not belong to the dataset stay.
    pub fn can_be_repaired(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|f| {
            let is_error = f.severity == Severity::Error;
            let stays = [
                FindingKind::UnexpectedFile,
                FindingKind::Leak,
                FindingKind::Source,
            ];
            is_error && !stays.contains(&f.kind)
        })
    }
}

/// Repairs the dataset at `location`, in which a check found what is in `report`. The plan in the dataset says how; shards that are
/// written again are cut from the sources.
///
/// # Errors
/// The plan and its copy are damaged, a source cannot be read, or the dataset cannot be written.
pub fn repair(
    location: &Location,
    report: &Report,
    options: RunOptions,
    storage: &Storage,
    progress: &Progress,
) -> Result<Outcome, JobError> {
    let findings = report.findings.iter();
    let errors = findings.filter(|f| f.severity == Severity::Error);
    let damaged: HashSet<_> = errors.map(|f| f.file.as_str()).collect();
    PlannedOutput::repair(location, &damaged, options, storage, progress)
}

//! Checking a dataset: every file is complete, every sample can be decoded, columns and arrays agree, and nothing in it is
//! suspicious, such as leaks between splits.
//!
//! A location comes in; a [`Report`] with one [`Finding`] per problem goes out. A dataset may be damaged or forged: no claim
//! of it is followed, and no memory allocated for it, before it is compared with the manifest and with the files that
//! exist. A file that cannot be read does not hide problems of others. Nothing upstream of `dataset` is needed,
//! except by [`check_source`] and [`repair`].

mod balance;
mod columns;
mod content;
mod dropped;
mod equal_samples;
mod files;
mod groups;
mod kind;
mod leaks;
mod memory;
mod objects;
mod padding;
mod private;
mod random_samples;
mod repair;
mod report;
mod rows;
mod shards;
mod source;
mod streamed;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::Arc;

use crate::dataset::{Dataset, DatasetError, MANIFEST, Manifest};
use crate::fault::{Fault, FaultKind};
use crate::storage::{Location, Storage, Store};
pub use kind::{FindingKind, Severity};
use objects::DatasetObjects;
use random_samples::random_samples;
pub use repair::repair;
pub use report::{Checked, Finding, Report};
use shards::Samples;
pub use source::{SourceSamples, check_source};
use watched::WatchedStore;

/// Most requests in progress at the same time, beside those of the threads that compute.
const REQUESTS: usize = 16;

/// How to check a dataset.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// How much is read.
    pub level: CheckLevel,
    /// Most memory that the program may take, in bytes.
    pub memory_bytes: u64,
}

/// How much a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckLevel {
    /// The bytes of every file: sizes and digests.
    Quick,
    /// Everything: the bytes of every file, and the values of every sample.
    Full,
    /// Everything but the shards. Of these, some random samples of each split.
    Sample {
        /// Number of samples of each split.
        samples: u64,
        /// The same number chooses the same samples.
        seed: u64,
    },
}

/// Checks the dataset at `location`, a local folder or a folder on a server, with the threads of the current rayon pool.
///
/// # Errors
/// The location is not a dataset, a server fails, or the memory limit is too low. Every other problem is a finding.
pub fn check(
    location: impl Into<Location>,
    options: CheckOptions,
    storage: &Storage,
) -> Result<Report, DatasetError> {
    let location = location.into();
    let store = Arc::new(WatchedStore::open(&location, storage));
    let checked = if store.has_latency() {
        let threads = REQUESTS.min(storage.network().requests);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(rayon::current_num_threads()))
            .build();
        match pool {
            Ok(pool) => pool.install(|| report(&location, options, &store, storage)),
            Err(_) => report(&location, options, &store, storage),
        }
    } else {
        report(&location, options, &store, storage)
    };
    match store.take_failure() {
        Some(failure) => Err(failure.into()),
        None => checked,
    }
}

fn report(
    location: &Location,
    options: CheckOptions,
    store: &Arc<WatchedStore>,
    storage: &Storage,
) -> Result<Report, DatasetError> {
    let mut report = Report::default();
    let store: Arc<dyn Store> = store.clone();
    match Dataset::open_unchecked(location.clone(), store, storage) {
        Err(e) if e.kind() == FaultKind::Usage => return Err(e),
        Err(e) => report.findings.push(of_manifest(report::describe(&e))),
        Ok(dataset) => check_dataset(&dataset, options, &mut report)?,
    }
    let is_error = |f: &Finding| f.severity == Severity::Error;
    report.ok = !report.findings.iter().any(is_error);
    Ok(report)
}

fn check_dataset(
    dataset: &Dataset,
    options: CheckOptions,
    report: &mut Report,
) -> Result<(), DatasetError> {
    let manifest = dataset.manifest();
    let problems = manifest.problems();
    if problems.is_empty() {
        memory::require(manifest, rayon::current_num_threads(), options.memory_bytes)?;
    }
    let objects = DatasetObjects::list(dataset, files::group_paths(dataset).into_iter());
    report.checked = Checked {
        unexpected_files: objects.can_be_listed(),
        ..contents(manifest, options.level)
    };
    let findings = &mut report.findings;
    findings.extend(problems.iter().map(|p| of_manifest(p.to_string())));
    findings.extend(files::check(dataset, &objects));
    if !problems.is_empty() {
        // What a wrong manifest says about samples means nothing, but its file sizes and digests may be right.
        findings.extend(shards::check_bytes(dataset, &objects));
        return Ok(());
    }
    match options.level {
        CheckLevel::Quick => findings.extend(shards::check_bytes(dataset, &objects)),
        CheckLevel::Full => {
            findings.extend(check_columns(dataset));
            findings.extend(shards::check(dataset, &objects, Samples::All));
        }
        CheckLevel::Sample { samples, seed } => {
            findings.extend(check_columns(dataset));
            let chosen = random_samples(manifest, samples, seed);
            findings.extend(shards::check(dataset, &objects, Samples::Some(&chosen)));
        }
    }
    findings.extend(private::check(dataset, &objects));
    Ok(())
}

/// Checks metadata and columns, and what they say about the samples.
fn check_columns(dataset: &Dataset) -> Vec<Finding> {
    let mut findings = groups::check(dataset);
    let (of_columns, rows) = columns::check(dataset);
    findings.extend(of_columns);
    findings.extend(leaks::check(dataset, &rows));
    findings.extend(balance::check(dataset, &rows));
    findings.extend(dropped::check(dataset));
    findings
}

/// What the manifest lists, and how much of it a check of this level decodes.
fn contents(manifest: &Manifest, level: CheckLevel) -> Checked {
    let decoded = |samples: u64| match level {
        CheckLevel::Quick => 0,
        CheckLevel::Full => samples,
        CheckLevel::Sample { samples: most, .. } => samples.min(most),
    };
    let arrays = manifest.arrays.len() as u64;
    let windows = manifest.splits.values();
    let windows = windows.map(|s| decoded(s.samples).saturating_mul(arrays));
    let samples = manifest.splits.values().map(|s| s.samples);
    let files = manifest.files.iter().map(|f| f.bytes);
    let shards = manifest.shards.iter();
    Checked {
        files: manifest.files.len() as u64,
        shards: manifest.shards.len() as u64,
        samples: sum(samples),
        windows: sum(windows),
        bytes: sum(files.chain(shards.map(|s| s.bytes))),
        unexpected_files: false,
    }
}

fn of_manifest(message: String) -> Finding {
    Finding::new(FindingKind::Manifest, MANIFEST, message)
}

/// The sum, or the largest number where the sum of a manifest's numbers is larger.
fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

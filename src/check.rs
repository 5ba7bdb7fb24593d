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

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::dataset::{Dataset, DatasetError, MANIFEST, Manifest};
use crate::fault::{Fault, FaultKind};
use crate::storage::{Location, Storage, Store};
pub use kind::{FindingKind, Severity};
use objects::DatasetObjects;
pub(crate) use random_samples::random_samples;
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

/// Samples by split: their positions.
pub(crate) type ChosenSamples = HashMap<String, BTreeSet<u64>>;

/// Checks the dataset at `location`, a local folder or a folder on a server, with the threads of the current rayon pool.
///
/// # Errors
/// The location is not a dataset, a server fails, or the memory limit is too low. Every other problem is a finding.
pub fn check(
    location: impl Into<Location>,
    options: CheckOptions,
    storage: &Storage,
) -> Result<Report, DatasetError> {
    check_with(&location.into(), options, None, storage)
}

/// As [`check`] at the level [`CheckLevel::Sample`], but of these samples.
pub(crate) fn check_samples(
    location: &Location,
    samples: &ChosenSamples,
    memory_bytes: u64,
    storage: &Storage,
) -> Result<Report, DatasetError> {
    let options = CheckOptions {
        level: CheckLevel::Full,
        memory_bytes,
    };
    check_with(location, options, Some(samples), storage)
}

fn check_with(
    location: &Location,
    options: CheckOptions,
    chosen: Option<&ChosenSamples>,
    storage: &Storage,
) -> Result<Report, DatasetError> {
    let store = Arc::new(WatchedStore::open(location, storage));
    let checked = || report(location, options, chosen, &store, storage);
    let checked = if store.has_latency() {
        let threads = REQUESTS.min(storage.network().requests);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(rayon::current_num_threads()))
            .build();
        match pool {
            Ok(pool) => pool.install(checked),
            Err(_) => checked(),
        }
    } else {
        checked()
    };
    match store.take_failure() {
        Some(failure) => Err(failure.into()),
        None => checked,
    }
}

fn report(
    location: &Location,
    options: CheckOptions,
    chosen: Option<&ChosenSamples>,
    store: &Arc<WatchedStore>,
    storage: &Storage,
) -> Result<Report, DatasetError> {
    let mut report = Report::default();
    let store: Arc<dyn Store> = store.clone();
    match Dataset::open_unchecked(location.clone(), store, storage) {
        Err(e) if e.kind() == FaultKind::Usage => return Err(e),
        Err(e) => report.findings.push(of_manifest(report::describe(&e))),
        Ok(dataset) => check_dataset(&dataset, options, chosen, &mut report)?,
    }
    let is_error = |f: &Finding| f.severity == Severity::Error;
    report.ok = !report.findings.iter().any(is_error);
    Ok(report)
}

fn check_dataset(
    dataset: &Dataset,
    options: CheckOptions,
    chosen: Option<&ChosenSamples>,
    report: &mut Report,
) -> Result<(), DatasetError> {
    let manifest = dataset.manifest();
    let problems = manifest.problems();
    if problems.is_empty() {
        memory::require(manifest, rayon::current_num_threads(), options.memory_bytes)?;
    }
    let objects = DatasetObjects::list(dataset, files::group_paths(dataset).into_iter());
    let random = match options.level {
        CheckLevel::Sample { samples, seed } if problems.is_empty() => {
            Some(random_samples(manifest, samples, seed))
        }
        _ => None,
    };
    let chosen = chosen.or(random.as_ref());
    report.checked = Checked {
        unexpected_files: objects.can_be_listed(),
        ..contents(manifest, options.level, chosen)
    };
    let findings = &mut report.findings;
    findings.extend(problems.iter().map(|p| of_manifest(p.to_string())));
    findings.extend(files::check(dataset, &objects));
    if !problems.is_empty() {
        // What a wrong manifest says about samples means nothing, but its file sizes and digests may be right.
        findings.extend(shards::check_bytes(dataset, &objects));
        return Ok(());
    }
    if options.level == CheckLevel::Quick {
        findings.extend(shards::check_bytes(dataset, &objects));
    } else {
        findings.extend(check_columns(dataset));
        let samples = chosen.map_or(Samples::All, Samples::Some);
        findings.extend(shards::check(dataset, &objects, samples));
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

/// What the manifest lists, and how much of it is decoded.
fn contents(manifest: &Manifest, level: CheckLevel, chosen: Option<&ChosenSamples>) -> Checked {
    let decoded = |split: &str, samples: u64| match chosen {
        _ if level == CheckLevel::Quick => 0,
        None => samples,
        Some(chosen) => chosen
            .get(split)
            .map_or(0, |of_split| of_split.len() as u64),
    };
    let arrays = manifest.arrays.len() as u64;
    let windows = manifest.splits.iter();
    let windows = windows.map(|(name, s)| decoded(name, s.samples).saturating_mul(arrays));
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

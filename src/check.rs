//! Checking a dataset: every file is complete, every sample can be decoded, columns and arrays agree.
//!
//! A location comes in; a [`Report`] with one [`Finding`] per problem goes out. A dataset may be damaged or forged: no claim
//! of it is followed, and no memory allocated for it, before it is compared with the manifest and with the files that
//! exist. A file that cannot be read does not hide problems of others. Nothing upstream of `dataset` is needed.

mod columns;
mod files;
mod groups;
mod memory;
mod objects;
mod padding;
mod private;
mod report;
mod rows;
mod shards;
mod streamed;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::Arc;

use crate::dataset::{Dataset, DatasetError, MANIFEST, Manifest};
use crate::fault::{Fault, FaultKind};
use crate::storage::{Location, Storage, Store};
use objects::DatasetObjects;
pub use report::{Checked, Finding, FindingKind, Report};
use watched::WatchedStore;

/// Most requests in progress at the same time, beside those of the threads that compute.
const REQUESTS: usize = 16;

/// How to check a dataset.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// Most memory that the program may take, in bytes.
    pub memory_bytes: u64,
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
    report.ok = report.findings.is_empty();
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
        ..contents(manifest)
    };
    let findings = &mut report.findings;
    findings.extend(problems.iter().map(|p| of_manifest(p.to_string())));
    findings.extend(files::check(dataset, &objects));
    if problems.is_empty() {
        findings.extend(groups::check(dataset));
        findings.extend(columns::check(dataset));
        findings.extend(shards::check(dataset, &objects));
        findings.extend(private::check(dataset, &objects));
    } else {
        // What a wrong manifest says about samples means nothing, but its file sizes and digests may be right.
        findings.extend(shards::check_bytes(dataset, &objects));
    }
    Ok(())
}

/// What the manifest lists.
fn contents(manifest: &Manifest) -> Checked {
    let samples = manifest.splits.values().map(|s| s.samples);
    let files = manifest.files.iter().map(|f| f.bytes);
    let shards = manifest.shards.iter();
    Checked {
        files: manifest.files.len() as u64,
        shards: manifest.shards.len() as u64,
        samples: sum(samples),
        windows: sum(shards.clone().map(|s| s.samples)),
        bytes: sum(files.chain(shards.map(|s| s.bytes))),
        unexpected_files: false,
    }
}

fn of_manifest(message: String) -> Finding {
    Finding {
        kind: FindingKind::Manifest,
        file: MANIFEST.into(),
        split: None,
        samples: Vec::new(),
        message,
    }
}

/// The sum, or the largest number where the sum of a manifest's numbers is larger.
fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

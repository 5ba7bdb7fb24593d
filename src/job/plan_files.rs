//! A finished plan as files, and back.
//!
//! [`write`] gives every column of the samples to a callback, file by file, and returns the [`PlanHeader`]: everything else,
//! and the size and digest of each file. The caller writes the header last, as checksummed JSON, to `.pointshard/plan.json`.
//! [`PlanHeader::parse`] reads these bytes; the header alone has layout, digest and tasks. [`read`] reads the whole
//! plan, which is equal to the one that was written. Damaged files are errors that name the file.
//!
//! The columns are the index columns of the dataset, below `.pointshard/plan/<plan digest>/<split>/<column>`: two processes
//! with different plans never write to the same file.

mod header;
mod samples;
mod stored_parts;
#[cfg(test)]
pub(super) mod synthetic;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::dropped;
use super::index_columns::IndexColumn;
use crate::dataset::{DatasetError, FileEntry, PLAN_FILE, group_path, plan_folder};
use crate::plan::{DroppedAnnotation, FinishedPlan};
use crate::storage::Store;
pub(crate) use header::PlanHeader;
use samples::SplitReader;

/// Largest file of a column, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Gives `put` the key and the bytes of every file of the plan's columns, one after the other. Keys are relative to the
/// output.
pub(crate) fn write<E: From<DatasetError>>(
    plan: &FinishedPlan,
    dropped: &[DroppedAnnotation],
    mut put: impl FnMut(String, Vec<u8>) -> Result<(), E>,
) -> Result<PlanHeader, E> {
    let digest = plan.digest().to_string();
    let mut files = Vec::new();
    let mut put = |path: String, bytes: Vec<u8>| {
        files.push(FileEntry {
            bytes: bytes.len() as u64,
            blake3: blake3::hash(&bytes).to_string(),
            path: path.clone(),
        });
        put(path, bytes)
    };
    for (number, split) in plan.table.splits.iter().enumerate() {
        for column in IndexColumn::all(plan) {
            let folder = split_folder(&digest, &split.name);
            let samples = split.samples.len() as u64;
            let of_column = column.column(plan, number);
            of_column.write(&column.name(plan), samples, |key, bytes| {
                put(format!("{folder}/{key}"), bytes)
            })?;
        }
    }
    if !dropped.is_empty() {
        let folder = dropped::folder(&digest);
        for (name, column) in dropped::columns(dropped) {
            column.write(name, dropped.len() as u64, |key, bytes| {
                put(format!("{folder}/{key}"), bytes)
            })?;
        }
    }
    Ok(PlanHeader::of(plan, digest, files))
}

/// The plan with this header. `store` holds the output.
///
/// # Errors
/// A file is missing, has other bytes than the header says, or does not fit the others.
pub(crate) fn read(header: &PlanHeader, store: &dyn Store) -> Result<FinishedPlan, DatasetError> {
    let damaged = |problem| DatasetError::Damaged {
        path: store.describe(PLAN_FILE),
        problem,
    };
    let mut plan = header.without_samples().map_err(damaged)?;
    let mut files = ListedFiles::new(header, store);
    let columns = IndexColumn::all(&plan);
    let mut fractions = Vec::new();
    for (number, split) in header.splits().enumerate() {
        let folder = split_folder(header.plan_digest(), &split.name);
        let mut reader = SplitReader::new(&mut plan, number, split.samples);
        for column in &columns {
            reader.read_column(*column, |key| files.read(&format!("{folder}/{key}")))?;
        }
        fractions.push(reader.finish());
    }
    files.require_all_read().map_err(damaged)?;
    header.complete(plan, fractions).map_err(damaged)
}

fn split_folder(plan_digest: &str, split: &str) -> String {
    format!("{}/{split}", plan_folder(plan_digest))
}

/// The key of the file of an index column of the dataset that has the same bytes as this file of the plan.
pub(crate) fn index_column_key(header: &PlanHeader, key: &str) -> Option<String> {
    let below = key.strip_prefix(&plan_folder(header.plan_digest()))?;
    let (split, file) = below.strip_prefix('/')?.split_once('/')?;
    Some(format!("{}/{file}", group_path(split)))
}

/// The files that a header lists.
struct ListedFiles<'a> {
    store: &'a dyn Store,
    /// By path; those that were not read yet.
    unread: HashMap<&'a str, &'a FileEntry>,
}

impl<'a> ListedFiles<'a> {
    fn new(header: &'a PlanHeader, store: &'a dyn Store) -> Self {
        let dropped = dropped::folder(header.plan_digest());
        // No task needs them, and they may be many.
        let files = header.files().iter();
        let files = files.filter(|file| !file.path.starts_with(&dropped));
        Self {
            store,
            unread: files.map(|file| (file.path.as_str(), file)).collect(),
        }
    }

    /// The bytes of the file, which must be those that the header lists, and its name for messages.
    fn read(&mut self, key: &str) -> Result<(Vec<u8>, String), DatasetError> {
        let name = self.store.describe(key);
        let damaged = |problem| DatasetError::Damaged {
            path: name.clone(),
            problem,
        };
        let entry = self
            .unread
            .remove(key)
            .ok_or_else(|| damaged(format!("{PLAN_FILE} does not list it")))?;
        if entry.bytes > MAX_FILE_BYTES {
            let problem = format!(
                "{PLAN_FILE} lists {} bytes, expected at most {MAX_FILE_BYTES}",
                entry.bytes
            );
            return Err(damaged(problem));
        }
        let mut bytes = Vec::new();
        if !self.store.read(key, MAX_FILE_BYTES, &mut bytes)? {
            return Err(damaged("it is missing".to_owned()));
        }
        let found = (bytes.len() as u64, blake3::hash(&bytes).to_string());
        if found == (entry.bytes, entry.blake3.clone()) {
            Ok((bytes, name))
        } else {
            Err(damaged(format!(
                "it has {} bytes with the blake3 {}, expected {} bytes with {} from {PLAN_FILE}",
                found.0, found.1, entry.bytes, entry.blake3
            )))
        }
    }

    fn require_all_read(&self) -> Result<(), String> {
        match self.unread.keys().min() {
            None => Ok(()),
            Some(file) => Err(format!("it lists {file}, which is no column of the plan")),
        }
    }
}

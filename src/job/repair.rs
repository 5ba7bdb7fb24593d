//! Repairing a damaged output. What it knows twice is restored from the other place: the claim from the plan, `plan.json` from its
//! copy, columns of the plan from the index columns of the dataset. Damaged shards are replaced. The dataset is sealed again,
//! which writes metadata, columns and manifest.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::plan_files::{self, PlanHeader};
use super::planned_output::claim_of;
use super::{JobError, Outcome, PlannedOutput, RunOptions};
use crate::dataset::{DatasetError, Manifest, Output, PLAN_COLUMNS, is_plan_copy};
use crate::extract::Progress;
use crate::storage::{ListedObject, Location, MAX_DOCUMENT_BYTES, Storage};

impl PlannedOutput {
    /// Repairs the dataset at `out`. `damaged` has the keys of shards and receipts that are to be written again.
    ///
    /// # Errors
    /// The plan and its copy are damaged, a source cannot be read, or the output cannot be written.
    pub(crate) fn repair(
        out: &Location,
        damaged: &HashSet<&str>,
        options: RunOptions,
        storage: &Storage,
        progress: &Progress,
    ) -> Result<Outcome, JobError> {
        let output = Output::at(out, storage)?;
        restore_plan(&output)?;
        // Nothing is copied from an earlier output: its shard may be the same file, with the same damage.
        Self::open(out, options, storage)?.rewrite(damaged, options, progress)
    }
}

/// Restores the files that the output's plan is read from.
fn restore_plan(output: &Output) -> Result<(), JobError> {
    let manifest = output.read_manifest()?;
    let manifest = manifest.and_then(|bytes| Manifest::parse_whole(&bytes));
    let of_manifest = manifest.map(|manifest| manifest.plan_digest);
    let is_other = |header: &PlanHeader| {
        let expected = of_manifest.as_deref();
        expected.is_some_and(|digest| digest != header.plan_digest())
    };
    let header = match stored_header(output)? {
        Ok(header) if !is_other(&header) => header,
        damaged => {
            let problem = damaged
                .err()
                .unwrap_or_else(|| "it is not that of the manifest".to_owned());
            let Some((bytes, header)) = copied_header(output, is_other)? else {
                return Err(output.damaged_plan(problem).into());
            };
            output.restore_plan(&bytes)?;
            header
        }
    };
    let config = header.config().map_err(|e| output.damaged_plan(e))?;
    output.restore_claim(&claim_of(&config))?;
    restore_columns(output, &header)
}

/// The header of the plan, or what is wrong with it.
fn stored_header(output: &Output) -> Result<Result<PlanHeader, String>, DatasetError> {
    let bytes = match output.read_plan() {
        Ok(bytes) => bytes,
        // Another kind of file is in its place.
        Err(e) => return Ok(Err(e.to_string())),
    };
    let header = bytes.map(|bytes| PlanHeader::parse(&bytes));
    Ok(header.unwrap_or_else(|| Err("it is missing".to_owned())))
}

/// An intact copy of `plan.json` that is not that of another plan: its bytes and contents.
fn copied_header(
    output: &Output,
    is_other: impl Fn(&PlanHeader) -> bool,
) -> Result<Option<(Vec<u8>, PlanHeader)>, DatasetError> {
    let mut keys = Vec::new();
    output
        .store()
        .list(PLAN_COLUMNS, &mut |object: ListedObject| {
            keys.extend(is_plan_copy(&object.key).then_some(object.key));
            ControlFlow::Continue(())
        })?;
    for key in keys {
        let mut bytes = Vec::new();
        let is_read = output.store().read(&key, MAX_DOCUMENT_BYTES, &mut bytes);
        if let (Ok(true), Ok(header)) = (is_read, PlanHeader::parse(&bytes))
            && !is_other(&header)
        {
            return Ok(Some((bytes, header)));
        }
    }
    Ok(None)
}

/// Restores damaged columns of the plan from those of the dataset, which have the same bytes.
fn restore_columns(output: &Output, header: &PlanHeader) -> Result<(), JobError> {
    for file in header.files() {
        let read = |key: &str| -> Option<Vec<u8>> {
            let mut bytes = Vec::new();
            let read = output.store().read(key, MAX_DOCUMENT_BYTES, &mut bytes);
            let is_right = matches!(read, Ok(true))
                && bytes.len() as u64 == file.bytes
                && blake3::hash(&bytes).to_string() == file.blake3;
            is_right.then_some(bytes)
        };
        if read(&file.path).is_some() {
            continue;
        }
        let twin = plan_files::index_column_key(header, &file.path);
        match twin.and_then(|twin| read(&twin)) {
            Some(bytes) => output.write_plan_file(&file.path, &bytes)?,
            None => {
                return Err(DatasetError::Damaged {
                    path: output.store().describe(&file.path),
                    problem: "the same column of the dataset is damaged, too: delete .pointshard/plan.json and run \
                              `pointshard preprocess` again with the config"
                        .to_owned(),
                }
                .into());
            }
        }
    }
    Ok(())
}

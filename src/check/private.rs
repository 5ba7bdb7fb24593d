//! The private part of an output: claim, plan and receipts are whole and agree with the manifest. A job that is resumed
//! trusts them. Outputs before version 3 have no checksums there, and are not checked.

use rayon::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::kind::FindingKind;
use super::objects::{DatasetObjects, ObjectProblem};
use super::report::Finding;
use crate::dataset::{
    CLAIM_FILE, Claim, Dataset, FileEntry, GROUPS_VERSION, Manifest, PLAN_COLUMNS, PLAN_FILE,
    Receipt, ShardEntry, from_checksummed, plan_copy_key, receipt_key,
};
use crate::storage::MAX_DOCUMENT_BYTES;

/// What to do if the claim is damaged: the plan says what was in it.
const CLAIM_REMEDY: &str =
    "the samples can be read, but the job cannot be resumed: run `pointshard check` with --repair";

/// What to do if the plan is damaged: its files have copies.
const PLAN_REMEDY: &str =
    "the samples can be read, but the job cannot be resumed: run `pointshard check` with --repair";

/// What to do if the copy of the plan is damaged.
const COPY_REMEDY: &str =
    "the samples can be read; run `pointshard check` with --repair to write the copy again";

/// What to do if a receipt is damaged.
const RECEIPT_REMEDY: &str =
    "delete this file and run `pointshard preprocess` again to rewrite it with its shard";

/// The part of the plan that `check` compares.
#[derive(Deserialize)]
struct Plan {
    plan_digest: String,
    files: Vec<FileEntry>,
}

pub(super) fn check(dataset: &Dataset, objects: &DatasetObjects<'_>) -> Vec<Finding> {
    let manifest = dataset.manifest();
    if manifest.schema_version < GROUPS_VERSION {
        return Vec::new();
    }
    let claim = checksummed(objects, CLAIM_FILE)
        .and_then(|claim| claim_problem(&claim, manifest).map_or(Ok(()), Err))
        .map_err(|problem| finding(CLAIM_FILE, None, problem.with_remedy(CLAIM_REMEDY)));
    let mut findings: Vec<_> = claim.err().into_iter().collect();
    match checksummed(objects, PLAN_FILE) {
        Ok(plan) => {
            let of_plan = plan_findings(&plan, manifest, objects);
            // A copy that differs from a wrong plan says nothing more.
            if of_plan.is_empty() {
                findings.extend(copy_finding(manifest, objects));
            }
            findings.extend(of_plan);
        }
        Err(problem) => findings.push(finding(PLAN_FILE, None, problem.with_remedy(PLAN_REMEDY))),
    }
    let receipts = manifest.shards.par_iter();
    let receipts = receipts.filter_map(|shard| receipt_finding(shard, manifest, objects));
    findings.extend(receipts.collect::<Vec<_>>());
    findings
}

/// The contents of the checksummed file at `key`.
fn checksummed<T: DeserializeOwned>(
    objects: &DatasetObjects<'_>,
    key: &str,
) -> Result<T, ObjectProblem> {
    let bytes = objects.read(key, MAX_DOCUMENT_BYTES)?;
    from_checksummed(&bytes).map_err(|e| ObjectProblem::new(FindingKind::Digest, e, ""))
}

fn claim_problem(claim: &Claim, manifest: &Manifest) -> Option<ObjectProblem> {
    let groups: Vec<_> = manifest.splits.values().map(|s| &s.path).collect();
    let arrays: Vec<_> = manifest.arrays.keys().collect();
    let found = (claim.schema_version, &claim.groups, &claim.arrays);
    let is_equal = claim.schema_version == manifest.schema_version
        && claim.groups.iter().eq(groups.iter().copied())
        && claim.arrays.iter().eq(arrays.iter().copied())
        && claim.clearing.is_none();
    (!is_equal).then(|| {
        let expected = (manifest.schema_version, groups, arrays);
        contradiction(format!(
            "its version, groups and arrays are {found:?}, the manifest's are {expected:?}"
        ))
    })
}

fn plan_findings(plan: &Plan, manifest: &Manifest, objects: &DatasetObjects<'_>) -> Vec<Finding> {
    let with_remedy =
        |file: &str, problem: ObjectProblem| finding(file, None, problem.with_remedy(PLAN_REMEDY));
    if plan.plan_digest != manifest.plan_digest {
        let problem = other_plan(&plan.plan_digest, manifest);
        return vec![with_remedy(PLAN_FILE, problem)];
    }
    let files = plan.files.par_iter().filter_map(|file| {
        let is_column = file.path.strip_prefix(PLAN_COLUMNS);
        if !is_column.is_some_and(|rest| rest.starts_with('/')) {
            let problem = format!("it lists {:?}, which is no column of a plan", file.path);
            return Some(with_remedy(PLAN_FILE, contradiction(problem)));
        }
        let problem = objects.problem(&file.path, file.bytes, &file.blake3)?;
        Some(with_remedy(&file.path, problem))
    });
    files.collect()
}

/// The copy of `plan.json` must have the same bytes.
fn copy_finding(manifest: &Manifest, objects: &DatasetObjects<'_>) -> Option<Finding> {
    let key = plan_copy_key(&manifest.plan_digest);
    let read = |key: &str| objects.read(key, MAX_DOCUMENT_BYTES);
    let problem = match (
        checksummed::<Plan>(objects, &key),
        read(&key),
        read(PLAN_FILE),
    ) {
        (Err(problem), ..) => problem,
        (Ok(_), Ok(copy), Ok(plan)) if copy == plan => return None,
        _ => contradiction(format!("it is not equal to {PLAN_FILE}")),
    };
    Some(finding(&key, None, problem.with_remedy(COPY_REMEDY)))
}

fn receipt_finding(
    shard: &ShardEntry,
    manifest: &Manifest,
    objects: &DatasetObjects<'_>,
) -> Option<Finding> {
    let shard_samples = manifest.splits.get(&shard.split)?.shard_samples;
    let number = shard.first_sample.checked_div(shard_samples)?;
    let key = receipt_key(&shard.split, &shard.array, number);
    let problem = match checksummed(objects, &key) {
        Ok(receipt) => receipt_problem(&receipt, shard, manifest)?,
        Err(problem) => problem,
    };
    let problem = match problem.kind {
        FindingKind::MissingFile => problem,
        _ => problem.with_remedy(RECEIPT_REMEDY),
    };
    Some(finding(&key, Some(shard.split.clone()), problem))
}

fn receipt_problem(
    receipt: &Receipt,
    shard: &ShardEntry,
    manifest: &Manifest,
) -> Option<ObjectProblem> {
    if receipt.plan_digest != manifest.plan_digest {
        return Some(other_plan(&receipt.plan_digest, manifest));
    }
    let found = (receipt.bytes, &receipt.blake3, receipt.nonzero.len() as u64);
    let expected = (shard.bytes, &shard.blake3, shard.samples);
    (found != expected).then(|| {
        contradiction(format!(
            "bytes, blake3 and samples of its shard are {found:?}, but the manifest says {expected:?}"
        ))
    })
}

fn other_plan(found: &str, manifest: &Manifest) -> ObjectProblem {
    let expected = &manifest.plan_digest;
    contradiction(format!(
        "its plan_digest is {found:?}, but the manifest says {expected:?}"
    ))
}

fn contradiction(problem: String) -> ObjectProblem {
    ObjectProblem::new(FindingKind::Plan, problem, "")
}

fn finding(file: &str, split: Option<String>, problem: ObjectProblem) -> Finding {
    Finding {
        split,
        ..Finding::new(problem.kind, file, problem.message())
    }
}

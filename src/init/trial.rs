//! Plans a draft, so that a person knows whether it works. If splits leak, the draft drops leaking samples.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::compose::PLACEHOLDER;
use super::error_chain::chain;
use super::{Draft, Target};
use crate::config::{Config, ConfigFile};
use crate::job::{Job, JobError};
use crate::plan::PlanError;
use crate::storage::Storage;

/// Adds the results of planning to the draft.
pub(super) fn run(
    mut draft: Draft,
    target: &Target,
    memory_bytes: u64,
    storage: &Storage,
) -> Draft {
    let text = draft.config.to_string();
    if text.contains(PLACEHOLDER) {
        return draft;
    }
    if text.contains("<redacted>") {
        let what = "a URL has `<redacted>` in place of its query, name or password, which are not written to files; complete it";
        draft.checks.insert(0, what.to_owned());
        return draft;
    }
    let mut planned = plan(&draft, target, memory_bytes, storage);
    if let Err(JobError::Plan(PlanError::Leaks { .. })) = &planned {
        draft.config["leaks"] = json!({ "drop_from": "train" });
        draft.checks.push(
            "leaks: windows of two splits share voxels, so `leaks` drops those samples from `train`; move the boxes apart to \
             keep them"
                .to_owned(),
        );
        planned = plan(&draft, target, memory_bytes, storage);
    }
    match planned.and_then(|job| job.require_samples().map(|()| job)) {
        Ok(job) => draft.checks.push(summary(&job)),
        Err(e) => draft.checks.insert(
            0,
            format!("`pointshard plan` fails with this config: {}", chain(&e)),
        ),
    }
    draft
}

fn plan(
    draft: &Draft,
    target: &Target,
    memory_bytes: u64,
    storage: &Storage,
) -> Result<Job, JobError> {
    let path = match target {
        Target::File(path) => path.clone(),
        Target::Anywhere => PathBuf::from("config.json"),
    };
    let config = Config::parse(draft.config.to_string().as_bytes(), Path::new(&path))?;
    Job::prepare_config(ConfigFile { config, path }, memory_bytes, storage)
}

/// What the plan has.
fn summary(job: &Job) -> String {
    let boxes = crate::job::boxes(&job.plan);
    let annotations: u64 = boxes.iter().map(|b| b.annotations).sum();
    let splits = job.plan.splits.iter();
    let splits: Vec<_> = splits
        .map(|s| format!("{} `{}`", s.samples.len(), s.name))
        .collect();
    let dropped: u64 = boxes.iter().flat_map(|b| b.dropped.values()).sum();
    let dropped = match dropped {
        0 => String::new(),
        n => format!("; {n} annotations are dropped, `pointshard plan` says why"),
    };
    let warnings = match job.plan.warnings.len() {
        0 => String::new(),
        n => format!("; `pointshard plan` prints {n} warning(s)"),
    };
    format!(
        "samples: {} boxes hold {annotations} annotations, which give {} samples{dropped}{warnings}",
        boxes.len(),
        splits.join(" and ")
    )
}

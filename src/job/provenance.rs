//! Where a dataset comes from: config, collection, sources, boxes and arrays, for the manifest.

use crate::config::Empty;
use crate::dataset::{ArrayProvenance, BoxEntry, GroupEntry, Provenance, SourceEntry};
use crate::plan::{FinishedPlan, Plan, PlannedArray};

/// Every box of the collection, with the numbers of its annotations, samples and dropped annotations.
pub(crate) fn boxes(plan: &Plan) -> Vec<BoxEntry> {
    let split_name = |s: usize| plan.splits[s].name.clone();
    let boxes = plan.boxes.iter().map(|b| BoxEntry {
        id: b.id.clone(),
        tags: b.tags.clone(),
        split: b.split.map(split_name),
        group: b.split.map(|_| b.group),
        min_nm: b.min_nm,
        max_nm: b.max_nm,
        annotations: b.annotations,
        samples: b.samples,
        dropped: b
            .dropped
            .iter()
            .map(|(reason, n)| (reason.name().to_owned(), *n))
            .collect(),
    });
    boxes.collect()
}

/// The layer groups, with the source of each array.
fn groups(plan: &Plan) -> Vec<GroupEntry> {
    let groups = plan.groups.iter().enumerate().map(|(number, group)| {
        let source = |a: &PlannedArray| (a.name.clone(), a.source_of_group[number]);
        GroupEntry {
            resolution_nm: group.resolution.nm(),
            sources: plan.arrays.iter().map(source).collect(),
        }
    });
    groups.collect()
}

/// The provenance of the plan's dataset.
pub(super) fn provenance(plan: &FinishedPlan) -> Provenance {
    let table = &plan.table;
    let padded = |array: usize| {
        let of_splits = table.splits.iter().enumerate();
        of_splits
            .map(|(i, split)| (split.name.clone(), plan.padding.windows(i, array)))
            .collect()
    };
    let arrays = table.config.arrays.values().enumerate();
    let arrays = arrays.map(|(i, a)| ArrayProvenance {
        layer: a.layer.clone(),
        role: a.role.map(|role| role.name().to_owned()),
        transform: serde_json::json!(a.transform),
        padded_windows: padded(i),
    });
    Provenance {
        order_of_plan: plan.reuse.as_ref().map(|reuse| reuse.plan_digest.clone()),
        config: table.config.published(),
        collection: plan.collection.clone(),
        sources: source_entries(plan),
        may_be_empty: table
            .sources
            .iter()
            .map(|s| s.layer.empty == Empty::Allow)
            .collect(),
        boxes: boxes(table),
        groups: groups(table),
        arrays: arrays.collect(),
        window_voxels: table.config.window.voxels(),
        resolution_nm: plan.shared_resolution(),
        warnings: table.warnings.clone(),
    }
}

/// The sources, without the counts of their chunks.
fn source_entries(plan: &FinishedPlan) -> Vec<SourceEntry> {
    let with_facts = plan.table.sources.iter().zip(&plan.sources).enumerate();
    let entries = with_facts.map(|(i, (source, facts))| SourceEntry {
        layer: plan.table.layer_of_source(i).to_owned(),
        format: source.url.format.clone(),
        location: source.url.location.to_string(),
        redirected_to: facts.redirected_to.clone(),
        roots: source.roots.as_ref().map(ToString::to_string),
        info_digest: facts.metadata_digest.to_string(),
        resolution_nm: facts.resolution.nm(),
        chunks_touched: 0,
        chunks_missing: 0,
    });
    entries.collect()
}

//! Where a dataset comes from: config, collection, sources, boxes and arrays, for the manifest.

use crate::config::Empty;
use crate::dataset::{ArrayProvenance, BoxEntry, Provenance, SourceEntry};
use crate::extract::{Padding, Sources};
use crate::plan::Plan;
use crate::storage::redacted;

/// nm per voxel of the windows, if it is the same for all.
fn shared_resolution(plan: &Plan) -> Option<[f64; 3]> {
    let mut all = plan.groups.iter().map(|g| g.resolution);
    let first = all.next()?;
    all.all(|r| r == first).then(|| first.nm())
}

/// Every box of the collection, with the numbers of its annotations, samples and dropped annotations.
pub(super) fn boxes(plan: &Plan) -> Vec<BoxEntry> {
    let split_name = |s: usize| plan.splits[s].name.clone();
    let boxes = plan.boxes.iter().map(|b| BoxEntry {
        id: b.id.clone(),
        tags: b.tags.clone(),
        split: b.split.map(split_name),
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

/// The provenance of a dataset; `collection` is where the collection was read from.
pub(super) fn provenance(
    plan: &Plan,
    sources: &Sources,
    padding: &Padding,
    collection: &str,
) -> Provenance {
    let padded = |array: usize| {
        let of_splits = plan.splits.iter().enumerate();
        of_splits
            .map(|(i, split)| (split.name.clone(), padding.windows(i, array)))
            .collect()
    };
    let arrays = plan.config.arrays.values().enumerate();
    let arrays = arrays.map(|(i, a)| ArrayProvenance {
        layer: a.layer.clone(),
        role: a.role.map(|role| role.name().to_owned()),
        transform: serde_json::json!(a.transform),
        padded_windows: padded(i),
    });
    Provenance {
        config: plan.config.published(),
        collection: redacted(collection).into_owned(),
        sources: source_entries(plan, sources),
        may_be_empty: plan
            .sources
            .iter()
            .map(|s| s.layer.empty == Empty::Allow)
            .collect(),
        boxes: boxes(plan),
        arrays: arrays.collect(),
        window_voxels: plan.config.window.voxels(),
        resolution_nm: shared_resolution(plan),
        warnings: without_secrets(&plan.warnings),
    }
}

fn without_secrets(warnings: &[String]) -> Vec<String> {
    let redacted = warnings
        .iter()
        .map(|warning| redacted(warning).into_owned());
    redacted.collect()
}

/// The sources, without the counts of their chunks.
fn source_entries(plan: &Plan, sources: &Sources) -> Vec<SourceEntry> {
    let with_volumes = plan.sources.iter().zip(&sources.volumes).enumerate();
    let entries = with_volumes.map(|(i, (source, volume))| SourceEntry {
        layer: plan.layer_of_source(i).to_owned(),
        format: source.url.format.clone(),
        location: source.url.location.to_string(),
        redirected_to: volume.redirected_to(),
        info_digest: volume.digest().to_string(),
        resolution_nm: volume.meta().resolution.nm(),
        chunks_touched: 0,
        chunks_missing: 0,
    });
    entries.collect()
}

//! What differs between a stored plan and the draft of a job, of which no voxel was read.
//!
//! A volume is the same one if the layer's name and entry in the config, the format, the resolution and the metadata are
//! equal, wherever it is: see [`moved_sources`]. Voxels are not compared: what they decide is in the stored plan.

mod boxes;
mod config;
mod list;
mod sources;
#[cfg(test)]
mod tests;

use crate::plan::{FinishedPlan, Plan, SourceFacts};
use list::Differences;
use sources::MatchedSources;

/// For each source of the draft its position in the stored plan, if it is the same volume in the same place, read in the same
/// way; and a line for each volume that is elsewhere now.
pub(super) fn same_sources(
    stored: &FinishedPlan,
    draft: &Plan,
    now: &[SourceFacts],
) -> (Vec<Option<usize>>, Vec<String>) {
    let matched = MatchedSources::new(stored, draft, now);
    let same = (0..draft.sources.len()).map(|source| matched.same(source));
    (same.collect(), matched.moved())
}

/// Fails with the differences, one line each, unless `draft` is the draft of the stored plan. `now` are the facts about the
/// opened volumes of the draft. Without an error, sources, groups and boxes of both have the same positions.
pub(super) fn compare(
    stored: &FinishedPlan,
    draft: &Plan,
    now: &[SourceFacts],
) -> Result<(), String> {
    let mut differences = Differences::default();
    let was = &stored.table;
    let config = config::compare(&was.config, &draft.config, &mut differences);
    let matched = MatchedSources::new(stored, draft, now);
    let same_sources = matched.compare(&config, &mut differences);
    if !config.any(&["points"]) {
        compare_properties(was, draft, &mut differences);
    }
    boxes::Comparison {
        was,
        now: draft,
        config: &config,
        matched: &matched,
        same_sources,
    }
    .compare(&mut differences);
    if differences.is_empty() && was.draft_digest != draft.draft_digest {
        differences.add(|| {
            format!(
                "nothing that can be named; the plan was made by pointshard {}, this is {}",
                stored.program,
                env!("CARGO_PKG_VERSION")
            )
        });
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.to_string())
    }
}

/// Fails with the volumes whose metadata changed since the plan was made, one line each. `now` are the facts about the
/// plan's opened volumes.
pub(super) fn compare_metadata(stored: &FinishedPlan, now: &[SourceFacts]) -> Result<(), String> {
    let mut differences = Differences::default();
    let facts = stored.sources.iter().zip(now).enumerate();
    for (i, (was, now)) in facts {
        if was.metadata_digest != now.metadata_digest {
            let layer = stored.table.layer_of_source(i);
            let source = &stored.table.sources[i];
            let location = source.url.location.to_string();
            let has_roots = source.roots.is_some();
            differences.add(|| sources::changed_metadata(layer, &location, has_roots));
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.to_string())
    }
}

/// A line for each volume, and each path or URL in the config, that is elsewhere now with the same contents.
pub(super) fn moved_sources(
    stored: &FinishedPlan,
    draft: &Plan,
    now: &[SourceFacts],
) -> Vec<String> {
    let mut moved = MatchedSources::new(stored, draft, now).moved();
    moved.extend(config::moved(&stored.table.config, &draft.config));
    moved
}

fn compare_properties(was: &Plan, now: &Plan, differences: &mut Differences) {
    let of_id = |plan: &Plan, id: &str| plan.properties.iter().find(|p| p.id == id).cloned();
    for added in &now.properties {
        match of_id(was, &added.id) {
            None => differences.add(|| format!("annotation property {:?}: was added", added.id)),
            Some(old) if old != *added => differences.add(|| {
                format!(
                    "annotation property {:?}: has another type, description or other labels",
                    added.id
                )
            }),
            Some(_) => {}
        }
    }
    for removed in &was.properties {
        if of_id(now, &removed.id).is_none() {
            differences.add(|| format!("annotation property {:?}: was removed", removed.id));
        }
    }
}

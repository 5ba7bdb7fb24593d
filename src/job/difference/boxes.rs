//! Differences of boxes and of the annotations in them.

use std::collections::{HashMap, HashSet};

use super::super::record::{BoxRecord, PlanRecord};
use super::config::Changed;
use super::list::Differences;

pub(super) fn compare(
    was: &PlanRecord,
    now: &PlanRecord,
    config: &Changed,
    differences: &mut Differences,
) {
    let (Some(old), Some(new)) = (&was.boxes, &now.boxes) else {
        if was.boxes_digest != now.boxes_digest {
            differences.add(|| {
                "boxes or their annotations; there are too many boxes to say which".to_owned()
            });
        }
        return;
    };
    let before: HashMap<&str, &BoxRecord> = old.iter().map(|b| (&*b.id, b)).collect();
    let after: HashSet<&str> = new.iter().map(|b| &*b.id).collect();
    let added: Vec<&str> = new
        .iter()
        .map(|b| &*b.id)
        .filter(|id| !before.contains_key(id))
        .collect();
    let removed: Vec<&str> = old
        .iter()
        .map(|b| &*b.id)
        .filter(|id| !after.contains(id))
        .collect();
    add_ids(&added, "added", differences);
    add_ids(&removed, "removed", differences);
    let ids = |boxes: &[BoxRecord]| boxes.iter().map(|b| b.id.clone()).collect::<Vec<_>>();
    if added.is_empty() && removed.is_empty() && ids(old) != ids(new) {
        differences.add(|| "the boxes are in another order".to_owned());
    }
    let comparison = BoxComparison { was, now, config };
    // A consequence of a listed difference is not listed itself.
    let other_sources = was.sources != now.sources;
    for (number, b) in new.iter().enumerate() {
        if let Some(old) = before.get(&*b.id) {
            comparison.compare(number, old, b, other_sources, differences);
        }
    }
}

/// Adds the boxes that were added or removed.
fn add_ids(ids: &[&str], how: &str, differences: &mut Differences) {
    const NAMED: usize = 3;
    if ids.is_empty() {
        return;
    }
    differences.add(|| {
        let named: Vec<_> = ids.iter().take(NAMED).map(|id| format!("{id:?}")).collect();
        let more = match ids.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let boxes = match ids.len() {
            1 => "1 box was".to_owned(),
            n => format!("{n} boxes were"),
        };
        format!("{boxes} {how}: {}{more}", named.join(", "))
    });
}

struct BoxComparison<'a> {
    was: &'a PlanRecord,
    now: &'a PlanRecord,
    config: &'a Changed,
}

impl BoxComparison<'_> {
    fn compare(
        &self,
        number: usize,
        was: &BoxRecord,
        now: &BoxRecord,
        other_sources: bool,
        differences: &mut Differences,
    ) {
        let name = || format!("box {number} ({:?})", now.id);
        let (old_split, new_split) = (split(self.was, was), split(self.now, now));
        let moved = was.bounds != now.bounds;
        if moved {
            differences.add(|| format!("{} has other bounds", name()));
        }
        if was.tags != now.tags {
            differences.add(|| format!("{} has other tags", name()));
        }
        let other_split = old_split != new_split;
        if other_split && !self.config.any(&["splits"]) {
            let describe = |split: Option<&str>| {
                split.map_or("no split".to_owned(), |s| format!("the split `{s}`"))
            };
            differences.add(|| {
                format!(
                    "{} was in {}, is in {} now",
                    name(),
                    describe(old_split),
                    describe(new_split)
                )
            });
        }
        let same_config = !self.config.any(&["arrays"]) && !self.config.any_resolution();
        if was.group != now.group && !other_split && !other_sources && same_config {
            differences.add(|| format!("{} has another layer group", name()));
        }
        let is_consequence = moved
            || old_split.is_some() != new_split.is_some()
            || self.config.any(&["points", "snap"])
            || self.config.any_resolution();
        if !is_consequence {
            self.compare_annotations(&name(), was, now, differences);
        }
    }

    fn compare_annotations(
        &self,
        name: &str,
        was: &BoxRecord,
        now: &BoxRecord,
        differences: &mut Differences,
    ) {
        let layer = &self.now.points;
        let (old, new) = (was.annotations, now.annotations);
        if old != new {
            differences.add(|| {
                format!(
                    "annotation layer `{layer}`: {name} held {old} annotations, holds {new} now"
                )
            });
        } else if was.annotations_digest != now.annotations_digest {
            differences.add(|| {
                format!(
                    "annotation layer `{layer}`: {name} holds {new} annotations as before, with other ids, positions or properties"
                )
            });
        }
    }
}

/// The name of the box's split.
fn split<'r>(record: &'r PlanRecord, b: &BoxRecord) -> Option<&'r str> {
    let split = record.splits.get(b.split?)?;
    Some(&split.name)
}

//! Differences of boxes and of the annotations in them.

use std::collections::{HashMap, HashSet};

use super::config::{Changed, short};
use super::list::Differences;
use super::sources::MatchedSources;
use crate::plan::{Plan, PlannedBox};
use crate::storage::redacted_source;

/// Compares the boxes of two plans.
pub(super) struct Comparison<'a> {
    pub was: &'a Plan,
    pub now: &'a Plan,
    pub config: &'a Changed,
    pub matched: &'a MatchedSources<'a>,
    /// Whether the plans have the same volumes. A consequence of a listed difference is not listed itself.
    pub same_sources: bool,
}

impl Comparison<'_> {
    /// Adds the differences.
    pub(super) fn compare(&self, differences: &mut Differences) {
        let (old, new) = (&self.was.boxes, &self.now.boxes);
        let before: HashMap<&str, &PlannedBox> = old.iter().map(|b| (&*b.id, b)).collect();
        let after: HashSet<&str> = new.iter().map(|b| &*b.id).collect();
        let ids = |boxes: &'_ [PlannedBox]| boxes.iter().map(|b| b.id.clone()).collect::<Vec<_>>();
        let is_new = |id: &String| !before.contains_key(id.as_str());
        let added: Vec<_> = ids(new).into_iter().filter(is_new).collect();
        let is_gone = |id: &String| !after.contains(id.as_str());
        let removed: Vec<_> = ids(old).into_iter().filter(is_gone).collect();
        add_ids(&added, "added", differences);
        add_ids(&removed, "removed", differences);
        if added.is_empty() && removed.is_empty() && ids(old) != ids(new) {
            differences.add(|| "the boxes are in another order".to_owned());
        }
        for (number, b) in new.iter().enumerate() {
            if let Some(old) = before.get(&*b.id) {
                self.compare_box(number, old, b, differences);
            }
        }
    }

    fn compare_box(
        &self,
        number: usize,
        was: &PlannedBox,
        now: &PlannedBox,
        differences: &mut Differences,
    ) {
        let name = || format!("box {number} ({:?})", short(&now.id));
        let (old_split, new_split) = (split(self.was, was), split(self.now, now));
        let moved = (was.min_nm, was.max_nm) != (now.min_nm, now.max_nm);
        if moved {
            differences.add(|| format!("{} has other bounds", name()));
        }
        if was.tags != now.tags {
            differences.add(|| format!("{} has other tags", name()));
        }
        let other_split = old_split != new_split;
        if other_split && !self.config.any(&["splits", "random_splits"]) {
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
        let can_compare = !other_split && self.same_sources && same_config;
        if can_compare && now.split.is_some() && !self.has_same_group(was, now) {
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

    /// Whether the layer groups of the box have the same resolution and the same volumes.
    fn has_same_group(&self, was: &PlannedBox, now: &PlannedBox) -> bool {
        let resolution = |plan: &Plan, b: &PlannedBox| plan.groups.get(b.group).cloned();
        let source_of = |plan: &Plan, array: usize, b: &PlannedBox| {
            let array = plan.arrays.get(array)?;
            array.source_of_group.get(b.group).copied()
        };
        let same_source = |array: usize| {
            let now = source_of(self.now, array, now);
            let stored = now.and_then(|source| self.matched.stored_position(source));
            stored == source_of(self.was, array, was)
        };
        resolution(self.was, was) == resolution(self.now, now)
            && (0..self.now.arrays.len()).all(same_source)
    }

    fn compare_annotations(
        &self,
        name: &str,
        was: &PlannedBox,
        now: &PlannedBox,
        differences: &mut Differences,
    ) {
        let layer = || redacted_source(&self.now.config.points.name()).into_owned();
        let (old, new) = (was.annotations, now.annotations);
        if old != new {
            differences.add(|| {
                format!(
                    "annotation layer `{}`: {name} held {old} annotations, holds {new} now",
                    layer()
                )
            });
        } else if was.annotations_digest != now.annotations_digest {
            differences.add(|| {
                format!(
                    "annotation layer `{}`: {name} holds {new} annotations as before, with other ids, positions, properties or related objects",
                    layer()
                )
            });
        }
    }
}

/// Adds the boxes that were added or removed.
fn add_ids(ids: &[String], how: &str, differences: &mut Differences) {
    const NAMED: usize = 3;
    if ids.is_empty() {
        return;
    }
    differences.add(|| {
        let named: Vec<_> = ids.iter().take(NAMED).collect();
        let named: Vec<_> = named.iter().map(|id| format!("{:?}", short(id))).collect();
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

/// The name of the box's split.
fn split<'p>(plan: &'p Plan, b: &PlannedBox) -> Option<&'p str> {
    let split = plan.splits.get(b.split?)?;
    Some(&split.name)
}

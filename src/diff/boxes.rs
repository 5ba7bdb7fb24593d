//! Boxes of two datasets, by id.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::{Difference, DifferenceKind, members, only_in};
use crate::dataset::{BoxEntry, Manifest};

/// Boxes that are in one dataset, or differ. Of boxes with the same id, the first is compared with the first, and so on.
pub(super) fn compare(a: &Manifest, b: &Manifest) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut of_b: HashMap<&str, VecDeque<&BoxEntry>> = HashMap::new();
    for entry in &b.boxes {
        of_b.entry(&entry.id).or_default().push_back(entry);
    }
    for entry in &a.boxes {
        match of_b
            .get_mut(entry.id.as_str())
            .and_then(VecDeque::pop_front)
        {
            None => differences.push(only_in(DifferenceKind::Box, &entry.id, true)),
            Some(other) => {
                let (of_a, of_b) = (comparable(a, entry), comparable(b, other));
                differences.extend(members(DifferenceKind::Box, &entry.id, &of_a, &of_b));
            }
        }
    }
    // In the order of the second dataset.
    for entry in &b.boxes {
        let rest = of_b.get(entry.id.as_str());
        if rest.is_some_and(|rest| rest.iter().any(|other| std::ptr::eq(*other, entry))) {
            differences.push(only_in(DifferenceKind::Box, &entry.id, false));
        }
    }
    differences
}

fn comparable(manifest: &Manifest, entry: &BoxEntry) -> Value {
    let group = entry.group.and_then(|group| manifest.groups.get(group));
    json!({
        "min_nm": entry.min_nm,
        "max_nm": entry.max_nm,
        "tags": entry.tags,
        "split": entry.split,
        "resolution_nm": group.map(|g| g.resolution_nm),
        "annotations": entry.annotations,
        "dropped": entry.dropped,
    })
}

//! Boxes of two datasets, by id.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

use super::{Difference, DifferenceKind, members, only_in};
use crate::dataset::{BoxEntry, Manifest};

/// The boxes that both datasets have: their positions in both manifests. Of boxes with the same id, the first is paired with the
/// first, and so on.
pub(super) fn in_both(a: &Manifest, b: &Manifest) -> Vec<(usize, usize)> {
    let mut of_b: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (in_b, entry) in b.boxes.iter().enumerate() {
        of_b.entry(&entry.id).or_default().push_back(in_b);
    }
    let pair = |(in_a, entry): (usize, &BoxEntry)| {
        let in_b = of_b.get_mut(entry.id.as_str())?.pop_front()?;
        Some((in_a, in_b))
    };
    a.boxes.iter().enumerate().filter_map(pair).collect()
}

/// Boxes that are in one dataset, or differ.
pub(super) fn compare(a: &Manifest, b: &Manifest) -> Vec<Difference> {
    let pairs = in_both(a, b);
    let of_a: HashMap<usize, usize> = pairs.iter().copied().collect();
    let of_b: HashSet<usize> = pairs.iter().map(|(_, in_b)| *in_b).collect();
    let mut differences = Vec::new();
    for (in_a, entry) in a.boxes.iter().enumerate() {
        match of_a.get(&in_a) {
            None => differences.push(only_in(DifferenceKind::Box, &entry.id, true)),
            Some(in_b) => {
                let (of_a, of_b) = (comparable(a, entry), comparable(b, &b.boxes[*in_b]));
                differences.extend(members(DifferenceKind::Box, &entry.id, &of_a, &of_b));
            }
        }
    }
    let rest = b.boxes.iter().enumerate();
    let rest = rest.filter(|(in_b, _)| !of_b.contains(in_b));
    differences.extend(rest.map(|(_, entry)| only_in(DifferenceKind::Box, &entry.id, false)));
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

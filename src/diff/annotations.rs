//! Samples of two datasets, by box and annotation: which are only in one, which have moved, and which have other values in a
//! column.

use std::collections::{BTreeMap, BTreeSet};

use super::samples::{BoxSamples, Sample, Samples};
use super::{Difference, DifferenceKind, boxes};
use crate::dataset::{Dataset, DatasetError};

/// Ids that a message names.
const NAMED_IDS: usize = 5;

/// Samples that are in one dataset, or have moved, by box, and columns with other values. Boxes that only one dataset has are left
/// out.
pub(super) fn compare(a: &Dataset, b: &Dataset) -> Result<Vec<Difference>, DatasetError> {
    let (of_a, of_b) = (Samples::of(a)?, Samples::of(b)?);
    let mut differences = Vec::new();
    let mut columns = BTreeMap::new();
    for (in_a, in_b) in boxes::in_both(a.manifest(), b.manifest()) {
        let id = &a.manifest().boxes[in_a].id;
        let (first, second) = (of_a.of_box(in_a)?, of_b.of_box(in_b)?);
        differences.extend(compare_places(id, &first, &second));
        compare_columns(id, &first, &second, &mut columns)?;
    }
    let of_columns = columns
        .into_iter()
        .map(|(name, found)| found.difference(&name));
    differences.extend(of_columns);
    Ok(differences)
}

fn compare_places(
    id: &str,
    first: &BoxSamples<'_>,
    second: &BoxSamples<'_>,
) -> impl Iterator<Item = Difference> {
    let only_in = |one: &BoxSamples<'_>, other: &BoxSamples<'_>| -> Vec<u64> {
        let ids = one.samples.keys();
        ids.filter(|id| !other.samples.contains_key(id))
            .copied()
            .collect()
    };
    let moved = in_both(first, second).filter(|(_, one, other)| one.center_nm != other.center_nm);
    let parts = [
        ("only in the first dataset", only_in(first, second)),
        ("only in the second dataset", only_in(second, first)),
        ("moved", moved.map(|(id, ..)| id).collect()),
    ];
    let parts = parts.into_iter().filter(|(_, ids)| !ids.is_empty());
    parts.map(move |(what, ids)| {
        let message = format!("{what}: {}", list(&ids));
        Difference::new(DifferenceKind::Annotation, id, message)
    })
}

/// The samples that both have, with the ids of their annotations.
fn in_both<'s>(
    first: &'s BoxSamples<'_>,
    second: &'s BoxSamples<'_>,
) -> impl Iterator<Item = (u64, Sample, Sample)> + 's {
    let samples = first.samples.iter();
    samples.filter_map(|(id, one)| Some((*id, *one, *second.samples.get(id)?)))
}

/// Samples with other values in a column.
struct OtherValues {
    samples: u64,
    /// The first of them, and its values.
    example: String,
}

impl OtherValues {
    fn difference(self, column: &str) -> Difference {
        let message = match self.samples {
            1 => format!("1 sample has another value: {}", self.example),
            n => format!("{n} samples have other values, the first: {}", self.example),
        };
        Difference::new(DifferenceKind::Column, column, message)
    }
}

/// Compares the columns that both datasets have, for samples at the same place. A sample that has moved is another one.
fn compare_columns(
    id: &str,
    first: &BoxSamples<'_>,
    second: &BoxSamples<'_>,
    found: &mut BTreeMap<String, OtherValues>,
) -> Result<(), DatasetError> {
    let same: Vec<_> = in_both(first, second)
        .filter(|(_, one, other)| one.center_nm == other.center_nm)
        .collect();
    if same.is_empty() {
        return Ok(());
    }
    let of_second: BTreeSet<_> = second.columns().collect();
    for name in first.columns().filter(|name| of_second.contains(name)) {
        let (Some(one), Some(other)) = (first.column(name)?, second.column(name)?) else {
            continue;
        };
        for (annotation, of_first, of_second) in &same {
            let (in_first, in_second) = (of_first.position, of_second.position);
            if one.has_values_of(in_first, &other, in_second) {
                continue;
            }
            let of_column = found.entry(name.to_owned()).or_insert_with(|| {
                let (one, other) = (one.text(in_first), other.text(in_second));
                OtherValues {
                    samples: 0,
                    example: format!("sample {annotation} of box {id}: {one}, {other}"),
                }
            });
            of_column.samples += 1;
        }
    }
    Ok(())
}

/// The first ids, and how many there are.
fn list(ids: &[u64]) -> String {
    let named: Vec<_> = ids.iter().take(NAMED_IDS).map(u64::to_string).collect();
    match ids.len() {
        n if n > NAMED_IDS => format!("{} samples ({}, ...)", n, named.join(", ")),
        1 => format!("sample {}", named.join(", ")),
        _ => format!("samples {}", named.join(", ")),
    }
}

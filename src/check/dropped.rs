//! The table of dropped annotations: as many rows for each box and reason as the manifest says. Datasets without dropped annotations,
//! and those of earlier versions, have no table.

use std::collections::BTreeMap;

use super::kind::FindingKind;
use super::report::{Finding, describe};
use crate::config::DROPPED_ANNOTATIONS;
use crate::dataset::{Dataset, DroppedTable, UnreadableColumn, group_path};

/// Number of annotations, by box and reason.
type Counts = BTreeMap<(u32, String), u64>;

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let expected = counts_of_manifest(dataset);
    match counts_of_table(dataset) {
        Err((column, e)) => vec![Finding::new(FindingKind::Column, &column, describe(&e))],
        Ok(None) => Vec::new(),
        Ok(Some(found)) => difference(dataset, &found, &expected)
            .map(|message| {
                let group = group_path(DROPPED_ANNOTATIONS);
                Finding::new(FindingKind::BoxCount, &group, message)
            })
            .into_iter()
            .collect(),
    }
}

fn counts_of_manifest(dataset: &Dataset) -> Counts {
    let boxes = (0..).zip(&dataset.manifest().boxes);
    let counts = boxes.flat_map(|(index, b)| {
        let of_box = b.dropped.iter().filter(|(_, n)| **n > 0);
        of_box.map(move |(reason, n)| ((index, reason.clone()), *n))
    });
    counts.collect()
}

fn counts_of_table(dataset: &Dataset) -> Result<Option<Counts>, UnreadableColumn> {
    let Some(table) = DroppedTable::open(dataset)? else {
        return Ok(None);
    };
    let mut counts = Counts::new();
    table.for_each(|row| {
        let key = (row.box_index, row.reason.to_owned());
        *counts.entry(key).or_insert(0) += 1;
    })?;
    Ok(Some(counts))
}

/// The first box and reason with another number of rows than the manifest says.
fn difference(dataset: &Dataset, found: &Counts, expected: &Counts) -> Option<String> {
    let keys = expected.keys().chain(found.keys());
    let number = |counts: &Counts, key| counts.get(key).copied().unwrap_or(0);
    let mut differing = keys.filter(|key| number(found, key) != number(expected, key));
    let key = differing.next()?;
    let (index, reason) = key;
    let id = dataset.manifest().boxes.get(*index as usize);
    let id = id.map_or("", |b| &b.id);
    Some(format!(
        "the box {id:?} has {} annotations that were dropped because of {reason}, but the manifest says {}",
        number(found, key),
        number(expected, key)
    ))
}

//! The table of dropped annotations: as many rows for each box and reason as the manifest says. Datasets without dropped annotations,
//! and those of earlier versions, have no table.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::columns::BATCH_ROWS;
use super::kind::FindingKind;
use super::report::{Finding, describe};
use crate::config::DROPPED_ANNOTATIONS;
use crate::dataset::{ColumnReader, Dataset, DatasetError, group_path};

/// Number of annotations, by box and reason.
type Counts = BTreeMap<(u32, String), u64>;

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let group = group_path(DROPPED_ANNOTATIONS);
    let files = &dataset.manifest().files;
    if !files
        .iter()
        .any(|file| file.path.starts_with(&format!("{group}/")))
    {
        return Vec::new();
    }
    let expected = counts_of_manifest(dataset);
    let rows = expected
        .values()
        .fold(0, |sum: u64, n| sum.saturating_add(*n));
    match counts_of_table(dataset, &group, rows) {
        Err((column, e)) => {
            let file = format!("{group}/{column}");
            vec![Finding::new(FindingKind::Column, &file, describe(&e))]
        }
        Ok(found) => difference(dataset, &found, &expected)
            .map(|message| Finding::new(FindingKind::BoxCount, &group, message))
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

fn counts_of_table(
    dataset: &Dataset,
    group: &str,
    rows: u64,
) -> Result<Counts, (&'static str, DatasetError)> {
    fn open<T: zarrs::array::ElementOwned + Clone>(
        dataset: &Dataset,
        group: &str,
        name: &'static str,
        rows: u64,
        width: u64,
    ) -> Result<ColumnReader<T>, (&'static str, DatasetError)> {
        let store = Arc::clone(dataset.store());
        let column = ColumnReader::open(store, format!("{group}/{name}"), rows, Some(width));
        column.map_err(|e| (name, e))
    }
    let boxes = open::<u32>(dataset, group, "box", rows, 1)?;
    let reasons = open::<u8>(dataset, group, "drop_reason", rows, 1)?;
    let ids = open::<u64>(dataset, group, "annotation_id", rows, 1)?;
    let centers = open::<f64>(dataset, group, "center_nm", rows, 3)?;
    let names = reasons.labels();
    let mut counts = Counts::new();
    let mut first = 0;
    while first < rows {
        let batch = || first..first.saturating_add(BATCH_ROWS);
        ids.rows(batch()).map_err(|e| ("annotation_id", e))?;
        centers.rows(batch()).map_err(|e| ("center_nm", e))?;
        let of_rows = boxes.rows(batch()).map_err(|e| ("box", e))?;
        let reasons = reasons.rows(batch()).map_err(|e| ("drop_reason", e))?;
        first += of_rows.len() as u64;
        for (index, reason) in of_rows.iter().zip(&reasons) {
            let reason = names.get(usize::from(*reason)).cloned();
            let reason = reason.unwrap_or_else(|| "unknown".to_owned());
            *counts.entry((*index, reason)).or_insert(0) += 1;
        }
    }
    Ok(counts)
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

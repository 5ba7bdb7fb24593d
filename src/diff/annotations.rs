//! Samples of two datasets, by box and annotation. Boxes are compared one after the other, because all samples may not fit in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::{Difference, DifferenceKind};
use crate::dataset::{ColumnReader, Dataset, DatasetError};

/// Rows of the column `box` that are read at once.
const BATCH_ROWS: u64 = 1 << 18;

/// Ids that a message names.
const NAMED_IDS: usize = 5;

/// The samples of a dataset, by box.
struct Samples {
    splits: Vec<SplitColumns>,
    /// By the id of the box: the split, and the rows in it.
    boxes: HashMap<String, (usize, Range<u64>)>,
}

struct SplitColumns {
    annotation_id: ColumnReader<u64>,
    center_nm: ColumnReader<f64>,
}

impl Samples {
    fn of(dataset: &Dataset) -> Result<Self, DatasetError> {
        let manifest = dataset.manifest();
        let mut samples = Self {
            splits: Vec::new(),
            boxes: HashMap::new(),
        };
        for (number, (name, split)) in manifest.splits.iter().enumerate() {
            let reader = dataset.split(name)?;
            samples.splits.push(SplitColumns {
                annotation_id: reader.open_column("annotation_id", Some(1))?,
                center_nm: reader.open_column("center_nm", Some(3))?,
            });
            let boxes: ColumnReader<u32> = reader.open_column("box", Some(1))?;
            let mut first = 0;
            while first < split.samples {
                let rows = boxes.rows(first..first.saturating_add(BATCH_ROWS))?;
                for (row, index) in (first..).zip(&rows) {
                    let Some(entry) = manifest.boxes.get(*index as usize) else {
                        continue;
                    };
                    match samples.boxes.get_mut(&entry.id) {
                        Some((_, rows)) => rows.end = row + 1,
                        None => {
                            let rows = (number, row..row + 1);
                            samples.boxes.insert(entry.id.clone(), rows);
                        }
                    }
                }
                first += rows.len() as u64;
            }
        }
        Ok(samples)
    }

    /// The centres of the samples of a box, by annotation.
    fn of_box(&self, id: &str) -> Result<BTreeMap<u64, [f64; 3]>, DatasetError> {
        let Some((split, rows)) = self.boxes.get(id) else {
            return Ok(BTreeMap::new());
        };
        let columns = &self.splits[*split];
        let ids = columns.annotation_id.rows(rows.clone())?;
        let centers = columns.center_nm.rows(rows.clone())?;
        let centers = centers.as_chunks::<3>().0;
        Ok(ids.into_iter().zip(centers.iter().copied()).collect())
    }
}

/// Samples that are in one dataset, or have moved, by box. Boxes that only one dataset has are left out.
pub(super) fn compare(a: &Dataset, b: &Dataset) -> Result<Vec<Difference>, DatasetError> {
    let (of_a, of_b) = (Samples::of(a)?, Samples::of(b)?);
    let boxes_of_b = b.manifest().boxes.iter();
    let ids_of_b: HashSet<_> = boxes_of_b.map(|entry| entry.id.as_str()).collect();
    let mut differences = Vec::new();
    for entry in &a.manifest().boxes {
        if !ids_of_b.contains(entry.id.as_str()) {
            continue;
        }
        let (first, second) = (of_a.of_box(&entry.id)?, of_b.of_box(&entry.id)?);
        let only_in = |one: &BTreeMap<u64, _>, other: &BTreeMap<u64, _>| -> Vec<u64> {
            let ids = one.keys().filter(|id| !other.contains_key(id));
            ids.copied().collect()
        };
        let moved = first
            .iter()
            .filter(|(id, center)| second.get(id).is_some_and(|other| other != *center));
        let moved: Vec<u64> = moved.map(|(id, _)| *id).collect();
        let parts = [
            ("only in the first dataset", only_in(&first, &second)),
            ("only in the second dataset", only_in(&second, &first)),
            ("moved", moved),
        ];
        for (what, ids) in parts.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            let message = format!("{what}: {}", list(&ids));
            differences.push(Difference::new(
                DifferenceKind::Annotation,
                &entry.id,
                message,
            ));
        }
    }
    Ok(differences)
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

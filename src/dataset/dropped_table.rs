//! The table of annotations in boxes that are no samples. Datasets without dropped annotations, and those of earlier versions, have no
//! table.

use std::sync::Arc;

use zarrs::array::ElementOwned;

use super::{ColumnReader, Dataset, DatasetError, group_path};
use crate::config::DROPPED_ANNOTATIONS;

/// The table, to be read from the first row to the last.
#[derive(Debug)]
pub(crate) struct DroppedTable {
    rows: u64,
    annotation_ids: ColumnReader<u64>,
    boxes: ColumnReader<u32>,
    centers_nm: ColumnReader<f64>,
    reasons: ColumnReader<u8>,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DroppedRow<'t> {
    /// Id of the annotation.
    pub annotation_id: u64,
    /// Position of its box in the manifest.
    pub box_index: u32,
    /// Its anchor, x, y, z.
    pub center_nm: [f64; 3],
    /// Why it is no sample.
    pub reason: &'t str,
}

/// A column that cannot be read: its path in the dataset, and why.
pub(crate) type UnreadableColumn = (String, DatasetError);

/// Rows that are read at once.
const BATCH_ROWS: u64 = 1 << 18;

impl DroppedTable {
    /// The table of the dataset, which must have as many rows as the manifest says.
    pub fn open(dataset: &Dataset) -> Result<Option<Self>, UnreadableColumn> {
        let manifest = dataset.manifest();
        let group = group_path(DROPPED_ANNOTATIONS);
        let prefix = format!("{group}/");
        if !manifest.files.iter().any(|f| f.path.starts_with(&prefix)) {
            return Ok(None);
        }
        let counts = manifest.boxes.iter().flat_map(|b| b.dropped.values());
        let rows = counts.fold(0, |sum: u64, n| sum.saturating_add(*n));
        Ok(Some(Self {
            rows,
            annotation_ids: open(dataset, &group, "annotation_id", rows, 1)?,
            boxes: open(dataset, &group, "box", rows, 1)?,
            centers_nm: open(dataset, &group, "center_nm", rows, 3)?,
            reasons: open(dataset, &group, "drop_reason", rows, 1)?,
        }))
    }

    /// Calls `visit` with each row.
    pub fn for_each(&self, mut visit: impl FnMut(DroppedRow<'_>)) -> Result<(), UnreadableColumn> {
        let names = self.reasons.labels();
        for first in (0..self.rows).step_by(BATCH_ROWS as usize) {
            let batch = || first..first.saturating_add(BATCH_ROWS);
            let ids = named(&self.annotation_ids, batch())?;
            let boxes = named(&self.boxes, batch())?;
            let centers = named(&self.centers_nm, batch())?;
            let reasons = named(&self.reasons, batch())?;
            let (centers, _) = centers.as_chunks::<3>();
            let rows = ids.iter().zip(boxes).zip(centers).zip(reasons);
            for (((annotation_id, box_index), center_nm), reason) in rows {
                let reason = names.iter().find(|(value, _)| *value == f64::from(reason));
                visit(DroppedRow {
                    annotation_id: *annotation_id,
                    box_index,
                    center_nm: *center_nm,
                    reason: reason.map_or("unknown", |(_, name)| name.as_str()),
                });
            }
        }
        Ok(())
    }
}

fn open<T: ElementOwned + Clone>(
    dataset: &Dataset,
    group: &str,
    name: &str,
    rows: u64,
    width: u64,
) -> Result<ColumnReader<T>, UnreadableColumn> {
    let folder = format!("{group}/{name}");
    let store = Arc::clone(dataset.store());
    let column = ColumnReader::open(store, folder.clone(), rows, Some(width));
    column.map_err(|e| (folder, e))
}

fn named<T: ElementOwned + Clone>(
    column: &ColumnReader<T>,
    rows: std::ops::Range<u64>,
) -> Result<Vec<T>, UnreadableColumn> {
    let values = column.rows(rows);
    values.map_err(|e| (column.folder().to_owned(), e))
}

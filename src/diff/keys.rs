//! Which samples are in the rows of a split.

use std::ops::Range;

use crate::dataset::{ColumnReader, Dataset, DatasetError, Manifest};

/// The columns of a split that say which samples it has.
pub(super) struct Keys<'d> {
    manifest: &'d Manifest,
    in_box: ColumnReader<u32>,
    annotation_id: ColumnReader<u64>,
    center_nm: ColumnReader<f64>,
}

impl<'d> Keys<'d> {
    pub fn of(dataset: &'d Dataset, split: &str) -> Result<Self, DatasetError> {
        let split = dataset.split(split)?;
        Ok(Self {
            manifest: dataset.manifest(),
            in_box: split.open_column("box", Some(1))?,
            annotation_id: split.open_column("annotation_id", Some(1))?,
            center_nm: split.open_column("center_nm", Some(3))?,
        })
    }

    /// Whether the samples in these rows have the same boxes, annotations and centres as those of `other`.
    pub fn are_those_of(&self, other: &Self, rows: &Range<u64>) -> Result<bool, DatasetError> {
        let rows = || rows.clone();
        Ok(self.boxes(rows())? == other.boxes(rows())?
            && self.annotation_id.rows(rows())? == other.annotation_id.rows(rows())?
            && self.center_nm.rows(rows())? == other.center_nm.rows(rows())?)
    }

    /// The ids of the boxes of some samples.
    fn boxes(&self, rows: Range<u64>) -> Result<Vec<&str>, DatasetError> {
        let id = |in_box: u32| {
            let entry = self.manifest.boxes.get(in_box as usize);
            entry.map_or("", |entry| entry.id.as_str())
        };
        Ok(self.in_box.rows(rows)?.into_iter().map(id).collect())
    }
}

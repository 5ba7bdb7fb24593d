//! The samples of a dataset, by box. Boxes are read one after the other, because all samples may not fit in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::dataset::{AnyColumn, ColumnNumber, ColumnReader, Dataset, DatasetError};

/// Rows of the column `box` that are read at once.
const BATCH_ROWS: u64 = 1 << 18;

/// Columns that say which sample a row is.
const KEYS: [&str; 3] = ["annotation_id", "box", "center_nm"];

/// The samples of a dataset.
pub(super) struct Samples {
    splits: Vec<SplitColumns>,
    /// By the position of the box in the manifest: the split, and the rows in it, in ascending order.
    boxes: HashMap<usize, (usize, Vec<Range<u64>>)>,
}

struct SplitColumns {
    annotation_id: ColumnReader<u64>,
    center_nm: ColumnReader<f64>,
    /// All others, by name.
    others: BTreeMap<String, AnyColumn>,
}

/// The samples of a box.
pub(super) struct BoxSamples<'s> {
    columns: Option<&'s SplitColumns>,
    rows: &'s [Range<u64>],
    /// By the id of the annotation.
    pub samples: BTreeMap<u64, Sample>,
}

/// A sample of a box.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    /// Its position among the rows of the box.
    pub position: usize,
    pub center_nm: [f64; 3],
}

impl Samples {
    pub fn of(dataset: &Dataset) -> Result<Self, DatasetError> {
        let manifest = dataset.manifest();
        let mut samples = Self {
            splits: Vec::new(),
            boxes: HashMap::new(),
        };
        for (number, (name, split)) in manifest.splits.iter().enumerate() {
            let reader = dataset.split(name)?;
            let names = manifest.columns(split);
            let others = names.into_iter().filter(|name| !KEYS.contains(name));
            let open = |name: &str| {
                let (store, folder) = (
                    Arc::clone(dataset.store()),
                    format!("{}/{name}", split.path),
                );
                Ok((
                    name.to_owned(),
                    AnyColumn::open(store, folder, split.samples)?,
                ))
            };
            samples.splits.push(SplitColumns {
                annotation_id: reader.open_column("annotation_id", Some(1))?,
                center_nm: reader.open_column("center_nm", Some(3))?,
                others: others.map(open).collect::<Result<_, DatasetError>>()?,
            });
            let boxes: ColumnReader<u32> = reader.open_column("box", Some(1))?;
            let mut first = 0;
            while first < split.samples {
                let rows = boxes.rows(first..first.saturating_add(BATCH_ROWS))?;
                for (row, in_box) in (first..).zip(&rows) {
                    samples.add_row(*in_box as usize, number, row);
                }
                first += rows.len() as u64;
            }
        }
        Ok(samples)
    }

    /// Rows of a box follow each other, except in an output that grew.
    fn add_row(&mut self, in_box: usize, split: usize, row: u64) {
        let (_, rows) = self.boxes.entry(in_box).or_insert((split, Vec::new()));
        match rows.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => rows.push(row..row + 1),
        }
    }

    /// The samples of the box at this position in the manifest.
    pub fn of_box(&self, in_box: usize) -> Result<BoxSamples<'_>, DatasetError> {
        let Some((split, rows)) = self.boxes.get(&in_box) else {
            return Ok(BoxSamples {
                columns: None,
                rows: &[],
                samples: BTreeMap::new(),
            });
        };
        let columns = &self.splits[*split];
        let (mut ids, mut centers) = (Vec::new(), Vec::new());
        for range in rows {
            ids.extend(columns.annotation_id.rows(range.clone())?);
            centers.extend(columns.center_nm.rows(range.clone())?);
        }
        let places = centers.as_chunks().0.iter().enumerate();
        let samples = places.map(|(position, center_nm)| Sample {
            position,
            center_nm: *center_nm,
        });
        let samples = ids.into_iter().zip(samples).collect();
        Ok(BoxSamples {
            columns: Some(columns),
            rows,
            samples,
        })
    }
}

impl BoxSamples<'_> {
    /// The names of the columns, except those that say which sample a row is.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let others = self
            .columns
            .iter()
            .flat_map(|columns| columns.others.keys());
        others.map(String::as_str)
    }

    /// The values of a column, row by row; `None` if there is no such column.
    pub fn column(&self, name: &str) -> Result<Option<BoxColumn>, DatasetError> {
        let Some(column) = self.columns.and_then(|columns| columns.others.get(name)) else {
            return Ok(None);
        };
        let mut values = Vec::new();
        for range in self.rows {
            values.extend(column.rows(range.clone())?);
        }
        Ok(Some(BoxColumn {
            values,
            row_values: column.row_values(),
            labels: column.labels(),
        }))
    }
}

/// The values of a column for the samples of a box.
pub(super) struct BoxColumn {
    values: Vec<ColumnNumber>,
    row_values: usize,
    /// Names of values.
    labels: Vec<(f64, String)>,
}

impl BoxColumn {
    /// Whether the sample at `position` has the values of the sample at `position_in_other` of the column `other`.
    pub fn has_values_of(&self, position: usize, other: &Self, position_in_other: usize) -> bool {
        // Datasets may number the names of values differently.
        if self.labels != other.labels {
            return self.text(position) == other.text(position_in_other);
        }
        let (one, other) = (self.row(position), other.row(position_in_other));
        one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(*a, *b))
    }

    /// The values of the sample at `position`, by name if they have one.
    pub fn text(&self, position: usize) -> String {
        let texts = self.row(position).iter().map(|value| {
            let label = self.labels.iter().find(|(of, _)| *of == value.as_f64());
            label.map_or_else(|| value.to_string(), |(_, label)| label.clone())
        });
        texts.collect::<Vec<_>>().join(" ")
    }

    fn row(&self, position: usize) -> &[ColumnNumber] {
        let first = position * self.row_values;
        let row = self.values.get(first..first + self.row_values);
        row.unwrap_or_default()
    }
}

/// Whether two numbers are the same; NaN is.
fn is_same(a: ColumnNumber, b: ColumnNumber) -> bool {
    a == b || (a.as_f64().is_nan() && b.as_f64().is_nan())
}

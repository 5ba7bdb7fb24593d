//! Index columns: one row per sample, and true. They are read in batches, because a column may not fit in memory.

use super::groups::members;
use super::padding;
use super::report::{Finding, FindingKind, describe};
use super::rows::{ColumnProblem, RowChecks, Rows};
use crate::dataset::{ColumnReader, Dataset, DatasetError, SplitEntry, SplitReader};

/// Rows that are checked at once.
pub(super) const BATCH_ROWS: u64 = 1 << 18;

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let splits = dataset.manifest().splits.iter();
    splits
        .flat_map(|(name, split)| check_split(dataset, name, split))
        .collect()
}

fn check_split(dataset: &Dataset, name: &str, split: &SplitEntry) -> Vec<Finding> {
    let unreadable =
        |column: &str, e: &DatasetError| finding(split, name, column, Vec::new(), describe(e));
    let reader = match dataset.split(name) {
        Ok(reader) => reader,
        Err(e) => return vec![unreadable("", &e)],
    };
    let mut findings = Vec::new();
    let arrays = &dataset.manifest().arrays;
    let columns = members(dataset, split).into_iter().filter(|column| {
        !arrays.contains_key(*column) && !padding::is_checked(dataset, name, column)
    });
    let mut has_rows = true;
    for column in columns {
        if let Err(e) = reader.check_column(column) {
            has_rows &= !Columns::NAMES.contains(&column);
            findings.push(unreadable(column, &e));
        }
    }
    if has_rows {
        let checked = check_rows(dataset, name, &reader);
        let problems = checked.unwrap_or_else(|(column, e)| {
            findings.push(unreadable(column, &e));
            Vec::new()
        });
        let problems = problems.into_iter();
        findings.extend(problems.map(|p| finding(split, name, p.column, p.samples, p.message)));
    }
    findings.extend(padding::check(dataset, name, &reader));
    findings
}

/// What is wrong with the rows of a split's columns. A column that cannot be read is an error, with its name.
fn check_rows<'d>(
    dataset: &'d Dataset,
    split: &'d str,
    reader: &SplitReader,
) -> Result<Vec<ColumnProblem>, (&'static str, DatasetError)> {
    let columns = Columns::open(reader)?;
    let samples = dataset.manifest().splits[split].samples;
    let mut checks = RowChecks::new(dataset.manifest(), split);
    let mut first = 0;
    while first < samples {
        let rows = columns.rows(first, BATCH_ROWS)?;
        first += rows.annotation_id.len() as u64;
        checks.add(&rows);
    }
    Ok(checks.finish())
}

/// The columns that every dataset has.
struct Columns {
    annotation_id: ColumnReader<u64>,
    box_index: ColumnReader<u32>,
    center_nm: ColumnReader<f64>,
    start_voxel: ColumnReader<i64>,
    resolution_nm: ColumnReader<f64>,
}

impl Columns {
    const NAMES: [&str; 5] = [
        "annotation_id",
        "box",
        "center_nm",
        "start_voxel",
        "resolution_nm",
    ];

    fn open(reader: &SplitReader) -> Result<Self, (&'static str, DatasetError)> {
        let [id, box_index, center, start, resolution] = Self::NAMES;
        let of = |name| move |e| (name, e);
        Ok(Self {
            annotation_id: reader.open_column(id, Some(1)).map_err(of(id))?,
            box_index: reader
                .open_column(box_index, Some(1))
                .map_err(of(box_index))?,
            center_nm: reader.open_column(center, Some(3)).map_err(of(center))?,
            start_voxel: reader.open_column(start, Some(3)).map_err(of(start))?,
            resolution_nm: reader
                .open_column(resolution, Some(3))
                .map_err(of(resolution))?,
        })
    }

    /// At most `count` rows, from the row `first` on.
    fn rows(&self, first: u64, count: u64) -> Result<Rows, (&'static str, DatasetError)> {
        let [id, box_index, center, start, resolution] = Self::NAMES;
        let of = |name| move |e| (name, e);
        let rows = || first..first.saturating_add(count);
        Ok(Rows {
            first,
            annotation_id: self.annotation_id.rows(rows()).map_err(of(id))?,
            box_index: self.box_index.rows(rows()).map_err(of(box_index))?,
            center_nm: triples(&self.center_nm.rows(rows()).map_err(of(center))?),
            start_voxel: triples(&self.start_voxel.rows(rows()).map_err(of(start))?),
            resolution_nm: triples(&self.resolution_nm.rows(rows()).map_err(of(resolution))?),
        })
    }
}

fn triples<T: Copy>(values: &[T]) -> Vec<[T; 3]> {
    values.as_chunks::<3>().0.to_vec()
}

fn finding(
    entry: &SplitEntry,
    split: &str,
    column: &str,
    samples: Vec<u64>,
    message: String,
) -> Finding {
    Finding {
        kind: FindingKind::Column,
        file: format!("{}/{column}", entry.path)
            .trim_end_matches('/')
            .to_owned(),
        split: Some(split.to_owned()),
        samples,
        message,
    }
}

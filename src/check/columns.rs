//! Index columns: one row per sample, and true. They are read in batches, because a column may not fit in memory.

use super::kind::FindingKind;
use super::leaks::SplitRows;
use super::padding;
use super::report::{Finding, describe};
use super::rows::{BoxRows, ColumnProblem, RowChecks, Rows};
use crate::dataset::{ColumnReader, Dataset, DatasetError, SplitEntry, SplitReader};

/// A column that cannot be read: its name, and why.
type UnreadableColumn = (&'static str, DatasetError);

/// Rows that are checked at once.
pub(super) const BATCH_ROWS: u64 = 1 << 18;

/// Checks the columns of every split. Returns the rows of each box, too, of the splits whose columns can be read.
pub(super) fn check(dataset: &Dataset) -> (Vec<Finding>, Vec<SplitRows<'_>>) {
    let (mut findings, mut rows) = (Vec::new(), Vec::new());
    for (split, entry) in &dataset.manifest().splits {
        let (found, boxes) = check_split(dataset, split, entry);
        findings.extend(found);
        rows.extend(boxes.map(|boxes| SplitRows { split, boxes }));
    }
    (findings, rows)
}

fn check_split(
    dataset: &Dataset,
    name: &str,
    split: &SplitEntry,
) -> (Vec<Finding>, Option<Vec<BoxRows>>) {
    let unreadable = |column: &str, e: &DatasetError| {
        finding(FindingKind::Column, split, name, column, describe(e))
    };
    let reader = match dataset.split(name) {
        Ok(reader) => reader,
        Err(e) => return (vec![unreadable("", &e)], None),
    };
    let mut findings = Vec::new();
    let columns = dataset.manifest().columns(split).into_iter();
    let columns = columns.filter(|column| !padding::is_checked(dataset, name, column));
    let mut has_rows = true;
    for column in columns {
        if let Err(e) = reader.check_column(column) {
            has_rows &= !Columns::NAMES.contains(&column);
            findings.push(unreadable(column, &e));
        }
    }
    let mut box_rows = None;
    if has_rows {
        match check_rows(dataset, name, &reader) {
            Err((column, e)) => findings.push(unreadable(column, &e)),
            Ok((problems, boxes)) => {
                let problems = problems.into_iter().map(|p| {
                    finding(p.kind, split, name, p.column, p.message).in_samples(p.samples)
                });
                findings.extend(problems);
                box_rows = Some(boxes);
            }
        }
    }
    findings.extend(padding::check(dataset, name, &reader));
    (findings, box_rows)
}

/// What is wrong with the rows of a split's columns, and the rows of each box. A column that cannot be read is an error, with its
/// name.
fn check_rows<'d>(
    dataset: &'d Dataset,
    split: &'d str,
    reader: &SplitReader,
) -> Result<(Vec<ColumnProblem>, Vec<BoxRows>), UnreadableColumn> {
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

    fn open(reader: &SplitReader) -> Result<Self, UnreadableColumn> {
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
    fn rows(&self, first: u64, count: u64) -> Result<Rows, UnreadableColumn> {
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
    kind: FindingKind,
    entry: &SplitEntry,
    split: &str,
    column: &str,
    message: String,
) -> Finding {
    let file = format!("{}/{column}", entry.path);
    Finding::new(kind, file.trim_end_matches('/'), message).in_split(split)
}

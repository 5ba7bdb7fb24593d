//! Parquet files. Row groups and pages whose statistics say that no row is in a box are not read.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::arrow_value::value;
use super::near_boxes::{NearBoxes, UNKNOWN, ValueRange};
use super::object_reader::ObjectReader;
use super::row_numbers::RowNumbers;
use crate::points::error::PointsError;

/// An open Parquet file.
#[derive(Debug)]
pub(super) struct ParquetFile {
    object: String,
    reader: ObjectReader,
    metadata: ArrowReaderMetadata,
}

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 1 << 14;

/// Largest footer, in bytes: it is read as a whole.
const MAX_FOOTER_BYTES: u64 = 256 << 20;

/// The values of a column in consecutive rows of a row group.
struct Segment {
    rows: Range<usize>,
    values: ValueRange,
}

impl ParquetFile {
    pub fn open(object: &str, reader: ObjectReader) -> Result<Self, PointsError> {
        let footer =
            footer_bytes(&reader).map_err(|problem| PointsError::damaged_table(object, problem))?;
        if footer > MAX_FOOTER_BYTES.min(reader.size_bytes()) {
            let problem = format!(
                "its footer has {footer} bytes, more than {MAX_FOOTER_BYTES}, or than the file"
            );
            return Err(PointsError::damaged_table(object, problem));
        }
        let load = |policy| {
            let options = ArrowReaderOptions::new().with_page_index_policy(policy);
            ArrowReaderMetadata::load(&reader, options)
                .map_err(|e| PointsError::damaged_table(object, e))
        };
        let metadata = load(PageIndexPolicy::Skip)?;
        if !are_inside(metadata.metadata(), reader.size_bytes()) {
            return Err(PointsError::damaged_table(
                object,
                "its footer names parts outside of the file",
            ));
        }
        Ok(Self {
            metadata: load(PageIndexPolicy::Optional)?,
            object: object.to_owned(),
            reader,
        })
    }

    pub fn schema(&self) -> &Schema {
        self.metadata.schema()
    }

    /// Calls `visit` with the columns at `projection` of all rows, or of those that may be near a box, batch by batch.
    pub fn for_each_batch(
        &self,
        projection: &[usize],
        near: Option<&NearBoxes<'_>>,
        visit: &mut dyn FnMut(&RecordBatch, &mut RowNumbers) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let damaged = |e: &dyn std::fmt::Display| PointsError::damaged_table(&self.object, e);
        let mut first_row = 0;
        for group in 0..self.metadata.metadata().num_row_groups() {
            let rows = self.metadata.metadata().row_group(group).num_rows();
            let rows = usize::try_from(rows).unwrap_or(0);
            let ranges = match near {
                None => std::iter::once(0..rows).collect(),
                Some(near) => self.ranges_near(near, group, rows),
            };
            let numbers = ranges.iter();
            let numbers = numbers.map(|r| first_row + r.start as u64..first_row + r.end as u64);
            let mut numbers = RowNumbers::new(numbers);
            first_row += rows as u64;
            if ranges.is_empty() {
                continue;
            }
            let mask =
                ProjectionMask::roots(self.metadata.parquet_schema(), projection.iter().copied());
            let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), rows);
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.reader.clone(),
                self.metadata.clone(),
            );
            let batches = builder
                .with_projection(mask)
                .with_row_groups(vec![group])
                .with_row_selection(selection)
                .with_batch_size(BATCH_ROWS)
                .build();
            for batch in batches.map_err(|e| damaged(&e))? {
                visit(&batch.map_err(|e| damaged(&e))?, &mut numbers)?;
            }
        }
        Ok(())
    }

    /// The rows of a row group that may be near a box.
    fn ranges_near(&self, near: &NearBoxes<'_>, group: usize, rows: usize) -> Vec<Range<usize>> {
        let columns = near.columns();
        let segments = columns.iter().map(|name| self.segments(name, group, rows));
        let segments: Vec<Vec<Segment>> = segments.collect();
        let mut starts: Vec<usize> = segments.iter().flatten().map(|s| s.rows.start).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut places = vec![0; segments.len()];
        for (i, start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(rows);
            let of_column = segments.iter().zip(&mut places).map(|(segments, place)| {
                while segments.get(*place).is_some_and(|s| s.rows.end <= *start) {
                    *place += 1;
                }
                segments.get(*place).map_or(UNKNOWN, |s| s.values)
            });
            let values: Vec<_> = of_column.collect();
            if !near.may_contain(&values) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == *start => last.end = end,
                _ => ranges.push(*start..end),
            }
        }
        ranges
    }

    /// The values of a column: page by page if the file has an index of pages, otherwise of the whole row group.
    fn segments(&self, column: &str, group: usize, rows: usize) -> Vec<Segment> {
        let of_pages = self.pages(column, group);
        let of_pages = of_pages.filter(|pages| pages.last().is_some_and(|p| p.rows.end == rows));
        of_pages.unwrap_or_else(|| {
            let values = self.group_values(column, group).unwrap_or(UNKNOWN);
            vec![Segment {
                rows: 0..rows,
                values,
            }]
        })
    }

    fn pages(&self, column: &str, group: usize) -> Option<Vec<Segment>> {
        let metadata = self.metadata.metadata();
        let index = metadata.page_index()?.as_ref();
        let converter = self.converter(column)?;
        let mins = converter.data_page_mins(index, [&group]).ok()?;
        let maxs = converter.data_page_maxes(index, [&group]).ok()?;
        let counts = converter.data_page_row_counts(index, metadata.row_groups(), [&group]);
        let counts: UInt64Array = counts.ok()??;
        if mins.len() != counts.len() || maxs.len() != counts.len() {
            return None;
        }
        let mut start = 0usize;
        let pages = (0..counts.len()).map(|page| {
            let end = start.checked_add(usize::try_from(counts.value(page)).ok()?)?;
            let rows = std::mem::replace(&mut start, end)..end;
            let values = range(&mins, &maxs, page);
            Some(Segment { rows, values })
        });
        pages.collect()
    }

    fn group_values(&self, column: &str, group: usize) -> Option<ValueRange> {
        let converter = self.converter(column)?;
        let metadata = self.metadata.metadata().row_group(group);
        let mins = converter.row_group_mins([metadata]).ok()?;
        let maxs = converter.row_group_maxes([metadata]).ok()?;
        Some(range(&mins, &maxs, 0))
    }

    fn converter(&self, column: &str) -> Option<StatisticsConverter<'_>> {
        let (schema, parquet) = (self.metadata.schema(), self.metadata.parquet_schema());
        StatisticsConverter::try_new(column, schema, parquet).ok()
    }
}

/// Whether all columns, and the indices of their pages, are in the file. The library panics where a position is negative.
fn are_inside(metadata: &ParquetMetaData, size_bytes: u64) -> bool {
    let is_inside = |start: i64, length: i64| {
        let (start, length) = (u64::try_from(start), u64::try_from(length));
        let end = start
            .ok()
            .zip(length.ok())
            .and_then(|(s, l)| s.checked_add(l));
        end.is_some_and(|end| end <= size_bytes)
    };
    let index = |start: Option<i64>, length: Option<i32>| match (start, length) {
        (Some(start), Some(length)) => is_inside(start, length.into()),
        _ => true,
    };
    metadata.row_groups().iter().all(|group| {
        let mut columns = group.columns().iter();
        let has_columns = columns.all(|column| {
            let first_page = column.data_page_offset();
            let start = column.dictionary_page_offset();
            let start = start.map_or(first_page, |dictionary| dictionary.min(first_page));
            is_inside(start, column.compressed_size())
                && column.uncompressed_size() >= 0
                && column.num_values() >= 0
                && index(column.offset_index_offset(), column.offset_index_length())
                && index(column.column_index_offset(), column.column_index_length())
        });
        has_columns && group.num_rows() >= 0
    })
}

/// The values from a smallest to a largest one; unknown where either is missing.
fn range(mins: &ArrayRef, maxs: &ArrayRef, place: usize) -> ValueRange {
    let number = |array: &ArrayRef| {
        let is_known = place < array.len() && array.is_valid(place);
        let number = is_known.then(|| value(array.as_ref(), place).number());
        number.flatten().filter(|v| !v.is_nan())
    };
    match (number(mins), number(maxs)) {
        (Some(min), Some(max)) if min <= max => [min, max],
        _ => UNKNOWN,
    }
}

/// The length of the footer, which is before the last four bytes of the file.
fn footer_bytes(reader: &ObjectReader) -> Result<u64, String> {
    const MAGIC: &[u8] = b"PAR1";
    let size = reader.size_bytes();
    let end = reader.read(size.saturating_sub(8), size.min(8));
    let end = end.map_err(|e| e.to_string())?;
    match end.split_first_chunk::<4>() {
        Some((length, magic)) if magic == MAGIC => Ok(u32::from_le_bytes(*length).into()),
        _ => Err(
            "it begins as a Parquet file, but does not end as one: it is not complete".to_owned(),
        ),
    }
}

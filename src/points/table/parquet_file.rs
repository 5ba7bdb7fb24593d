//! Parquet files. Row groups and pages whose statistics say that no row is in a box are not read.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
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

/// Reads the rows of a file, batch by batch.
pub(super) struct ParquetBatches<'f> {
    file: &'f ParquetFile,
    projection: &'f [usize],
    near: Option<&'f NearBoxes<'f>>,
    /// The next row group, and its first row.
    group: usize,
    first_row: u64,
    /// The rest of the previous row group, and the numbers of its rows.
    batches: Option<ParquetRecordBatchReader>,
    numbers: RowNumbers,
}

impl ParquetBatches<'_> {
    /// The next batch and the numbers of its rows; `None` at the end.
    pub fn next(&mut self) -> Option<Result<(RecordBatch, RowNumbers), PointsError>> {
        let object = &self.file.object;
        loop {
            match self.batches.as_mut().and_then(Iterator::next) {
                Some(Ok(batch)) => {
                    let numbers = self.numbers.take(batch.num_rows() as u64);
                    return Some(Ok((batch, numbers)));
                }
                Some(Err(e)) => return Some(Err(PointsError::damaged_table(object, e))),
                None => {}
            }
            match self.open_next_group()? {
                Ok(batches) => self.batches = batches,
                Err(e) => return Some(Err(PointsError::damaged_table(object, e))),
            }
        }
    }

    /// Opens the next row group, unless no row is near a box; `None` at the end.
    fn open_next_group(
        &mut self,
    ) -> Option<Result<Option<ParquetRecordBatchReader>, ParquetError>> {
        let metadata = self.file.metadata.metadata();
        let group = self.group;
        let rows = metadata.row_groups().get(group)?.num_rows();
        let rows = usize::try_from(rows).unwrap_or(0);
        let ranges = match self.near {
            None => std::iter::once(0..rows).collect(),
            Some(near) => self.file.ranges_near(near, group, rows),
        };
        let first = self.first_row;
        let numbers = ranges.iter();
        let numbers = numbers.map(|r| first + r.start as u64..first + r.end as u64);
        self.numbers = RowNumbers::new(numbers);
        self.first_row += rows as u64;
        self.group += 1;
        if ranges.is_empty() {
            return Some(Ok(None));
        }
        let opened = self.file.read_group(group, rows, ranges, self.projection);
        Some(opened.map(Some))
    }
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

    /// The columns at `projection` of all rows, or of those that may be near a box.
    pub fn batches<'f>(
        &'f self,
        projection: &'f [usize],
        near: Option<&'f NearBoxes<'f>>,
    ) -> ParquetBatches<'f> {
        ParquetBatches {
            file: self,
            projection,
            near,
            group: 0,
            first_row: 0,
            batches: None,
            numbers: RowNumbers::default(),
        }
    }

    /// A reader of these rows of a row group.
    fn read_group(
        &self,
        group: usize,
        rows: usize,
        ranges: Vec<Range<usize>>,
        projection: &[usize],
    ) -> Result<ParquetRecordBatchReader, ParquetError> {
        let mask =
            ProjectionMask::roots(self.metadata.parquet_schema(), projection.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.reader.clone(),
            self.metadata.clone(),
        );
        builder
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_row_selection(RowSelection::from_consecutive_ranges(
                ranges.into_iter(),
                rows,
            ))
            .with_batch_size(BATCH_ROWS)
            .build()
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

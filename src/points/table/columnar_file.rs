//! Tables that are stored column by column: Parquet and Arrow. Only the columns that are wanted are read.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_schema::Schema;

use super::arrow_file::ArrowFile;
use super::arrow_value;
use super::cells::{BlockPlace, Collected, MergeBlock, RowCollector, merge_collected};
use super::columnar_cells::{BatchColumns, ColumnarCells};
use super::columns::find_column;
use super::format::TableFormat;
use super::near_boxes::NearBoxes;
use super::object_reader::ObjectReader;
use super::parquet_file::ParquetFile;
use super::waves::parse_in_waves;
use crate::points::error::PointsError;

/// An open table with its columns.
#[derive(Debug)]
pub(super) struct ColumnarFile {
    object: String,
    batches: Batches,
    names: Vec<String>,
    /// Positions in the schema of the columns that are read, ascending.
    projection: Vec<usize>,
    /// The places in the projection of the columns with these names.
    places: Vec<usize>,
}

#[derive(Debug)]
enum Batches {
    Parquet(ParquetFile),
    Arrow(ArrowFile),
}

impl ColumnarFile {
    /// Opens the table in a file of this format and finds the columns `names`. Reading a record batch of an Arrow file may take at
    /// most `limit_bytes`.
    pub fn open(
        object: &str,
        format: TableFormat,
        reader: ObjectReader,
        names: &[String],
        limit_bytes: u64,
    ) -> Result<Self, PointsError> {
        let batches = Batches::open(object, format, reader, limit_bytes)?;
        let found = names.iter().map(|name| {
            find(batches.schema(), name).map_err(|problem| PointsError::Columns {
                object: object.to_owned(),
                problem,
            })
        });
        let found: Vec<usize> = found.collect::<Result<_, _>>()?;
        let projection: BTreeSet<usize> = found.iter().copied().collect();
        let projection: Vec<usize> = projection.into_iter().collect();
        let place = |position| projection.binary_search(position).unwrap_or_default();
        Ok(Self {
            places: found.iter().map(place).collect(),
            object: object.to_owned(),
            names: names.to_vec(),
            projection,
            batches,
        })
    }

    /// The names of the columns of a table in a file of this format.
    pub fn column_names(
        object: &str,
        format: TableFormat,
        reader: ObjectReader,
    ) -> Result<Vec<String>, PointsError> {
        let batches = Batches::open(object, format, reader, 0)?;
        let fields = batches.schema().fields().iter();
        Ok(fields.map(|field| field.name().clone()).collect())
    }

    pub fn object(&self) -> &str {
        &self.object
    }

    /// Collects all rows, or at least those that may be near a box.
    pub fn collect<C: RowCollector>(
        &self,
        near: Option<&NearBoxes<'_>>,
        collector: &C,
        merge: &mut MergeBlock<'_, C::Block>,
    ) -> Result<(), PointsError> {
        let merge_block = |collected| merge_collected(collected, BlockPlace::default(), merge);
        match &self.batches {
            Batches::Parquet(file) => {
                let mut batches = file.batches(&self.projection, near);
                parse_in_waves(
                    || {
                        let next = batches.next()?;
                        Some(next.map(|next| {
                            let bytes = next.0.get_array_memory_size() as u64;
                            (next, bytes)
                        }))
                    },
                    |(batch, numbers)| self.collect_batch(&batch, numbers.iter(), collector),
                    merge_block,
                )
            }
            Batches::Arrow(file) => {
                let batches = file.batches(&self.projection)?;
                let (mut next, mut first_row) = (0, 0);
                let read = || {
                    let read = batches.read(next)?;
                    Some(read.map(|batch| {
                        let (number, first) = (next, first_row);
                        next += 1;
                        first_row = batch.rows.saturating_add(first_row);
                        ((number, batch.bytes, first), batch.decoded_bytes)
                    }))
                };
                let decode = |(number, bytes, first): (usize, Buffer, u64)| match batches
                    .decode(number, &bytes)
                {
                    Ok(Some(batch)) => self.collect_batch(&batch, first.., collector),
                    Ok(None) => (C::Block::default(), Ok(())),
                    Err(e) => (C::Block::default(), Err(e)),
                };
                parse_in_waves(read, decode, merge_block)
            }
        }
    }

    /// Collects the rows of a batch, which have these numbers.
    fn collect_batch<C: RowCollector>(
        &self,
        batch: &RecordBatch,
        numbers: impl Iterator<Item = u64>,
        collector: &C,
    ) -> Collected<C::Block> {
        let columns = BatchColumns::new(batch, &self.names, &self.places, &self.object);
        let mut block = C::Block::default();
        let mut rows = (0..batch.num_rows()).zip(numbers);
        let done = rows.try_for_each(|(place, row)| {
            let cells = ColumnarCells {
                columns: &columns,
                place,
                row,
            };
            collector.add(&cells, &mut block)
        });
        (block, done)
    }
}

impl Batches {
    fn open(
        object: &str,
        format: TableFormat,
        reader: ObjectReader,
        limit_bytes: u64,
    ) -> Result<Self, PointsError> {
        Ok(match format {
            TableFormat::Arrow => Self::Arrow(ArrowFile::open(object, reader, limit_bytes)?),
            _ => Self::Parquet(ParquetFile::open(object, reader)?),
        })
    }

    fn schema(&self) -> &Schema {
        match self {
            Self::Parquet(file) => file.schema(),
            Self::Arrow(file) => file.schema(),
        }
    }
}

/// The position in the schema of the column with this name, whose type must be supported.
fn find(schema: &Schema, name: &str) -> Result<usize, String> {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let found = find_column(name, names)?;
    let data_type = schema.field(found).data_type();
    if arrow_value::is_supported(data_type) {
        Ok(found)
    } else {
        Err(format!(
            "its column `{name}` has the type {data_type}; expected numbers, text, or lists of numbers"
        ))
    }
}

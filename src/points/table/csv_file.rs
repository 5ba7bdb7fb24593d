//! Tables as text: CSV and TSV, also compressed.

use super::cells::{BlockPlace, Collected, MergeBlock, RowCollector, merge_collected};
use super::columns::find_column;
use super::records::{TableRecords, read_row, table_delimiter};
use super::text_blocks::TextBlock;
use super::text_cells::{RecordTexts, TextCells};
use super::text_record::TextRecord;
use super::waves::parse_in_waves;
use crate::points::error::PointsError;
use crate::storage::StreamedDocument;

/// A table whose columns were found.
#[derive(Debug)]
pub(super) struct CsvFile {
    document: StreamedDocument,
    delimiter: u8,
    names: Vec<String>,
    /// The positions in a record of the columns with these names.
    positions: Vec<usize>,
}

/// What was collected of a block, and the number of its rows.
struct CollectedRows<B> {
    collected: Collected<B>,
    rows: u64,
}

impl CsvFile {
    /// Finds the columns `names` in the header.
    pub fn open(
        document: StreamedDocument,
        delimiter: Option<char>,
        names: &[String],
    ) -> Result<Self, PointsError> {
        let object = document.object();
        let delimiter = table_delimiter(delimiter, object);
        let records = TableRecords::open(&document, delimiter)?;
        let positions = names.iter().map(|name| {
            find_column(name, records.header().iter()).map_err(|problem| PointsError::Columns {
                object: object.to_owned(),
                problem,
            })
        });
        let positions = positions.collect::<Result<_, _>>()?;
        drop(records);
        Ok(Self {
            document,
            delimiter,
            names: names.to_vec(),
            positions,
        })
    }

    pub fn object(&self) -> &str {
        self.document.object()
    }

    /// Collects all rows.
    pub fn collect<C: RowCollector>(
        &self,
        collector: &C,
        merge: &mut MergeBlock<'_, C::Block>,
    ) -> Result<(), PointsError> {
        let mut records = TableRecords::open(&self.document, self.delimiter)?;
        let fields = records.header().len();
        let mut place = BlockPlace::default();
        parse_in_waves(
            || {
                let block = records.next_block().transpose()?;
                let sized = block.map(|block| {
                    let bytes = block.text.len() as u64;
                    (block, bytes)
                });
                Some(sized.map_err(PointsError::from))
            },
            |block| self.collect_block(&block, fields, collector),
            |CollectedRows { collected, rows }| {
                merge_collected(collected, place, merge)?;
                place.first_row += rows;
                Ok(())
            },
        )
    }

    fn collect_block<C: RowCollector>(
        &self,
        block: &TextBlock,
        fields: usize,
        collector: &C,
    ) -> CollectedRows<C::Block> {
        let mut into = C::Block::default();
        let mut record = TextRecord::before(block);
        let mut rows = 0;
        let mut next = || -> Result<bool, PointsError> {
            let read = read_row(&mut record, block, self.delimiter, fields);
            let is_found = read.map_err(|problem| PointsError::Table {
                object: self.object().to_owned(),
                problem,
            })?;
            if is_found {
                let cells = TextCells {
                    texts: RecordTexts {
                        block,
                        record: &record,
                        positions: &self.positions,
                    },
                    names: &self.names,
                    object: self.object(),
                    word: "line",
                    number: record.line(),
                    row: rows,
                };
                collector.add(&cells, &mut into)?;
                rows += 1;
            }
            Ok(is_found)
        };
        let done = loop {
            match next() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        CollectedRows {
            collected: (into, done),
            rows,
        }
    }
}

//! The records of a table as text, each with the line on which it starts.
//!
//! The input is a stored CSV file and its delimiter; the output is the header, and then one record at a time, or one block of records at a
//! time. Tables of annotations, of roots and of boxes are all read in this way.

use std::io::Read;

use ::csv::StringRecord;

use super::text_blocks::{BlockError, MAX_RECORD_BYTES, RecordProblem, TextBlock, TextBlocks};
use super::text_record::TextRecord;
use crate::points::error::PointsError;
use crate::storage::{DocumentError, StreamedDocument};

/// The records of a table.
pub(crate) struct TableRecords<'d> {
    document: &'d StreamedDocument,
    delimiter: u8,
    blocks: TextBlocks<Box<dyn Read + Send + 'd>>,
    /// The block after the header, or the one that records are read from.
    block: Option<TextBlock>,
    record: TextRecord,
    header: StringRecord,
}

/// Why the records of a table cannot be read.
#[derive(Debug)]
pub(crate) enum TableError {
    /// The file cannot be read.
    Document(DocumentError),
    /// The file is not a table. The text names the line and the problem.
    Damaged { object: String, problem: String },
}

impl From<DocumentError> for TableError {
    fn from(e: DocumentError) -> Self {
        Self::Document(e)
    }
}

impl From<TableError> for PointsError {
    fn from(e: TableError) -> Self {
        match e {
            TableError::Document(e) => e.into(),
            TableError::Damaged { object, problem } => Self::Table { object, problem },
        }
    }
}

/// The delimiter of the table `object`: the one in the config, otherwise a tab for `*.tsv` and a comma for other files.
pub(crate) fn table_delimiter(given: Option<char>, object: &str) -> u8 {
    let path = object.split(['?', '#']).next().unwrap_or(object);
    let compressed = [".gz", ".zst", ".zstd"]
        .iter()
        .find_map(|end| path.strip_suffix(end));
    let path = compressed.unwrap_or(path);
    let is_tsv = [".tsv", ".tab"].iter().any(|end| path.ends_with(end));
    let default = if is_tsv { '\t' } else { ',' };
    u8::try_from(given.unwrap_or(default)).unwrap_or(b',')
}

impl<'d> TableRecords<'d> {
    /// Opens the table at its start and reads the header.
    pub(crate) fn open(document: &'d StreamedDocument, delimiter: u8) -> Result<Self, TableError> {
        let reader: Box<dyn Read + Send + 'd> = Box::new(document.reader()?);
        let mut records = Self {
            document,
            delimiter,
            blocks: TextBlocks::new(reader, delimiter),
            block: None,
            record: TextRecord::default(),
            header: StringRecord::new(),
        };
        while let Some(block) = records.next_block()? {
            let mut record = TextRecord::before(&block);
            let read = record.read(&block, delimiter);
            if read.map_err(|problem| damaged(document.object(), &problem))? {
                records.header = record.fields(&block).collect();
                records.block = block.after(record.end());
                break;
            }
        }
        if let Some(block) = &records.block {
            records.record.rewind(block);
        }
        Ok(records)
    }

    /// The names of the columns.
    pub(crate) fn header(&self) -> &StringRecord {
        &self.header
    }

    /// Reads the next record into `record`. Returns the line on which it starts, or `None` at the end.
    pub(crate) fn read(&mut self, record: &mut StringRecord) -> Result<Option<u64>, TableError> {
        loop {
            if let Some(block) = &self.block {
                let read = read_row(&mut self.record, block, self.delimiter, self.header.len());
                if read.map_err(|problem| self.damaged(problem))? {
                    record.clear();
                    record.extend(self.record.fields(block));
                    return Ok(Some(self.record.line()));
                }
            }
            self.block = None;
            self.block = self.next_block()?;
            match &self.block {
                Some(block) => self.record.rewind(block),
                None => return Ok(None),
            }
        }
    }

    /// The next block of records after the header, and after other blocks; `None` at the end.
    pub(super) fn next_block(&mut self) -> Result<Option<TextBlock>, TableError> {
        if let Some(block) = self.block.take() {
            return Ok(Some(block));
        }
        self.blocks.next().transpose().map_err(|e| match e {
            BlockError::Read(e) => self.document.document_error(e).into(),
            BlockError::Record(problem) => damaged(self.document.object(), &problem),
        })
    }

    fn damaged(&self, problem: String) -> TableError {
        TableError::Damaged {
            object: self.document.object().to_owned(),
            problem,
        }
    }
}

/// Reads the next record of `block`, which must have `fields` fields. Returns `false` at the end of the block. The error describes the
/// problem.
pub(super) fn read_row(
    record: &mut TextRecord,
    block: &TextBlock,
    delimiter: u8,
    fields: usize,
) -> Result<bool, String> {
    match record.read(block, delimiter) {
        Ok(true) if record.len() != fields => Err(format!(
            "line {}: the row has {} fields, expected {fields} as in the header",
            record.line(),
            record.len(),
        )),
        Ok(is_found) => Ok(is_found),
        Err(problem) => Err(describe(&problem)),
    }
}

fn damaged(object: &str, problem: &RecordProblem) -> TableError {
    TableError::Damaged {
        object: object.to_owned(),
        problem: describe(problem),
    }
}

fn describe(problem: &RecordProblem) -> String {
    match problem {
        RecordProblem::TooLong { line } => format!(
            "line {line}: the row that starts here has more than {MAX_RECORD_BYTES} bytes; check for an unclosed quotation mark, \
             and that the file is a table"
        ),
        RecordProblem::NotUtf8 { line, field } => {
            format!("line {line}: its field {field} is not UTF-8 text; save the table as UTF-8")
        }
    }
}

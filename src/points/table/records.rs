//! The records of a table, read as a stream, each with the line on which it starts.
//!
//! The input is a stored CSV file and its delimiter; the output is the header and then one record at a time. Tables of
//! annotations and tables of boxes are both read in this way.

use std::io::{Cursor, Read};

use ::csv::{ErrorKind, Reader, ReaderBuilder, StringRecord, Trim};

use super::lines::{LineCounter, RecordLines, RecordTooLong};
use crate::points::error::PointsError;
use crate::storage::{DocumentError, StreamedDocument};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The records of a table.
pub(crate) struct TableRecords<'d> {
    document: &'d StreamedDocument,
    reader: Reader<LineCounter<Box<dyn Read + Send + 'd>>>,
    /// The lines on which records start.
    starts: RecordLines,
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
        let mut bytes = document.reader()?;
        let mut first = Vec::new();
        let read = bytes.by_ref().take(3).read_to_end(&mut first);
        read.map_err(|e| document.document_error(e))?;
        if first == BYTE_ORDER_MARK {
            first.clear();
        }
        let bytes: Box<dyn Read + Send + '_> = Box::new(Cursor::new(first).chain(bytes));
        let lines = LineCounter::new(bytes, delimiter);
        let starts = lines.starts();
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(Trim::All)
            .buffer_capacity(1 << 16)
            .from_reader(lines);
        let header = reader.headers().cloned();
        let line = starts.next();
        Ok(Self {
            header: header.map_err(|e| damaged(document, e, line))?,
            document,
            reader,
            starts,
        })
    }

    /// The names of the columns.
    pub(crate) fn header(&self) -> &StringRecord {
        &self.header
    }

    /// Reads the next record into `record`. Returns the line on which it starts, or `None` at the end.
    pub(crate) fn read(&mut self, record: &mut StringRecord) -> Result<Option<u64>, TableError> {
        let read = self.reader.read_record(record);
        if matches!(read, Ok(false)) {
            return Ok(None);
        }
        let line = self.starts.next();
        read.map_err(|e| damaged(self.document, e, line))?;
        Ok(Some(line))
    }
}

/// The error for a record that starts on `line`.
fn damaged(document: &StreamedDocument, error: ::csv::Error, line: u64) -> TableError {
    let problem = match error.into_kind() {
        ErrorKind::Io(e) => match e.downcast::<RecordTooLong>() {
            Ok(too_long) => too_long.to_string(),
            Err(e) => return document.document_error(e).into(),
        },
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!(
            "line {line}: the row has {len} fields, expected {expected_len} as in the header"
        ),
        ErrorKind::Utf8 { err, .. } => format!(
            "line {line}: its field {} is not UTF-8 text; save the table as UTF-8",
            err.field() + 1
        ),
        other => format!("line {line}: {other:?}"),
    };
    TableError::Damaged {
        object: document.object().to_owned(),
        problem,
    }
}

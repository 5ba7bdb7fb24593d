//! The records of a table, read as a stream, each with the line that it begins on.
//!
//! In goes a stored CSV file and its delimiter; out come the header and then one record at a time. Tables of
//! annotations and tables of boxes are read this way.

use std::io::{Cursor, Read};

use ::csv::{ErrorKind, Reader, ReaderBuilder, StringRecord, Trim};

use super::lines::{Lines, Starts, TooLong};
use crate::points::PointsError;
use crate::storage::{DocumentError, StreamedDocument};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The records of a table.
pub(crate) struct TableRecords<'d> {
    document: &'d StreamedDocument,
    reader: Reader<Lines<Box<dyn Read + Send + 'd>>>,
    /// The lines that records begin on.
    starts: Starts,
    header: StringRecord,
}

/// Why the records of a table cannot be read.
#[derive(Debug)]
pub(crate) enum TableError {
    /// The file cannot be read.
    Document(DocumentError),
    /// The file is no table; the text names the line and what is wrong with it.
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

/// The delimiter of the table `object`: the one that the config gives, else a tab in `*.tsv` and a comma elsewhere.
pub(crate) fn table_delimiter(given: Option<char>, object: &str) -> u8 {
    let path = object.split(['?', '#']).next().unwrap_or(object);
    let path = path.strip_suffix(".gz").unwrap_or(path);
    let is_tsv = [".tsv", ".tab"].iter().any(|end| path.ends_with(end));
    let default = if is_tsv { '\t' } else { ',' };
    u8::try_from(given.unwrap_or(default)).unwrap_or(b',')
}

impl<'d> TableRecords<'d> {
    /// Opens the table at its beginning and reads the header.
    pub(crate) fn open(document: &'d StreamedDocument, delimiter: u8) -> Result<Self, TableError> {
        let mut bytes = document.reader()?;
        let mut first = Vec::new();
        let read = bytes.by_ref().take(3).read_to_end(&mut first);
        read.map_err(|e| document.document_error(e))?;
        if first == BYTE_ORDER_MARK {
            first.clear();
        }
        let bytes: Box<dyn Read + Send + '_> = Box::new(Cursor::new(first).chain(bytes));
        let lines = Lines::new(bytes, delimiter);
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

    /// Reads the next record into `record`: the line that it begins on, or `None` at the end.
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

/// The error of a record that begins on `line`.
fn damaged(document: &StreamedDocument, error: ::csv::Error, line: u64) -> TableError {
    let problem = match error.into_kind() {
        ErrorKind::Io(e) => match e.downcast::<TooLong>() {
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

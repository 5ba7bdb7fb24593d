//! One file of a table, of any format.

use std::sync::Arc;

use ::csv::StringRecord;

use super::cells::{MergeBlock, RowCollector};
use super::columnar_file::ColumnarFile;
use super::csv_file::CsvFile;
use super::format::TableFormat;
use super::json_file::JsonFile;
use super::near_boxes::NearBoxes;
use super::object_reader::ObjectReader;
use super::records::{TableRecords, table_delimiter};
use crate::points::error::PointsError;
use crate::storage::{DocumentError, Location, Storage, StreamedDocument};

/// An open file, in which some columns were found.
#[derive(Debug)]
pub(super) enum TableFile {
    Csv(Box<CsvFile>),
    Json(Box<JsonFile>),
    Columnar(Box<ColumnarFile>),
}

impl TableFile {
    /// Opens the table in `file`, of which its first bytes decide the format, and finds the columns `names`. `expected` describes the
    /// table for messages.
    pub fn open(
        file: &Location,
        names: &[String],
        delimiter: Option<char>,
        expected: &'static str,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let (document, format) = open_document(file, expected, storage)?;
        match format {
            TableFormat::Csv => {
                let file = CsvFile::open(document, delimiter, names)?;
                return Ok(Self::Csv(Box::new(file)));
            }
            TableFormat::Json => {
                return Ok(Self::Json(Box::new(JsonFile::open(document, names)?)));
            }
            TableFormat::Parquet | TableFormat::Arrow => {}
        }
        let object = document.object().to_owned();
        drop(document);
        let reader = open_object(file, &object, expected, storage)?;
        let limit_bytes = storage.budget().lease_limit_bytes();
        let file = ColumnarFile::open(&object, format, reader, names, limit_bytes)?;
        Ok(Self::Columnar(Box::new(file)))
    }

    /// The names of the columns of the table in `file`.
    pub fn column_names(
        file: &Location,
        expected: &'static str,
        storage: &Storage,
    ) -> Result<Vec<String>, PointsError> {
        let (document, format) = open_document(file, expected, storage)?;
        let object = document.object().to_owned();
        let names = |names: &StringRecord| names.iter().map(str::to_owned).collect();
        match format {
            TableFormat::Csv => {
                let delimiter = table_delimiter(None, &object);
                let records = TableRecords::open(&document, delimiter)?;
                return Ok(names(records.header()));
            }
            TableFormat::Json => return Ok(names(&JsonFile::column_names(&document)?)),
            TableFormat::Parquet | TableFormat::Arrow => {}
        }
        drop(document);
        let reader = open_object(file, &object, expected, storage)?;
        ColumnarFile::column_names(&object, format, reader)
    }

    pub fn object(&self) -> &str {
        match self {
            Self::Csv(file) => file.object(),
            Self::Json(file) => file.object(),
            Self::Columnar(file) => file.object(),
        }
    }

    /// What the numbers of rows count.
    pub fn row_word(&self) -> &'static str {
        match self {
            Self::Csv(_) => "line",
            Self::Json(_) | Self::Columnar(_) => "row",
        }
    }

    /// Collects all rows, or at least those that may be near a box, and merges what was collected in the order of the rows.
    pub fn collect<C: RowCollector>(
        &self,
        near: Option<&NearBoxes<'_>>,
        collector: &C,
        merge: &mut MergeBlock<'_, C::Block>,
    ) -> Result<(), PointsError> {
        match self {
            Self::Csv(file) => file.collect(collector, merge),
            Self::Json(file) => file.collect(collector, merge),
            Self::Columnar(file) => file.collect(near, collector, merge),
        }
    }
}

/// The file, and its format.
fn open_document(
    file: &Location,
    expected: &'static str,
    storage: &Storage,
) -> Result<(StreamedDocument, TableFormat), PointsError> {
    let document = StreamedDocument::open(file, expected, storage)?;
    let format = TableFormat::of(document.beginning());
    let format = format.map_err(|problem| PointsError::Table {
        object: document.object().to_owned(),
        problem: problem.to_owned(),
    })?;
    Ok((document, format))
}

fn open_object(
    file: &Location,
    object: &str,
    expected: &'static str,
    storage: &Storage,
) -> Result<ObjectReader, PointsError> {
    let missing = || DocumentError::Missing {
        object: object.to_owned(),
        expected,
    };
    let (folder, key) = file.split_file().ok_or_else(missing)?;
    let store = storage.open(&folder);
    let opened = store.open_object(&key)?.ok_or_else(missing)?;
    Ok(ObjectReader::new(Arc::from(opened), store.has_latency()))
}

//! Tables as text: CSV and TSV, also compressed.

use ::csv::StringRecord;

use super::columns::{CsvColumns, RowFields};
use super::records::{TableRecords, table_delimiter};
use super::row::{RoundedIds, TableRow};
use crate::config::TableConfig;
use crate::points::error::PointsError;
use crate::points::property::{PropertySpec, record_bytes};
use crate::storage::StreamedDocument;

/// A table whose columns were found.
#[derive(Debug)]
pub(super) struct CsvFile {
    document: StreamedDocument,
    delimiter: u8,
    pub columns: CsvColumns,
}

impl CsvFile {
    /// Reads the header.
    pub fn open(document: StreamedDocument, config: &TableConfig) -> Result<Self, PointsError> {
        let object = document.object();
        let delimiter = table_delimiter(config.delimiter, object);
        let records = TableRecords::open(&document, delimiter)?;
        let columns = CsvColumns::find(records.header(), config, object)?;
        drop(records);
        Ok(Self {
            document,
            delimiter,
            columns,
        })
    }

    pub fn object(&self) -> &str {
        self.document.object()
    }

    /// Calls `visit` with every row, in order; `properties` have the layout of records.
    pub fn for_each_row(
        &self,
        properties: &[PropertySpec],
        rounded: &mut Option<&mut RoundedIds>,
        visit: &mut dyn FnMut(TableRow<'_>) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let columns = &self.columns;
        let mut records = TableRecords::open(&self.document, self.delimiter)?;
        let mut record = StringRecord::new();
        let mut values = vec![0; record_bytes(properties)];
        let mut row = 0;
        while let Some(line) = records.read(&mut record)? {
            let fields = RowFields {
                record: &record,
                object: self.object(),
                word: "line",
                number: line,
            };
            fields.visit(columns, properties, row, &mut values, rounded, visit)?;
            row += 1;
        }
        Ok(())
    }
}

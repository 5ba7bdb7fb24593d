//! Tables as JSON: a list of one object per row, as pandas writes with `orient="records"`.

use std::fmt;

use ::csv::StringRecord;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::columns::{CsvColumns, RowFields};
use super::row::{RoundedIds, TableRow};
use crate::config::TableConfig;
use crate::points::error::PointsError;
use crate::points::property::{PropertySpec, record_bytes};
use crate::storage::StreamedDocument;

/// A table whose columns were found.
#[derive(Debug)]
pub(super) struct JsonFile {
    document: StreamedDocument,
    /// The members of the first row.
    names: StringRecord,
    pub columns: CsvColumns,
}

impl JsonFile {
    /// Reads the names of the first row's members.
    pub fn open(document: StreamedDocument, config: &TableConfig) -> Result<Self, PointsError> {
        let names = Self::column_names(&document)?;
        let columns = CsvColumns::find(&names, config, document.object())?;
        Ok(Self {
            document,
            names,
            columns,
        })
    }

    /// The names of the first row's members.
    pub fn column_names(document: &StreamedDocument) -> Result<StringRecord, PointsError> {
        let mut names = StringRecord::new();
        let mut is_first = true;
        for_each_object(document, &mut |row| {
            if std::mem::take(&mut is_first) {
                names = row.keys().map(String::as_str).collect();
            }
            Ok(())
        })?;
        Ok(names)
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
        let mut values = vec![0; record_bytes(properties)];
        let mut row_number = 0;
        for_each_object(&self.document, &mut |row| {
            let texts = self.names.iter().map(|name| text_of(row.get(name)));
            let record: StringRecord = texts.collect();
            let fields = RowFields {
                record: &record,
                object: self.object(),
                word: "row",
                number: row_number,
            };
            fields.visit(
                &self.columns,
                properties,
                row_number,
                &mut values,
                rounded,
                visit,
            )?;
            row_number += 1;
            Ok(())
        })
    }
}

/// The value as a field of CSV: nothing for null and for a missing member.
fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Calls `visit` with each object of the list.
fn for_each_object(
    document: &StreamedDocument,
    visit: &mut dyn FnMut(Map<String, Value>) -> Result<(), PointsError>,
) -> Result<(), PointsError> {
    let mut failure = None;
    let rows = Rows {
        visit,
        failure: &mut failure,
    };
    let parsed = document.parse(rows);
    match failure {
        Some(failure) => Err(failure),
        None => Ok(parsed?),
    }
}

/// Visits the rows of a list, one after the other. An error of `visit` is kept, and ends it.
struct Rows<'v> {
    visit: &'v mut dyn FnMut(Map<String, Value>) -> Result<(), PointsError>,
    failure: &'v mut Option<PointsError>,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of one object per row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<Map<String, Value>>()? {
            if let Err(e) = (self.visit)(row) {
                *self.failure = Some(e);
                return Err(A::Error::custom("a row is invalid"));
            }
        }
        Ok(())
    }
}

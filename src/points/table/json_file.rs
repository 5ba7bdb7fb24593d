//! Tables as JSON: a list of one object per row, as pandas writes with `orient="records"`.

use std::fmt;

use ::csv::StringRecord;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::cells::{BlockPlace, MergeBlock, RowCollector};
use super::columns::find_column;
use super::text_cells::TextCells;
use crate::points::error::PointsError;
use crate::storage::StreamedDocument;

/// Rows that are merged at once.
const BLOCK_ROWS: u64 = 4096;

/// A table whose columns were found.
#[derive(Debug)]
pub(super) struct JsonFile {
    document: StreamedDocument,
    names: Vec<String>,
}

impl JsonFile {
    /// Finds the columns `names` in the first row.
    pub fn open(document: StreamedDocument, names: &[String]) -> Result<Self, PointsError> {
        let members = Self::column_names(&document)?;
        for name in names {
            find_column(name, members.iter()).map_err(|problem| PointsError::Columns {
                object: document.object().to_owned(),
                problem,
            })?;
        }
        Ok(Self {
            document,
            names: names.to_vec(),
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

    /// Collects all rows.
    pub fn collect<C: RowCollector>(
        &self,
        collector: &C,
        merge: &mut MergeBlock<'_, C::Block>,
    ) -> Result<(), PointsError> {
        let mut block = C::Block::default();
        let mut number = 0;
        let read = for_each_object(&self.document, &mut |row| {
            let texts = self.names.iter().map(|name| text_of(row.get(name)));
            let texts: Vec<String> = texts.collect();
            let cells = TextCells {
                texts: texts.as_slice(),
                names: &self.names,
                object: self.object(),
                word: "row",
                number,
                row: number,
            };
            collector.add(&cells, &mut block)?;
            number += 1;
            match number % BLOCK_ROWS {
                0 => merge(std::mem::take(&mut block), BlockPlace::default()),
                _ => Ok(()),
            }
        });
        merge(block, BlockPlace::default())?;
        read
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

//! Columns of a finished dataset, read chunk by chunk: a column of a billion samples does not fit in memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use zarrs::array::{ArrayBytes, ElementOwned};

use super::DatasetError;
use super::metadata::zarr_error;
use super::stored::StoredArray;
use crate::storage::Store;

/// A column of a split. It keeps the last chunk: threads that share it should read rows near each other.
#[derive(Debug)]
pub struct ColumnReader<T> {
    store: Arc<dyn Store>,
    /// Its path, relative to the dataset.
    folder: String,
    stored: StoredArray,
    samples: u64,
    last: Mutex<Option<(u64, Arc<Vec<T>>)>>,
}

impl<T: ElementOwned + Clone> ColumnReader<T> {
    /// The column in `folder`, which has a row of `width` values per sample. `None` accepts every width.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        folder: String,
        samples: u64,
        width: Option<u64>,
    ) -> Result<Self, DatasetError> {
        let stored = StoredArray::column(&*store, &folder, samples)?;
        let shape = &stored.metadata.shape;
        let found = shape.get(1).copied().unwrap_or(1);
        if let Some(expected) = width.filter(|expected| *expected != found) {
            let problem =
                format!("its shape is {shape:?}, expected {expected} value(s) per sample");
            return Err(zarr_error(&folder, problem));
        }
        Ok(Self::of(store, folder, stored, samples))
    }

    /// The column `stored` in `folder`.
    pub(super) fn of(
        store: Arc<dyn Store>,
        folder: String,
        stored: StoredArray,
        samples: u64,
    ) -> Self {
        Self {
            store,
            folder,
            stored,
            samples,
            last: Mutex::new(None),
        }
    }

    /// Its path, relative to the dataset.
    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// Number of values in a row.
    pub(super) fn row_values(&self) -> usize {
        self.stored.row_values() as usize
    }

    /// The values that have labels, with these: `flag_values` and `flag_meanings`, which are lists, or one text as in the CF convention.
    pub(crate) fn labels(&self) -> Vec<(f64, String)> {
        let attributes = &self.stored.metadata.attributes;
        let values = attributes.get("flag_values").and_then(Value::as_array);
        let labels: Vec<String> = match attributes.get("flag_meanings") {
            Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(list)) => {
                let texts = list.iter().map(|label| label.as_str().unwrap_or_default());
                texts.map(str::to_owned).collect()
            }
            _ => return Vec::new(),
        };
        let values = values.into_iter().flatten().filter_map(Value::as_f64);
        values.zip(labels).collect()
    }

    /// The values of some rows, row by row. Rows after the last one are left out.
    ///
    /// # Errors
    /// A chunk is missing, is damaged, or has values of another type.
    pub fn rows(&self, rows: Range<u64>) -> Result<Vec<T>, DatasetError> {
        let (chunk_rows, width) = (self.stored.chunk_rows(), self.stored.row_values());
        let rows = rows.start..rows.end.min(self.samples);
        let mut values = Vec::new();
        if rows.is_empty() {
            return Ok(values);
        }
        for chunk in rows.start / chunk_rows..rows.end.div_ceil(chunk_rows) {
            let of_chunk = self.chunk(chunk)?;
            let first = chunk * chunk_rows;
            let value_of_row = |row: u64| ((row - first) * width) as usize;
            let start = value_of_row(rows.start.max(first));
            let end = value_of_row(rows.end.min(first.saturating_add(chunk_rows)));
            values.extend_from_slice(&of_chunk[start..end]);
        }
        Ok(values)
    }

    /// The values of a chunk, without the rows after the last sample.
    fn chunk(&self, chunk: u64) -> Result<Arc<Vec<T>>, DatasetError> {
        // Other threads wait here. They probably need the same chunk.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((number, values)) if *number == chunk => return Ok(Arc::clone(values)),
            // Freed before the next chunk is decoded.
            _ => *last = None,
        }
        let bytes = self
            .stored
            .column_chunk(&*self.store, &self.folder, chunk)?;
        let values =
            T::from_array_bytes(self.stored.array.data_type(), ArrayBytes::new_flen(bytes))
                .map_err(|e| {
                    zarr_error(&self.folder, format!("{e}: expected another data_type"))
                })?;
        let values = Arc::new(values);
        *last = Some((chunk, Arc::clone(&values)));
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Column, ColumnValues};
    use crate::storage::{Location, Storage};

    /// A column `c` of `rows` rows of three values: 0, 1, 2, ...
    fn column(folder: &std::path::Path, rows: u64) -> Result<ColumnReader<u32>, DatasetError> {
        let bytes: Vec<u8> = (0..3 * rows as u32).flat_map(u32::to_le_bytes).collect();
        let column = Column::new(ColumnValues::raw("uint32", &bytes, 12), "c").rows("xyz", 3);
        let put = |key: String, bytes: Vec<u8>| {
            let path = folder.join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
            Ok::<_, DatasetError>(())
        };
        column.write("c", rows, put)?;
        open(folder, rows, Some(3))
    }

    fn open<T: ElementOwned + Clone>(
        folder: &std::path::Path,
        rows: u64,
        width: Option<u64>,
    ) -> Result<ColumnReader<T>, DatasetError> {
        let store = Storage::default().open(&Location::Local(folder.to_owned()));
        ColumnReader::open(store, "c".to_owned(), rows, width)
    }

    #[test]
    fn rows_are_those_of_the_column_within_and_across_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let (chunk, rows) = (1 << 18, 2 * (1 << 18) + 5);
        let column = column(dir.path(), rows).unwrap();
        for range in [
            0..1,
            7..9,
            chunk - 1..chunk + 1,
            chunk..chunk + 3,
            2..2 * chunk + 3,
            rows - 1..rows,
            rows - 2..u64::MAX,
        ] {
            let end = range.end.min(rows);
            let expected: Vec<u32> = (3 * range.start as u32..3 * end as u32).collect();
            assert!(column.rows(range.clone()).unwrap() == expected, "{range:?}");
        }
        for empty in [0..0, rows..rows + 1, rows + 7..rows + 9] {
            assert!(column.rows(empty).unwrap().is_empty());
        }
    }

    #[test]
    fn another_type_or_width_or_a_missing_chunk_is_an_error_that_names_the_column() {
        let dir = tempfile::tempdir().unwrap();
        column(dir.path(), 9).unwrap();
        let error = open::<u32>(dir.path(), 9, Some(1)).unwrap_err().to_string();
        assert!(
            error.contains("c: its shape is [9, 3], expected 1 value(s)"),
            "{error}"
        );
        let column = open::<u64>(dir.path(), 9, None).unwrap();
        let error = column.rows(0..9).unwrap_err().to_string();
        assert!(error.contains("expected another data_type"), "{error}");
        std::fs::remove_file(dir.path().join("c/c.0.0")).unwrap();
        let column = open::<u32>(dir.path(), 9, None).unwrap();
        assert!(column.rows(0..9).is_err());
    }
}

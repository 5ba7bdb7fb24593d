//! Index columns: small arrays over `sample` with the annotation, box and position of each sample.
//!
//! A column of ten million samples takes hundreds of MB, so columns are written and read chunk by chunk.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use zarrs::array::codec::{Crc32cCodec, ZstdCodec};
use zarrs::array::{Array, ArrayBuilder, ArrayBytes, CodecOptions};
use zarrs::metadata::ChunkKeySeparator;
use zarrs::metadata::v3::ArrayMetadataV3;
use zarrs::storage::store::MemoryStore;
use zarrs::storage::{ListableStorageTraits, ReadableStorageTraits, WritableStorageTraits};

use super::DatasetError;
use super::metadata::zarr_error;
use super::stored::StoredArray;

/// The columns of a split that are known before any window is cut, in the order of the samples.
#[derive(Debug, Default)]
pub struct SampleIndex<'a> {
    /// The columns, by name.
    pub columns: IndexMap<String, Column<'a>>,
}

/// A column of a split.
#[derive(Debug)]
pub struct Column<'a> {
    /// The values, `width` per row.
    pub values: ColumnValues<'a>,
    /// Name of the first dimension.
    pub first: &'static str,
    /// Name and length of the second dimension; `None` for one value per sample.
    pub second: Option<(String, u64)>,
    /// Attributes for readers and for xarray: units, description, labels.
    pub attributes: Map<String, Value>,
}

/// Values of a column, and the name of their type.
pub struct ColumnValues<'a> {
    data_type: &'static str,
    /// The values of some rows, little-endian. Rows after the last one are left out.
    rows: Box<dyn Fn(Range<usize>) -> Vec<u8> + Send + Sync + 'a>,
}

impl fmt::Debug for ColumnValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ColumnValues")
            .field(&self.data_type)
            .finish()
    }
}

/// Most rows of a column that are one chunk.
const CHUNK_ROWS: u64 = 1 << 18;

/// Most values of a chunk, where that are fewer rows.
const CHUNK_VALUES: u64 = 1 << 20;

impl<'a> ColumnValues<'a> {
    /// One row per item. `data_type` is a Zarr name, and `bytes` returns the row's values, little-endian.
    pub fn of<T: Sync, const N: usize>(
        data_type: &'static str,
        items: &'a [T],
        bytes: impl Fn(&T) -> [u8; N] + Send + Sync + 'a,
    ) -> Self {
        let rows = move |rows| items_in(items, rows).iter().flat_map(&bytes).collect();
        let rows = Box::new(rows);
        Self { data_type, rows }
    }

    /// Values given as bytes, `row_bytes` per row.
    pub fn raw(data_type: &'static str, bytes: &'a [u8], row_bytes: usize) -> Self {
        let rows = move |rows: Range<usize>| {
            let in_bytes = rows.start * row_bytes..rows.end * row_bytes;
            items_in(bytes, in_bytes).to_vec()
        };
        let rows = Box::new(rows);
        Self { data_type, rows }
    }

    /// `rows` rows; `add` adds the values of a row, little-endian.
    pub fn of_rows(
        data_type: &'static str,
        rows: usize,
        add: impl Fn(usize, &mut Vec<u8>) + Send + Sync + 'a,
    ) -> Self {
        let of_range = move |range: Range<usize>| {
            let mut values = Vec::new();
            (range.start..range.end.min(rows)).for_each(|i| add(i, &mut values));
            values
        };
        let rows = Box::new(of_range);
        Self { data_type, rows }
    }

    /// float32 values, one per row, in parts that follow one another.
    pub fn of_parts(parts: Vec<&'a [f32]>) -> Self {
        let ends = parts.iter().scan(0, |end, part| {
            *end += part.len();
            Some(*end)
        });
        let ends: Vec<usize> = ends.collect();
        let rows = move |rows: Range<usize>| {
            let first = ends.partition_point(|end| *end <= rows.start);
            let start = first.checked_sub(1).map_or(0, |before| ends[before]);
            let values = parts[first..].iter().copied().flatten();
            let values = values.skip(rows.start - start).take(rows.len());
            values.flat_map(|v| v.to_le_bytes()).collect()
        };
        let (data_type, rows) = ("float32", Box::new(rows));
        Self { data_type, rows }
    }

    /// The values of some rows, little-endian. Rows after the last one are left out.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Vec<u8> {
        (self.rows)(rows)
    }
}

/// Those of `items` that are in `range`.
fn items_in<T>(items: &[T], range: Range<usize>) -> &[T] {
    let end = range.end.min(items.len());
    &items[range.start.min(end)..end]
}

impl<'a> Column<'a> {
    /// A column of one value per sample.
    pub fn new(values: ColumnValues<'a>, description: &str) -> Self {
        let mut attributes = Map::new();
        attributes.insert("description".into(), json!(description));
        Self {
            values,
            first: "sample",
            second: None,
            attributes,
        }
    }

    /// A column with a row per something else than a sample: the first dimension is called `name`.
    pub fn along(self, name: &'static str) -> Self {
        Self {
            first: name,
            ..self
        }
    }

    /// A column of `n` values per sample, along a dimension called `name`.
    pub fn rows(self, name: impl Into<String>, n: u64) -> Self {
        Self {
            second: Some((name.into(), n)),
            ..self
        }
    }

    /// Number of values in a row.
    fn width(&self) -> u64 {
        self.second.as_ref().map_or(1, |(_, n)| *n)
    }

    /// Rows that are one chunk, of a column with `samples` rows.
    fn chunk_rows(&self, samples: u64) -> u64 {
        let most = CHUNK_ROWS.min(CHUNK_VALUES / self.width().max(1));
        samples.clamp(1, most.max(1))
    }

    /// A column of the same type that has no values.
    pub(crate) fn without_values(self) -> Column<'static> {
        let values = ColumnValues {
            data_type: self.values.data_type,
            rows: Box::new(|_| Vec::new()),
        };
        Column {
            values,
            first: self.first,
            second: self.second,
            attributes: self.attributes,
        }
    }

    /// Gives `put` the column's files, by key below the group: metadata first, then chunk by chunk. Returns the metadata.
    pub(crate) fn write<E: From<DatasetError>>(
        &self,
        name: &str,
        samples: u64,
        mut put: impl FnMut(String, Vec<u8>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let store = Arc::new(MemoryStore::new());
        let array = self.array(name, samples, &store)?;
        let metadata = super::metadata::to_json(array.metadata(), name)?;
        put(format!("{name}/zarr.json"), metadata.clone())?;
        let chunk_rows = self.chunk_rows(samples);
        for start in (0..samples).step_by(chunk_rows as usize) {
            let end = samples.min(start + chunk_rows);
            let chunk = self.encoded_chunk(&array, &store, start..end);
            let (key, bytes) = chunk.map_err(|e| zarr_error(name, e))?;
            put(key, bytes)?;
        }
        Ok(metadata)
    }

    /// The column as an array in `store`.
    fn array(
        &self,
        name: &str,
        samples: u64,
        store: &Arc<MemoryStore>,
    ) -> Result<Array<MemoryStore>, DatasetError> {
        let mut shape = vec![samples];
        let mut chunk = vec![self.chunk_rows(samples)];
        let mut dimensions = vec![self.first];
        if let Some((dimension, n)) = &self.second {
            shape.push(*n);
            chunk.push(*n);
            dimensions.push(dimension);
        }
        let data_type = self.values.data_type;
        let mut builder = if data_type.starts_with("float") {
            ArrayBuilder::new(shape, chunk, data_type, 0.0f64)
        } else {
            ArrayBuilder::new(shape, chunk, data_type, 0u8)
        };
        builder
            .bytes_to_bytes_codecs(vec![
                Arc::new(ZstdCodec::new(super::codec::ZSTD_LEVEL, false)),
                Arc::new(Crc32cCodec::new()),
            ])
            .dimension_names(dimensions.into())
            .attributes(self.attributes.clone())
            .chunk_key_encoding_default_separator(ChunkKeySeparator::Dot)
            .build(Arc::clone(store), &format!("/{name}"))
            .map_err(|e| zarr_error(name, e.to_string()))
    }

    /// The chunk of some rows, and its key. `store` is empty before and after.
    fn encoded_chunk(
        &self,
        array: &Array<MemoryStore>,
        store: &MemoryStore,
        rows: Range<u64>,
    ) -> Result<(String, Vec<u8>), String> {
        let values = self.values.rows(rows.start as usize..rows.end as usize);
        let width = self.second.as_ref().map(|(_, n)| 0..*n);
        let subset: Vec<_> = std::iter::once(rows).chain(width).collect();
        let options = CodecOptions::default().with_store_empty_chunks(true);
        let bytes = ArrayBytes::new_flen(values);
        array
            .store_array_subset_opt(&subset, bytes, &options)
            .map_err(|e| e.to_string())?;
        let key = store.list().map_err(|e| e.to_string())?.into_iter().next();
        let key = key.ok_or("its chunk was not encoded")?;
        let encoded = store.get(&key).map_err(|e| e.to_string())?;
        store.erase(&key).map_err(|e| e.to_string())?;
        let encoded = encoded.ok_or("its chunk was not encoded")?;
        Ok((key.to_string(), encoded.to_vec()))
    }

    /// Gives `each` the values in the files that [`Column::write`] makes for a column of this one's type with `samples`
    /// rows, chunk by chunk: the chunk's rows, and their values. `read` returns the file with a key below the column's
    /// folder, and its name for messages.
    ///
    /// # Errors
    /// A file is damaged, or `each` says what is wrong with its values.
    pub(crate) fn read(
        &self,
        samples: u64,
        mut read: impl FnMut(&str) -> Result<(Vec<u8>, String), DatasetError>,
        mut each: impl FnMut(Range<usize>, &[u8]) -> Result<(), String>,
    ) -> Result<(), DatasetError> {
        let (bytes, path) = read("zarr.json")?;
        let damaged = |path: String| move |problem| DatasetError::Damaged { path, problem };
        let metadata = serde_json::from_slice(&bytes).map_err(|e| e.to_string());
        let column = metadata
            .and_then(|metadata| self.stored(metadata, samples))
            .map_err(damaged(path))?;
        let chunk_rows = self.chunk_rows(samples);
        let row_bytes = column.chunk_bytes as u64 / chunk_rows;
        for (chunk, first) in (0..samples).step_by(chunk_rows as usize).enumerate() {
            let (encoded, path) = read(&column.chunk_key(chunk as u64))?;
            let mut values = column.decode(encoded).map_err(damaged(path.clone()))?;
            // The last chunk also covers rows after the last sample.
            let rows = chunk_rows.min(samples - first);
            values.truncate(usize::try_from(rows * row_bytes).unwrap_or(usize::MAX));
            let rows = first as usize..(first + rows) as usize;
            each(rows, &values).map_err(damaged(path))?;
        }
        Ok(())
    }

    /// The stored column with this metadata, which must be those that [`Column::files`] writes.
    fn stored(&self, metadata: ArrayMetadataV3, samples: u64) -> Result<StoredArray, String> {
        let found = metadata.data_type.name();
        if found != self.values.data_type {
            let expected = self.values.data_type;
            return Err(format!("its data_type is {found:?}, expected {expected:?}"));
        }
        let width = self.second.as_ref().map(|(_, n)| *n);
        if metadata.shape.get(1).copied() != width {
            let expected = width.unwrap_or(1);
            let shape = &metadata.shape;
            return Err(format!(
                "its shape is {shape:?}, expected {expected} value(s) per sample"
            ));
        }
        let stored = StoredArray::of_column(metadata, samples)?;
        let rows = stored.chunk.first().map_or(0, |n| n.get());
        let expected = self.chunk_rows(samples);
        if rows == expected {
            Ok(stored)
        } else {
            Err(format!("its chunks have {rows} rows, expected {expected}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn files(column: &Column<'_>, samples: u64) -> HashMap<String, Vec<u8>> {
        let mut files = HashMap::new();
        let put = |key, bytes| {
            files.insert(key, bytes);
            Ok::<_, DatasetError>(())
        };
        column.write("n", samples, put).unwrap();
        files
    }

    /// The values in the files of `column`, read as those of `expected`.
    fn read_back(
        column: &Column<'_>,
        samples: u64,
        expected: &Column<'_>,
    ) -> Result<Vec<u8>, String> {
        let files = files(column, samples);
        let read = |key: &str| Ok((files[&format!("n/{key}")].clone(), key.to_owned()));
        let mut all = Vec::new();
        let each = |rows: Range<usize>, values: &[u8]| {
            // Each chunk continues where the last one ended.
            assert_eq!(all.len(), rows.start * (values.len() / rows.len()));
            all.extend_from_slice(values);
            Ok(())
        };
        let done = expected.read(samples, read, each);
        done.map(|()| all).map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_equal_after_a_round_trip() {
        for samples in [0, 1, CHUNK_ROWS, 2 * CHUNK_ROWS + 5] {
            let bytes: Vec<u8> = (0..3 * samples).map(|i| (i % 251) as u8).collect();
            let column = Column::new(ColumnValues::raw("uint8", &bytes, 3), "c").rows("rgb", 3);
            let read = read_back(&column, samples, &column).unwrap();
            assert!(read == bytes, "{samples}");
        }
        for samples in [1, 1024, 2 * 1024 + 5] {
            let bytes: Vec<u8> = (0..1024 * samples).map(|i| (i % 251) as u8).collect();
            let column = Column::new(ColumnValues::raw("uint8", &bytes, 1024), "c");
            let column = column.rows("wide", 1024);
            let read = read_back(&column, samples, &column).unwrap();
            assert!(read == bytes, "{samples}");
        }
        let values = [f64::NAN, -0.0, 5e-324, f64::INFINITY];
        let column = ColumnValues::of("float64", &values, |v| v.to_le_bytes());
        let column = Column::new(column, "c");
        let expected: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read_back(&column, 4, &column).unwrap(), expected);
    }

    #[test]
    fn a_column_of_another_type_width_or_length_is_an_error() {
        let numbers = [0u64, 1, 2, 3, 4, 5];
        let of = |data_type| ColumnValues::of(data_type, &numbers, |v| v.to_le_bytes());
        let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let column = Column::new(of("uint64"), "c");
        let wide = Column::new(ColumnValues::raw("uint64", &bytes, 24), "c").rows("xyz", 3);
        let signed = Column::new(of("int64"), "c");
        for (samples, expected, message) in [
            (6, &wide, "expected 3 value(s)"),
            (6, &signed, "expected \"int64\""),
        ] {
            let error = read_back(&column, samples, expected).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let error = read_back(&wide, 2, &column).unwrap_err();
        assert!(error.contains("expected 1 value(s)"), "{error}");
        let files = files(&column, 6);
        let read = |key: &str| Ok((files[&format!("n/{key}")].clone(), key.to_owned()));
        let error = column.read(5, read, |_, _| Ok(())).unwrap_err().to_string();
        assert!(error.contains("its shape is [6], expected [5]"), "{error}");
    }
}

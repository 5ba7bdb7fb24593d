//! Index columns: small arrays over `sample` with the annotation, box and position of each sample.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use zarrs::array::codec::{Crc32cCodec, ZstdCodec};
use zarrs::array::{ArrayBuilder, ArrayBytes, CodecOptions};
use zarrs::metadata::ChunkKeySeparator;
use zarrs::metadata::v3::ArrayMetadataV3;
use zarrs::storage::store::MemoryStore;
use zarrs::storage::{ListableStorageTraits, ReadableStorageTraits};

use super::DatasetError;
use super::metadata::zarr_error;
use super::stored::StoredArray;

/// The columns of a split that are known before any window is cut, in the order of the samples.
#[derive(Clone, Debug, Default)]
pub struct SampleIndex {
    /// The columns, by name.
    pub columns: IndexMap<String, Column>,
}

/// A column of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The values, `width` per sample.
    pub values: ColumnValues,
    /// Name and length of the second dimension; `None` for one value per sample.
    pub second: Option<(&'static str, u64)>,
    /// Attributes for readers and for xarray: units, description, labels.
    pub attributes: Map<String, Value>,
}

/// Values of a column, little-endian, and the name of their type.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnValues {
    data_type: &'static str,
    bytes: Vec<u8>,
}

/// Rows of a column that are one chunk.
const CHUNK_ROWS: u64 = 1 << 20;

impl ColumnValues {
    /// The bytes of the values, little-endian.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Values given as bytes; `data_type` is a Zarr name.
    pub fn raw(data_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { data_type, bytes }
    }

    /// uint64 values.
    pub fn u64(values: impl Iterator<Item = u64>) -> Self {
        Self::raw("uint64", values.flat_map(u64::to_le_bytes).collect())
    }

    /// uint32 values.
    pub fn u32(values: impl Iterator<Item = u32>) -> Self {
        Self::raw("uint32", values.flat_map(u32::to_le_bytes).collect())
    }

    /// int64 values.
    pub fn i64(values: impl Iterator<Item = i64>) -> Self {
        Self::raw("int64", values.flat_map(i64::to_le_bytes).collect())
    }

    /// float32 values.
    pub fn f32(values: impl Iterator<Item = f32>) -> Self {
        Self::raw("float32", values.flat_map(f32::to_le_bytes).collect())
    }

    /// float64 values.
    pub fn f64(values: impl Iterator<Item = f64>) -> Self {
        Self::raw("float64", values.flat_map(f64::to_le_bytes).collect())
    }
}

impl Column {
    /// A column of one value per sample.
    pub fn new(values: ColumnValues, description: &str) -> Self {
        let mut attributes = Map::new();
        attributes.insert("description".into(), json!(description));
        Self {
            values,
            second: None,
            attributes,
        }
    }

    /// A column of `n` values per sample, along a dimension called `name`.
    pub fn rows(self, name: &'static str, n: u64) -> Self {
        Self {
            second: Some((name, n)),
            ..self
        }
    }

    /// The column's files below `<name>/` of its group, by key: metadata first, then chunks.
    pub(crate) fn files(
        &self,
        name: &str,
        samples: u64,
    ) -> Result<Vec<(String, Vec<u8>)>, DatasetError> {
        let failed = |e: String| zarr_error(name, e);
        let store = Arc::new(MemoryStore::new());
        let mut shape = vec![samples];
        let mut chunk = vec![samples.clamp(1, CHUNK_ROWS)];
        let mut dimensions = vec!["sample"];
        if let Some((dimension, n)) = self.second {
            shape.push(n);
            chunk.push(n);
            dimensions.push(dimension);
        }
        let data_type = self.values.data_type;
        let mut builder = if data_type.starts_with("float") {
            ArrayBuilder::new(shape, chunk, data_type, 0.0f64)
        } else {
            ArrayBuilder::new(shape, chunk, data_type, 0u8)
        };
        let array = builder
            .bytes_to_bytes_codecs(vec![
                Arc::new(ZstdCodec::new(super::codec::ZSTD_LEVEL, false)),
                Arc::new(Crc32cCodec::new()),
            ])
            .dimension_names(dimensions.into())
            .attributes(self.attributes.clone())
            .chunk_key_encoding_default_separator(ChunkKeySeparator::Dot)
            .build(store.clone(), &format!("/{name}"))
            .map_err(|e| failed(e.to_string()))?;
        let metadata = super::metadata::to_json(array.metadata(), name)?;
        let options = CodecOptions::default().with_store_empty_chunks(true);
        if samples > 0 {
            let bytes = ArrayBytes::new_flen(self.values.bytes.as_slice());
            array
                .store_array_subset_opt(&array.subset_all(), bytes, &options)
                .map_err(|e| failed(e.to_string()))?;
        }
        let mut files = vec![(format!("{name}/zarr.json"), metadata)];
        for key in store.list().map_err(|e| failed(e.to_string()))? {
            if let Some(bytes) = store.get(&key).map_err(|e| failed(e.to_string()))? {
                files.push((key.to_string(), bytes.to_vec()));
            }
        }
        Ok(files)
    }
    /// The values in the files that [`Column::files`] returns for a column of this one's type with `samples` rows. `read`
    /// returns the file with a key below the column's folder, and its name for messages.
    pub(crate) fn read_values(
        &self,
        samples: u64,
        mut read: impl FnMut(&str) -> Result<(Vec<u8>, String), DatasetError>,
    ) -> Result<Vec<u8>, DatasetError> {
        let (bytes, path) = read("zarr.json")?;
        let damaged = |path: String| move |problem| DatasetError::Damaged { path, problem };
        let metadata = serde_json::from_slice(&bytes).map_err(|e| e.to_string());
        let column = metadata
            .and_then(|metadata| self.stored(metadata, samples))
            .map_err(damaged(path))?;
        let mut values = Vec::new();
        for chunk in 0..samples.div_ceil(CHUNK_ROWS) {
            let (encoded, path) = read(&column.chunk_key(chunk))?;
            values.extend(column.decode(encoded).map_err(damaged(path))?);
        }
        // The last chunk also covers rows after the last sample.
        let row_bytes = column.chunk_bytes as u64 / samples.clamp(1, CHUNK_ROWS);
        values.truncate(usize::try_from(samples * row_bytes).unwrap_or(usize::MAX));
        Ok(values)
    }

    /// The stored column with this metadata, which must be those that [`Column::files`] writes.
    fn stored(&self, metadata: ArrayMetadataV3, samples: u64) -> Result<StoredArray, String> {
        let found = metadata.data_type.name();
        if found != self.values.data_type {
            let expected = self.values.data_type;
            return Err(format!("its data_type is {found:?}, expected {expected:?}"));
        }
        let width = self.second.map(|(_, n)| n);
        if metadata.shape.get(1).copied() != width {
            let expected = width.unwrap_or(1);
            let shape = &metadata.shape;
            return Err(format!(
                "its shape is {shape:?}, expected {expected} value(s) per sample"
            ));
        }
        let stored = StoredArray::of_column(metadata, samples)?;
        let rows = stored.chunk.first().map_or(0, |n| n.get());
        let expected = samples.clamp(1, CHUNK_ROWS);
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

    /// The values in the files of `column`, read as those of `expected`.
    fn read_back(column: &Column, samples: u64, expected: &Column) -> Result<Vec<u8>, String> {
        let files: HashMap<_, _> = column.files("n", samples).unwrap().into_iter().collect();
        let read = |key: &str| Ok((files[&format!("n/{key}")].clone(), key.to_owned()));
        expected
            .read_values(samples, read)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_equal_after_a_round_trip() {
        for samples in [0, 1, CHUNK_ROWS, 2 * CHUNK_ROWS + 5] {
            let bytes: Vec<u8> = (0..3 * samples).map(|i| (i % 251) as u8).collect();
            let column = Column::new(ColumnValues::raw("uint8", bytes), "c").rows("rgb", 3);
            let read = read_back(&column, samples, &column).unwrap();
            assert!(read == column.values.bytes, "{samples}");
        }
        let values = [f64::NAN, -0.0, 5e-324, f64::INFINITY];
        let column = Column::new(ColumnValues::f64(values.into_iter()), "c");
        assert_eq!(read_back(&column, 4, &column).unwrap(), column.values.bytes);
    }

    #[test]
    fn a_column_of_another_type_width_or_length_is_an_error() {
        let column = Column::new(ColumnValues::u64(0..6), "c");
        let wide = Column::new(ColumnValues::u64(0..6), "c").rows("xyz", 3);
        let signed = Column::new(ColumnValues::i64(0..6), "c");
        for (samples, expected, message) in [
            (6, &wide, "expected 3 value(s)"),
            (6, &signed, "expected \"int64\""),
        ] {
            let error = read_back(&column, samples, expected).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let error = read_back(&wide, 2, &column).unwrap_err();
        assert!(error.contains("expected 1 value(s)"), "{error}");
        let files: HashMap<_, _> = column.files("n", 6).unwrap().into_iter().collect();
        let read = |key: &str| Ok((files[&format!("n/{key}")].clone(), key.to_owned()));
        let error = column.read_values(5, read).unwrap_err().to_string();
        assert!(error.contains("its shape is [6], expected [5]"), "{error}");
    }
}

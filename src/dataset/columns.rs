//! Index columns: small arrays over `sample` with the annotation, box and position of each sample.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use zarrs::array::codec::{Crc32cCodec, ZstdCodec};
use zarrs::array::{ArrayBuilder, ArrayBytes, CodecOptions};
use zarrs::storage::store::MemoryStore;
use zarrs::storage::{ListableStorageTraits, ReadableStorageTraits};

use super::DatasetError;
use super::metadata::zarr_error;

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
    pub(super) fn files(
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
}

//! The `zarr.json` of arrays and columns: read within limits, and compared with the manifest before zarrs opens it.
//!
//! zarrs does not check metadata: it allocates a shape of 2^62, and a chunk that does not fit in memory overflows. What
//! comes out of here has the shapes, the type and the grid of the manifest, and codecs that are bounded.

use std::fmt::Debug;
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use zarrs::array::{Array, ArrayMetadata};
use zarrs::metadata::v3::{ArrayMetadataV3, MetadataV3};
use zarrs::storage::store::MemoryStore;

use super::chunk_key::Separator;
use super::decode::{ChunkDecoder, ChunkSpec, max_encoded_bytes};
use super::object::{damaged, read_object};
use super::{ArrayEntry, DatasetError, SplitEntry};
use crate::data_type::DataType;
use crate::storage::Store;

/// Largest `zarr.json` that is read, in bytes.
pub(crate) const MAX_METADATA_BYTES: u64 = 64 << 20;

/// Most values of a column per sample.
pub(crate) const MAX_COLUMN_WIDTH: u64 = 1024;

/// Most rows of a column that are one chunk.
const MAX_CHUNK_ROWS: u64 = 1 << 24;

/// Most values of a chunk of a column.
const MAX_CHUNK_VALUES: u64 = 1 << 28;

/// An array or column with checked metadata.
#[derive(Debug)]
pub(super) struct StoredArray {
    /// The parsed metadata. It reads nothing: its store is empty.
    pub array: Array<MemoryStore>,
    pub metadata: ArrayMetadataV3,
    separator: Separator,
    /// Codecs of one decoded unit: a chunk of a column, or a sample of an array.
    pub codecs: Vec<MetadataV3>,
    pub decoder: ChunkDecoder,
    /// Shape of one decoded unit.
    pub chunk: Vec<NonZeroU64>,
    /// Its size in bytes.
    pub chunk_bytes: usize,
}

impl StoredArray {
    /// The array of samples in `folder`, which is `entry` of the split.
    pub fn samples(
        store: &dyn Store,
        folder: &str,
        split: &SplitEntry,
        entry: &ArrayEntry,
    ) -> Result<Self, DatasetError> {
        let open = |metadata: ArrayMetadataV3| {
            let with = |n: u64| [&[n][..], &entry.sample_shape].concat();
            equal("shape", &metadata.shape, &with(split.samples))?;
            equal(
                "data_type",
                metadata.data_type.name(),
                entry.data_type.name(),
            )?;
            equal("chunk shape", &grid(&metadata)?, &with(split.shard_samples))?;
            let names = metadata.dimension_names.iter().flatten();
            let names: Vec<_> = names
                .map(|name| name.as_deref().unwrap_or_default())
                .collect();
            equal(
                "dimension_names",
                &names,
                &entry.dimensions.iter().map(String::as_str).collect(),
            )?;
            let codecs = inner_codecs(&metadata, &with(1))?;
            Self::open(metadata, codecs, &with(1), entry.data_type)
        };
        read(store, folder, open)
    }

    /// The column in `folder`, which has a row per sample.
    pub fn column(store: &dyn Store, folder: &str, samples: u64) -> Result<Self, DatasetError> {
        read(store, folder, |metadata| Self::of_column(metadata, samples))
    }

    /// As [`StoredArray::column`], with the type of the values.
    pub fn column_of_any_type(
        store: &dyn Store,
        folder: &str,
        samples: u64,
    ) -> Result<(Self, DataType), DatasetError> {
        read(store, folder, |metadata| {
            let data_type = column_type(&metadata)?;
            Ok((Self::of_column(metadata, samples)?, data_type))
        })
    }

    /// The column with this metadata, which has a row per sample.
    pub fn of_column(metadata: ArrayMetadataV3, samples: u64) -> Result<Self, String> {
        let width = metadata.shape.get(1).copied();
        if width.is_some_and(|n| !(1..=MAX_COLUMN_WIDTH).contains(&n)) {
            return Err(format!(
                "its shape is {:?}, expected 1 to {MAX_COLUMN_WIDTH} values per sample",
                metadata.shape
            ));
        }
        let with = |n: u64| std::iter::once(n).chain(width).collect::<Vec<_>>();
        equal("shape", &metadata.shape, &with(samples))?;
        let data_type = column_type(&metadata)?;
        let grid = grid(&metadata)?;
        let most = MAX_CHUNK_ROWS.min(MAX_CHUNK_VALUES / width.unwrap_or(1));
        let most = samples.clamp(1, most);
        let rows = grid.first().copied().filter(|n| (1..=most).contains(n));
        let rows =
            rows.ok_or_else(|| format!("its chunk shape is {grid:?}, expected 1 to {most} rows"))?;
        equal("chunk shape", &grid, &with(rows))?;
        let codecs = metadata.codecs.clone();
        Self::open(metadata, codecs, &with(rows), data_type)
    }

    fn open(
        metadata: ArrayMetadataV3,
        codecs: Vec<MetadataV3>,
        chunk: &[u64],
        data_type: DataType,
    ) -> Result<Self, String> {
        let separator = Separator::of(&metadata.chunk_key_encoding)
            .ok_or("its chunk_key_encoding is not `default` with the separator `.` or `/`")?;
        if !metadata.storage_transformers.is_empty() {
            return Err("it has storage_transformers, expected none".into());
        }
        let too_large = || format!("its chunk of {chunk:?} values is larger than memory");
        let bytes = data_type.size_bytes() as u64;
        let bytes = chunk.iter().try_fold(bytes, |n, k| n.checked_mul(*k));
        let chunk_bytes = bytes.and_then(|n| usize::try_from(n).ok());
        let shape = chunk.iter().map(|n| NonZeroU64::new(*n));
        let decoder = ChunkDecoder::new(&codecs)?;
        let v3 = ArrayMetadata::V3(metadata.clone());
        let array = Array::new_with_metadata(Arc::new(MemoryStore::new()), "/array", v3);
        Ok(Self {
            array: array.map_err(|e| e.to_string())?,
            metadata,
            separator,
            codecs,
            decoder,
            chunk: shape.collect::<Option<_>>().ok_or_else(too_large)?,
            chunk_bytes: chunk_bytes.ok_or_else(too_large)?,
        })
    }

    /// The values of a chunk.
    pub fn decode(&self, encoded: Vec<u8>) -> Result<Vec<u8>, String> {
        let chunk = ChunkSpec {
            shape: &self.chunk,
            data_type: self.array.data_type(),
            fill_value: self.array.fill_value(),
            bytes: self.chunk_bytes,
        };
        self.decoder.decode(encoded, chunk)
    }

    /// The key, below the array's folder, of its `n`th chunk along the first dimension.
    pub fn chunk_key(&self, n: u64) -> String {
        self.separator.chunk_key(n, self.chunk.len())
    }

    /// Number of chunks along the first dimension.
    pub fn chunks(&self) -> u64 {
        self.rows().div_ceil(self.chunk_rows())
    }

    /// Rows of a column that are one chunk.
    pub fn chunk_rows(&self) -> u64 {
        self.chunk.first().map_or(1, |n| n.get())
    }

    /// Values of a column per row.
    pub fn row_values(&self) -> u64 {
        self.chunk.get(1).map_or(1, |n| n.get())
    }

    fn rows(&self) -> u64 {
        self.metadata.shape.first().copied().unwrap_or(0)
    }

    /// The values of a chunk of the column in `folder`, row by row, without rows after the last sample.
    pub fn column_chunk(
        &self,
        store: &dyn Store,
        folder: &str,
        chunk: u64,
    ) -> Result<Vec<u8>, DatasetError> {
        let key = format!("{folder}/{}", self.chunk_key(chunk));
        let limit = max_encoded_bytes(self.chunk_bytes as u64);
        let encoded = read_object(store, &key, limit)?;
        let mut values = self.decode(encoded).map_err(damaged(store, &key))?;
        let rows = self.rows().saturating_sub(chunk * self.chunk_rows());
        let row_bytes = self.chunk_bytes as u64 / self.chunk_rows();
        values.truncate(usize::try_from(rows.saturating_mul(row_bytes)).unwrap_or(usize::MAX));
        Ok(values)
    }
}

/// Reads the metadata of the array or column in `folder`, and opens it with `open`.
fn read<A>(
    store: &dyn Store,
    folder: &str,
    open: impl FnOnce(ArrayMetadataV3) -> Result<A, String>,
) -> Result<A, DatasetError> {
    let key = format!("{folder}/zarr.json");
    let bytes = read_object(store, &key, MAX_METADATA_BYTES)?;
    let metadata = serde_json::from_slice(&bytes).map_err(|e| e.to_string());
    metadata.and_then(open).map_err(damaged(store, &key))
}

fn equal<T: PartialEq + Debug + ?Sized>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!(
            "its {what} is {found:?}, expected {expected:?} from the manifest"
        ))
    }
}

/// Type of the values of a column.
fn column_type(metadata: &ArrayMetadataV3) -> Result<DataType, String> {
    let name = metadata.data_type.name();
    let data_type = DataType::ALL.into_iter().find(|t| t.name() == name);
    data_type.ok_or_else(|| format!("its data_type is {name:?}, expected one of numbers"))
}

/// Shape of the chunks of the array's regular grid.
fn grid(metadata: &ArrayMetadataV3) -> Result<Vec<u64>, String> {
    let grid = &metadata.chunk_grid;
    let regular = grid.configuration().filter(|_| grid.name() == "regular");
    let shape = regular.and_then(|c| c.get("chunk_shape"));
    shape
        .and_then(|shape| Vec::deserialize(shape).ok())
        .ok_or_else(|| "its chunk_grid is not `regular`, with whole numbers".to_owned())
}

/// The codecs of samples: inner chunks of the shape `sample` in shards with the index that pointshard writes.
fn inner_codecs(metadata: &ArrayMetadataV3, sample: &Vec<u64>) -> Result<Vec<MetadataV3>, String> {
    let [sharding] = metadata.codecs.as_slice() else {
        return Err("its codecs are not just `sharding_indexed`".to_owned());
    };
    let configuration = sharding
        .configuration()
        .filter(|_| sharding.name() == "sharding_indexed");
    let option = |name: &str| configuration.and_then(|c| c.get(name));
    let shape: Option<Vec<u64>> = option("chunk_shape").and_then(|s| Vec::deserialize(s).ok());
    let shape = shape.ok_or("it is not sharded, with one inner chunk per sample")?;
    equal("inner chunk", &shape, sample)?;
    if option("index_location").is_some_and(|at| at != "end") {
        return Err("its shards' index_location is not `end`".to_owned());
    }
    let codecs = |name: &str| -> Result<Vec<MetadataV3>, String> {
        let codecs = option(name).and_then(|list| Vec::deserialize(list).ok());
        codecs.ok_or_else(|| format!("its sharding_indexed has no `{name}`"))
    };
    let index = comparable(&codecs("index_codecs")?);
    let expected = json!([["bytes", {"endian": "little"}], ["crc32c", {}]]);
    equal("index_codecs", &index, &expected)?;
    codecs("codecs")
}

/// The codecs as comparable JSON: a codec without options may be written as just its name.
pub(super) fn comparable(codecs: &[MetadataV3]) -> Value {
    let options = |c: &MetadataV3| json!(c.configuration()).as_object().cloned();
    let comparable = |c: &MetadataV3| json!([c.name(), options(c).unwrap_or_default()]);
    codecs.iter().map(comparable).collect()
}

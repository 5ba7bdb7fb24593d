//! Sharded arrays: finds inner chunks in shards.
//!
//! A shard's index is read once, decoded by its own codecs (which verify its CRC-32C), and cached. An inner chunk is then
//! one byte range of the file. The partial decoders of zarrs are not used, because they do not verify the checksum of
//! the index.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Deserialize;
use zarrs::array::{CodecChain, FillValue, data_type};
use zarrs::metadata::v3::MetadataV3;

use super::codecs::Codecs;
use crate::storage::Store;
use crate::volume::VolumeError;

/// Largest shard index that is accepted, in bytes.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Memory for the indexes of one array, in bytes.
const CACHE_BYTES: u64 = 128 << 20;

/// Approximate memory of a cache entry without its index.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

/// The configuration of the codec `sharding_indexed`.
#[derive(Deserialize)]
pub(super) struct ShardingMetadata {
    pub chunk_shape: Vec<NonZeroU64>,
    pub codecs: Vec<MetadataV3>,
    index_codecs: Vec<MetadataV3>,
    #[serde(default)]
    index_location: IndexLocation,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IndexLocation {
    Start,
    #[default]
    End,
}

/// The shard indexes of an array.
#[derive(Debug)]
pub(super) struct ShardIndexes {
    /// Number of inner chunks in a shard along each dimension.
    per_shard: Vec<u64>,
    codecs: Codecs,
    location: IndexLocation,
    index_bytes: u64,
    cache: Cache<String, Index, MemoryBytes>,
}

/// A shard's index: offset and size of each inner chunk. `None` if the shard does not exist.
type Index = Option<Arc<[[u64; 2]]>>;

#[derive(Clone, Debug)]
struct MemoryBytes;

impl Weighter<String, Index> for MemoryBytes {
    fn weight(&self, key: &String, index: &Index) -> u64 {
        let entries = index.as_ref().map_or(0, |entries| entries.len());
        ENTRY_OVERHEAD_BYTES + key.len() as u64 + 16 * entries as u64
    }
}

impl ShardIndexes {
    /// The indexes of shards with the shape `shard_shape`. The error is a description for the user.
    pub(super) fn new(
        metadata: &ShardingMetadata,
        shard_shape: &[NonZeroU64],
    ) -> Result<Self, String> {
        let inner = &metadata.chunk_shape;
        let whole = |(s, i): (&NonZeroU64, &NonZeroU64)| s.get().is_multiple_of(i.get());
        if inner.len() != shard_shape.len() || !shard_shape.iter().zip(inner).all(whole) {
            return Err(format!(
                "inner chunks of {inner:?} do not fill a shard of {shard_shape:?} evenly"
            ));
        }
        let per_shard: Vec<u64> = shard_shape
            .iter()
            .zip(inner)
            .map(|(s, i)| s.get() / i.get())
            .collect();
        let entries = per_shard.iter().try_fold(16u64, |n, d| n.checked_mul(*d));
        if entries.is_none_or(|n| n > MAX_INDEX_BYTES) {
            return Err(format!(
                "a shard has {per_shard:?} inner chunks, but an index of at most {MAX_INDEX_BYTES} bytes is supported"
            ));
        }
        let chain = CodecChain::from_metadata(&metadata.index_codecs)
            .map_err(|e| format!("index_codecs: {e}"))?;
        let mut shape: Vec<NonZeroU64> = per_shard
            .iter()
            .filter_map(|n| NonZeroU64::new(*n))
            .collect();
        shape.extend(NonZeroU64::new(2));
        let codecs = Codecs::new(
            &chain,
            shape,
            data_type::uint64(),
            FillValue::from(u64::MAX),
        )
        .map_err(|e| format!("index_codecs: {e}"))?;
        let index_bytes = codecs.encoded_bytes().ok_or(
            "index_codecs: found a compressor, expected codecs with an output of fixed size",
        )?;
        Ok(Self {
            per_shard,
            codecs,
            location: metadata.index_location,
            index_bytes,
            // A small estimate of items gives a cache with a single part, which can hold the largest index.
            cache: Cache::with_weighter(31, CACHE_BYTES, MemoryBytes),
        })
    }

    /// Indices of the shard that contains an inner chunk, and the chunk's number inside it.
    pub(super) fn locate(&self, inner: &[u64]) -> (Vec<u64>, usize) {
        let shard = inner
            .iter()
            .zip(&self.per_shard)
            .map(|(i, n)| i / n)
            .collect();
        let within = inner.iter().zip(&self.per_shard);
        (shard, within.fold(0, |at, (i, n)| at * n + i % n) as usize)
    }

    /// The byte range of the inner chunk `number` in the shard `key`. `None` if it is missing.
    pub(super) fn range(
        &self,
        store: &dyn Store,
        key: &str,
        number: usize,
    ) -> Result<Option<Range<u64>>, VolumeError> {
        let Some(index) = self.index(store, key)? else {
            return Ok(None);
        };
        let damaged = |problem| VolumeError::Chunk {
            object: store.describe(key),
            problem,
        };
        match index.get(number) {
            None | Some([u64::MAX, u64::MAX]) => Ok(None),
            Some([offset, size]) => match offset.checked_add(*size) {
                Some(end) => Ok(Some(*offset..end)),
                None => Err(damaged(format!(
                    "the shard index has {size} bytes at {offset} for inner chunk {number}, which is out of range"
                ))),
            },
        }
    }

    /// The index of the shard `key`. It is read once, even if many threads need it at the same time.
    fn index(&self, store: &dyn Store, key: &str) -> Result<Index, VolumeError> {
        self.cache
            .get_or_insert_with(key, || self.read_index(store, key))
    }

    fn read_index(&self, store: &dyn Store, key: &str) -> Result<Index, VolumeError> {
        let damaged = |problem| VolumeError::Chunk {
            object: store.describe(key),
            problem,
        };
        let range = match self.location {
            IndexLocation::Start => 0..self.index_bytes,
            IndexLocation::End => {
                let Some(size) = store.size(key)? else {
                    return Ok(None);
                };
                let start = size.checked_sub(self.index_bytes).ok_or_else(|| {
                    damaged(format!(
                        "found a shard of {size} bytes, expected at least {} for its index",
                        self.index_bytes
                    ))
                })?;
                start..size
            }
        };
        let mut bytes = Vec::new();
        match store.read_range(key, range, &mut bytes) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) if e.is_too_short() => {
                return Err(damaged(format!(
                    "the shard is truncated inside its index: {e}"
                )));
            }
            Err(e) => return Err(e.into()),
        }
        let entries = self.codecs.decode(&bytes);
        let entries = entries.map_err(|e| damaged(format!("the shard index is damaged: {e}")))?;
        let (words, _) = entries.as_chunks::<8>();
        let words = words.iter().map(|w| u64::from_le_bytes(*w));
        let words: Vec<u64> = words.collect();
        let (pairs, _) = words.as_chunks::<2>();
        Ok(Some(pairs.into()))
    }
}

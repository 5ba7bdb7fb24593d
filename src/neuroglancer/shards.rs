//! Reads chunks from the shard files of a source.
//!
//! Finding a chunk takes up to three reads: a page of the shard index, a minishard index, the chunk. The indexes are
//! cached, and each is read once even if many threads need it at the same time; no lock is held during a read. A shard
//! file `NAME.shard` starts with the shard index. In an older form of the format, the shard index is in `NAME.index` and
//! everything else in `NAME.data`.

use std::ops::Range;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::ShardError;
use super::minishard::Minishard;
use super::sharding::{ENTRY_BYTES, ShardPosition, ShardingSpec};
use crate::storage::{Compression, Extent, Store, read_run, runs};

/// Number of entries of the shard index that are read at a time. Most sources have fewer.
const PAGE_ENTRIES: u64 = 4096;

/// Largest minishard index, in bytes: 1.4 million chunks, a thousand times what writers aim at.
const MAX_MINISHARD_BYTES: u64 = 32 << 20;

/// Memory for the indexes of one source, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// Approximate memory of a cache entry without its contents.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

/// The chunks of a sharded source.
#[derive(Debug)]
pub(crate) struct Shards {
    store: Arc<dyn Store>,
    spec: ShardingSpec,
    cache: Cache<IndexKey, CachedIndex, MemoryBytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum IndexKey {
    Page { shard: u64, page: u64 },
    Minishard(ShardPosition),
}

/// A cached index.
#[derive(Clone, Debug)]
enum CachedIndex {
    /// The shard does not exist.
    NoShard,
    /// It cannot be read, after all retries. Every reader gets the error without another request.
    Failed(Arc<ShardError>),
    Page(Arc<Page>),
    Minishard(Arc<Minishard>),
}

/// Consecutive entries of the shard index.
#[derive(Debug)]
struct Page {
    layout: ShardLayout,
    entries: Vec<u8>,
}

/// The files of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShardLayout {
    /// `NAME.shard`.
    One,
    /// `NAME.index` and `NAME.data`.
    Pair,
}

#[derive(Clone, Debug)]
struct MemoryBytes;

impl Weighter<IndexKey, CachedIndex> for MemoryBytes {
    fn weight(&self, _: &IndexKey, index: &CachedIndex) -> u64 {
        let contents = match index {
            CachedIndex::NoShard | CachedIndex::Failed(_) => 0,
            CachedIndex::Page(page) => page.entries.capacity(),
            CachedIndex::Minishard(minishard) => minishard.memory_bytes(),
        };
        ENTRY_OVERHEAD_BYTES + contents as u64
    }
}

impl Shards {
    /// The shards in `store`.
    pub(crate) fn new(store: Arc<dyn Store>, spec: ShardingSpec) -> Self {
        // A small estimate of items gives a cache with a single part, which can hold an index as large as its whole
        // capacity.
        let cache = Cache::with_weighter(31, CACHE_BYTES, MemoryBytes);
        Self { store, spec, cache }
    }

    /// Compression of the chunks.
    pub(crate) fn data_encoding(&self) -> Compression {
        self.spec.data_encoding
    }

    /// The folder, for messages.
    pub(crate) fn describe_all(&self) -> String {
        self.store.describe("")
    }

    /// The path or URL of a chunk, for messages.
    pub(crate) fn describe(&self, id: u64) -> String {
        let shard = self.key(self.spec.locate(id).shard, ".shard");
        format!("{} (chunk {id})", self.store.describe(&shard))
    }

    /// Whether the shards are on a server.
    pub(crate) fn round_trips(&self) -> usize {
        self.store.round_trips()
    }

    /// Replaces the contents of `into` with the stored bytes of chunk `id`. Returns `false`, with `into` empty, if it is
    /// missing.
    pub(crate) fn read(
        &self,
        id: u64,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool, ShardError> {
        into.clear();
        let Some(extent) = self.find_checked(id, limit_bytes)? else {
            return Ok(false);
        };
        self.read_extent(&extent, || self.describe_stored(id, &extent), into)?;
        Ok(true)
    }

    /// Prefetches chunk `id`. Reads its index; errors are left to the read of the chunk.
    pub(crate) fn prefetch(&self, id: u64) {
        if let Ok(Some(extent)) = self.find(id) {
            self.store.prefetch(&extent.key, Some(extent.bytes));
        }
    }

    /// A key that all chunks in the same minishard share.
    pub(crate) fn group_key(&self, id: u64) -> [u64; 2] {
        let place = self.spec.locate(id);
        [place.shard, place.minishard]
    }

    /// Splits chunks into runs that [`Shards::read_run`] reads with one request each. A missing chunk is a run of its own.
    pub(crate) fn runs<T>(&self, chunks: impl Iterator<Item = (T, u64)>) -> Vec<Vec<T>> {
        let find = |(item, id)| (item, self.find(id).ok().flatten());
        runs(chunks.map(find).collect())
    }

    /// Reads the chunks of a run. `run` has the id and size limit of each.
    pub(crate) fn read_run(
        &self,
        run: &[(u64, u64)],
        into: &mut [&mut Vec<u8>],
    ) -> Result<bool, ShardError> {
        let find = |(id, limit_bytes): &(u64, u64)| self.find_checked(*id, *limit_bytes);
        let extents = run
            .iter()
            .map(find)
            .collect::<Result<Option<Vec<_>>, _>>()?;
        let (Some(extents), Some((first, _))) = (extents, run.first()) else {
            return Ok(false);
        };
        read_run(self.store.as_ref(), &extents, into).map_err(|source| ShardError::Read {
            what: self.describe(*first),
            hint: "",
            source,
        })
    }

    /// Finds chunk `id` and checks its size.
    fn find_checked(&self, id: u64, limit_bytes: u64) -> Result<Option<Extent>, ShardError> {
        let Some(extent) = self.find(id)? else {
            return Ok(None);
        };
        let found_bytes = extent.bytes.end - extent.bytes.start;
        if found_bytes > limit_bytes {
            return Err(ShardError::TooLarge {
                what: self.describe_stored(id, &extent),
                found_bytes,
                limit_bytes,
            });
        }
        Ok(Some(extent))
    }

    /// The name of a chunk and its file, for messages.
    fn describe_stored(&self, id: u64, extent: &Extent) -> String {
        format!("chunk {id} in {}", self.store.describe(&extent.key))
    }

    /// Finds chunk `id`.
    fn find(&self, id: u64) -> Result<Option<Extent>, ShardError> {
        let place = self.spec.locate(id);
        let Some(page) = self.page(place)? else {
            return Ok(None);
        };
        let Some(minishard) = self.minishard(place, &page)? else {
            return Ok(None);
        };
        let Some(bytes) = minishard.find(id) else {
            return Ok(None);
        };
        let what = |file: String| format!("the index of minishard {} of {file}", place.minishard);
        self.extent(place, page.layout, bytes, what).map(Some)
    }

    /// The page of the shard index for the minishard of `place`. `None` if the shard does not exist.
    fn page(&self, place: ShardPosition) -> Result<Option<Arc<Page>>, ShardError> {
        let page = place.minishard / PAGE_ENTRIES;
        let key = IndexKey::Page {
            shard: place.shard,
            page,
        };
        let index = self.index(&key, || {
            let first = page * PAGE_ENTRIES;
            let last = (first + PAGE_ENTRIES).min(self.spec.minishards());
            for (layout, suffix) in [(ShardLayout::One, ".shard"), (ShardLayout::Pair, ".index")] {
                let extent = Extent {
                    key: self.key(place.shard, suffix),
                    bytes: first * ENTRY_BYTES..last * ENTRY_BYTES,
                };
                let what = || format!("the shard index of {}", self.store.describe(&extent.key));
                let mut entries = Vec::new();
                if self.read_range(&extent, what, &mut entries)? {
                    return Ok(CachedIndex::Page(Arc::new(Page { layout, entries })));
                }
            }
            Ok(CachedIndex::NoShard)
        })?;
        match index {
            CachedIndex::Page(page) => Ok(Some(page)),
            _ => Ok(None),
        }
    }

    /// The index with this key. Reads it with `read` if it was not read before.
    fn index(
        &self,
        key: &IndexKey,
        read: impl FnOnce() -> Result<CachedIndex, ShardError>,
    ) -> Result<CachedIndex, ShardError> {
        let kept = || Ok(read().unwrap_or_else(|e| CachedIndex::Failed(Arc::new(e))));
        match self.cache.get_or_insert_with(key, kept)? {
            CachedIndex::Failed(error) => Err(ShardError::Known(error)),
            index => Ok(index),
        }
    }

    /// The index of the minishard of `place`. `None` if the minishard is empty.
    fn minishard(
        &self,
        place: ShardPosition,
        page: &Page,
    ) -> Result<Option<Arc<Minishard>>, ShardError> {
        let (entries, _) = page.entries.as_chunks::<8>();
        let entry = 2 * (place.minishard % PAGE_ENTRIES) as usize;
        let word = |i: usize| entries.get(i).map_or(0, |word| u64::from_le_bytes(*word));
        let (start, end) = (word(entry), word(entry + 1));
        if start == end {
            return Ok(None);
        }
        let what = |file: String| format!("the index of minishard {} of {file}", place.minishard);
        let index = self.index(&IndexKey::Minishard(place), || {
            let extent = self.extent(place, page.layout, start..end, what)?;
            let what = || what(self.store.describe(&extent.key));
            let damaged = |problem| ShardError::Index {
                what: what(),
                problem,
                hint: self.hint(),
            };
            if end < start || end - start > MAX_MINISHARD_BYTES {
                return Err(damaged(format!(
                    "found it at {start} to {end} in the shard index, expected at most {MAX_MINISHARD_BYTES} bytes"
                )));
            }
            let (mut stored, mut index) = (Vec::new(), Vec::new());
            self.read_extent(&extent, what, &mut stored)?;
            let encoding = self.spec.index_encoding;
            encoding
                .undo(&mut stored, MAX_MINISHARD_BYTES as usize, &mut index)
                .map_err(|e| damaged(e.into()))?;
            let minishard = Minishard::decode(&index).map_err(damaged)?;
            Ok(CachedIndex::Minishard(Arc::new(minishard)))
        })?;
        match index {
            CachedIndex::Minishard(minishard) => Ok(Some(minishard)),
            _ => Ok(None),
        }
    }

    /// The file that contains `bytes`, and their absolute range. `bytes` is relative to the end of the shard index.
    fn extent(
        &self,
        place: ShardPosition,
        layout: ShardLayout,
        bytes: Range<u64>,
        what: impl Fn(String) -> String,
    ) -> Result<Extent, ShardError> {
        let (suffix, base) = match layout {
            ShardLayout::One => (".shard", self.spec.index_bytes()),
            ShardLayout::Pair => (".data", 0),
        };
        let key = self.key(place.shard, suffix);
        match (bytes.start.checked_add(base), bytes.end.checked_add(base)) {
            (Some(start), Some(end)) => Ok(Extent {
                key,
                bytes: start..end,
            }),
            _ => Err(ShardError::Index {
                what: what(self.store.describe(&key)),
                problem: format!("found offsets {bytes:?}, expected offsets of 64 bits"),
                hint: self.hint(),
            }),
        }
    }

    /// Reads a range that an index refers to, so it must exist.
    fn read_extent(
        &self,
        extent: &Extent,
        what: impl Fn() -> String,
        into: &mut Vec<u8>,
    ) -> Result<(), ShardError> {
        if self.read_range(extent, &what, into)? {
            return Ok(());
        }
        Err(ShardError::Index {
            what: what(),
            problem: format!(
                "{} does not exist, but the shard index refers to it",
                self.store.describe(&extent.key)
            ),
            hint: "",
        })
    }

    fn read_range(
        &self,
        extent: &Extent,
        what: impl Fn() -> String,
        into: &mut Vec<u8>,
    ) -> Result<bool, ShardError> {
        let read = self
            .store
            .read_range(&extent.key, extent.bytes.clone(), into);
        read.map_err(|source| ShardError::Read {
            what: what(),
            hint: if source.is_too_short() {
                self.hint()
            } else {
                ""
            },
            source,
        })
    }

    /// A likely cause of wrong offsets.
    pub(crate) fn hint(&self) -> &'static str {
        match self.spec.index_encoding {
            Compression::None => "",
            _ => {
                "; its `minishard_index_encoding` is gzip, and the writer of zetta_utils computes wrong offsets in that \
                 case: if zetta_utils wrote it, write it again with `raw`"
            }
        }
    }

    fn key(&self, shard: u64, suffix: &str) -> String {
        self.spec.file_stem(shard) + suffix
    }
}

#[cfg(test)]
mod tests;

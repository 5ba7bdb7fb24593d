//! The shard files of a source: the stored bytes of a chunk by its id.
//!
//! A chunk is found in three reads: a page of the shard index, a minishard index, the chunk. The first two
//! are cached and each is fetched once however many threads ask for it at the same time; no lock is held
//! while anything is read or decoded. A shard file `NAME.shard` begins with the shard index; an older
//! form of the format has it in `NAME.index` and all that follows in `NAME.data`.

use std::ops::Range;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::ShardError;
use super::minishard::Minishard;
use super::sharding::{ENTRY_BYTES, ShardPosition, ShardingSpec};
use crate::storage::{Compression, Extent, Store, read_run, runs};

/// Entries of the shard index that are read at a time: all of them, in most sources.
const PAGE_ENTRIES: u64 = 4096;

/// Largest minishard index that is read, in bytes: 1.4 million chunks, a thousand times what writers aim at.
const MAX_MINISHARD_BYTES: u64 = 32 << 20;

/// Memory for indices of one source, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// What an entry of the cache takes beside its contents, about.
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
    /// There is no such shard.
    NoShard,
    /// It could not be read, after all tries that were worth it: whoever asks is told, and nobody tries again.
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

/// Which files make up a shard.
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
    /// The shards below `store`.
    pub(crate) fn new(store: Arc<dyn Store>, spec: ShardingSpec) -> Self {
        // Few items are announced, so that the cache has one part, and even an index that is as large as the
        // whole budget is kept.
        let cache = Cache::with_weighter(31, CACHE_BYTES, MemoryBytes);
        Self { store, spec, cache }
    }

    /// How the bytes of a chunk are compressed.
    pub(crate) fn data_encoding(&self) -> Compression {
        self.spec.data_encoding
    }

    /// The folder, for messages.
    pub(crate) fn describe_all(&self) -> String {
        self.store.describe("")
    }

    /// The place of a chunk, for messages.
    pub(crate) fn describe(&self, id: u64) -> String {
        let shard = self.key(self.spec.locate(id).shard, ".shard");
        format!("{} (chunk {id})", self.store.describe(&shard))
    }

    /// Whether reading takes long compared with decoding.
    pub(crate) fn is_remote(&self) -> bool {
        self.store.is_remote()
    }

    /// Replaces the contents of `into` by the stored bytes of chunk `id`; `false`, with `into` empty,
    /// where it is not stored.
    pub(crate) fn read(
        &self,
        id: u64,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool, ShardError> {
        into.clear();
        let Some(extent) = self.find_within(id, limit_bytes)? else {
            return Ok(false);
        };
        self.read_extent(&extent, || self.what(id, &extent), into)?;
        Ok(true)
    }

    /// Says that the chunk `id` will be read soon. Reads its index; what is wrong with that is told when it is read.
    pub(crate) fn will_read(&self, id: u64) {
        if let Ok(Some(extent)) = self.find(id) {
            self.store.will_read(&extent.key, Some(extent.bytes));
        }
    }

    /// A number that chunks share whose place one minishard index says.
    pub(crate) fn group_key(&self, id: u64) -> [u64; 2] {
        let place = self.spec.locate(id);
        [place.shard, place.minishard]
    }

    /// Splits chunks into runs that [`Shards::read_run`] reads with one request each. A chunk that is not
    /// stored, or cannot be found, is a run of its own.
    pub(crate) fn runs<T>(&self, chunks: impl Iterator<Item = (T, u64)>) -> Vec<Vec<T>> {
        let find = |(item, id)| (item, self.find(id).ok().flatten());
        runs(chunks.map(find).collect())
    }

    /// Reads the chunks of a run, each of at most `limit_bytes`, which must be stored.
    pub(crate) fn read_run(
        &self,
        run: &[(u64, u64)],
        into: &mut [&mut Vec<u8>],
    ) -> Result<bool, ShardError> {
        let find = |(id, limit_bytes): &(u64, u64)| self.find_within(*id, *limit_bytes);
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

    /// Where chunk `id` is stored, which may have `limit_bytes`.
    fn find_within(&self, id: u64, limit_bytes: u64) -> Result<Option<Extent>, ShardError> {
        let Some(extent) = self.find(id)? else {
            return Ok(None);
        };
        let found_bytes = extent.bytes.end - extent.bytes.start;
        match found_bytes > limit_bytes {
            true => Err(ShardError::TooLarge {
                what: self.what(id, &extent),
                found_bytes,
                limit_bytes,
            }),
            false => Ok(Some(extent)),
        }
    }

    fn what(&self, id: u64, extent: &Extent) -> String {
        format!("chunk {id} in {}", self.store.describe(&extent.key))
    }

    /// Where chunk `id` is stored.
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

    /// The part of the shard index that has the place's minishard; `None` where there is no such shard.
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

    /// The index of that key, read by `read` unless somebody did, or tried to.
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

    /// The index of the place's minishard; `None` where it is empty.
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
                    "the shard index has it at {start} to {end}, expected at most {MAX_MINISHARD_BYTES} bytes"
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

    /// The file and the bytes of it that are meant by `bytes`, which count from the end of the shard index.
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
                problem: format!("it has something at {bytes:?}, expected offsets of 64 bits"),
                hint: self.hint(),
            }),
        }
    }

    /// Reads what an index points to, which must be there.
    fn read_extent(
        &self,
        extent: &Extent,
        what: impl Fn() -> String,
        into: &mut Vec<u8>,
    ) -> Result<(), ShardError> {
        match self.read_range(extent, &what, into)? {
            true => Ok(()),
            false => Err(ShardError::Index {
                what: what(),
                problem: format!(
                    "{} does not exist, expected the file that the shard index speaks of",
                    self.store.describe(&extent.key)
                ),
                hint: "",
            }),
        }
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

    /// What is often behind wrong offsets.
    pub(crate) fn hint(&self) -> &'static str {
        match self.spec.index_encoding {
            Compression::None => "",
            _ => {
                "; its `minishard_index_encoding` is gzip, and zetta_utils' writer makes wrong offsets with that: \
                 if it comes from there, write it again with `raw`"
            }
        }
    }

    fn key(&self, shard: u64, suffix: &str) -> String {
        self.spec.stem(shard) + suffix
    }
}

#[cfg(test)]
mod tests;

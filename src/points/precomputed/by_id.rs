//! Annotations by their ids, from the index by id of a layer: their positions, and the objects that they are related to.
//!
//! The info names the index, `by_id`. It has an entry for each annotation, in a file or in a shard. Entries are read many at a
//! time: a file each, or those near each other in a shard with one request.

use serde::Deserialize;
use serde_json::Value;

use super::cells::ListError;
use super::entries::EntryStore;
use super::info::{InfoFile, check_key, parse_sharding};
use super::layer::PrecomputedLayer;
use super::record::AnnotationEntry;
use super::related;
use crate::geometry::PointNm;
use crate::neuroglancer::ShardingSpec;
use crate::points::annotation::Anchor;
use crate::points::error::PointsError;
use crate::points::layer::RelatedObjects;
use crate::storage::{DocumentError, Keeper, ParallelTasks, run_with_threads};

/// Largest entry, in bytes. One with a thousand related objects takes 8 kB.
const MAX_ENTRY_BYTES: u64 = 1 << 20;

/// Memory of an allocation, beside its contents.
const ALLOCATION_BYTES: usize = 48;

#[derive(Deserialize)]
struct RawIndex {
    key: String,
    sharding: Option<Value>,
}

/// Where the index is.
struct IndexById {
    /// Its folder, relative to the info's.
    key: String,
    sharding: Option<ShardingSpec>,
}

impl IndexById {
    /// Parses the member `by_id` of the info `object`. Called only if a job reads annotations by id.
    fn parse(value: &Value, object: &str) -> Result<Self, PointsError> {
        let info_file = InfoFile(object);
        if value.is_null() {
            let expected = "the index of annotations by id, which `points.start`, `points.end` and `id.relationship` of `object_at` are read from";
            return Err(info_file.wrong("by_id", "missing", expected));
        }
        let raw = RawIndex::deserialize(value).map_err(|e| {
            info_file.wrong(
                "by_id",
                format!("not an index: {e}"),
                "an object with `key`",
            )
        })?;
        check_key(&raw.key, "by_id.key".to_owned(), &info_file)?;
        Ok(Self {
            sharding: parse_sharding(raw.sharding, "by_id.sharding".to_owned(), &info_file)?,
            key: raw.key,
        })
    }
}

impl PrecomputedLayer {
    /// Fails if the layer has no index by id.
    pub(in crate::points) fn require_index_by_id(&self) -> Result<(), PointsError> {
        IndexById::parse(&self.info.by_id, &self.object).map(drop)
    }

    /// The first and last end of each of these annotations; `None` if the index does not have it, or if a coordinate is not
    /// finite.
    pub(in crate::points) fn ends_of(
        &self,
        ids: &[u64],
    ) -> Result<Vec<Option<[PointNm; 2]>>, PointsError> {
        let ends = |entry: AnnotationEntry<'_>| {
            let position = self.layout.position(entry.geometry, Anchor::default());
            position.map(|position| position.ends)
        };
        let read = self.read_by_id(ids, |_| 0, ends)?;
        Ok(read.into_iter().map(Option::flatten).collect())
    }

    /// The objects of each of these annotations, as [`PointLayer::objects_of`](crate::points::PointLayer::objects_of) has them;
    /// `None` if the index does not have it.
    pub(in crate::points) fn objects_of(
        &self,
        ids: &[u64],
        wanted: &[Vec<usize>],
    ) -> Result<Vec<Option<RelatedObjects>>, PointsError> {
        let objects = |entry: AnnotationEntry<'_>| {
            let list = |positions: &Vec<usize>| {
                let lists = positions.iter().filter_map(|i| entry.related.get(*i));
                let ids = lists.copied().flatten();
                ids.map(|id| u64::from_le_bytes(*id)).collect()
            };
            wanted.iter().map(list).collect::<RelatedObjects>()
        };
        let bytes = |objects: &RelatedObjects| {
            let lists = objects.iter();
            // Twice: here, and in the plan.
            let lists = lists.map(|ids| 2 * size_of_val(&ids[..]) + ALLOCATION_BYTES);
            lists.sum::<usize>() + ALLOCATION_BYTES
        };
        self.read_by_id(ids, bytes, objects)
    }

    /// Calls `decode` with the entry of each of these annotations in the index; `None` for those that the index does not have.
    /// Results are kept: `kept_bytes` is the memory of one beside its own size.
    fn read_by_id<T: Send>(
        &self,
        ids: &[u64],
        kept_bytes: impl Fn(&T) -> usize + Sync,
        decode: impl Fn(AnnotationEntry<'_>) -> T + Sync,
    ) -> Result<Vec<Option<T>>, PointsError> {
        let index = IndexById::parse(&self.info.by_id, &self.object)?;
        let relationships = related::parse(&self.info.relationships, &self.object)?.len();
        let store = self.storage.open(&self.folder().join(&index.key));
        let entries = EntryStore::new(store, index.sharding, "annotation");
        let budget = self.storage.budget();
        let read_group = |group: &Vec<usize>| {
            let mut found = Vec::with_capacity(group.len());
            let mut keeper = Keeper::new(budget);
            let read = entries.read_group(ids, group, MAX_ENTRY_BYTES, budget, &mut |i, entry| {
                let object = || entries.describe(ids[i]);
                let entry =
                    entry.map(|bytes| self.layout.read_entry(bytes, relationships, &object));
                let entry = entry.transpose().map_err(|e| e.with_hint(entries.hint()))?;
                let decoded = entry.map(&decode);
                let bytes = decoded.as_ref().map_or(0, &kept_bytes);
                // Twice: by group, and in the order of the ids.
                if keeper.keep((bytes + 2 * size_of::<(usize, Option<T>)>()) as u64) {
                    found.push((i, decoded));
                }
                Ok(())
            });
            read.map_err(|e| match e {
                ListError::Other(e) => e,
                ListError::TooLarge(bytes) => too_large(
                    entries.describe(ids[group.first().copied().unwrap_or(0)]),
                    format!("it, or an annotation stored close to it, has at least {bytes} bytes, more than {MAX_ENTRY_BYTES}"),
                    "the index of annotations by id may be damaged",
                ),
            })?;
            keeper.finish().map_err(|over| {
                too_large(
                    self.location(),
                    format!("its annotations that are read by id take more than {over}"),
                    "allow more with --memory, or split the boxes over several jobs",
                )
            })?;
            self.storage.stage().add(group.len() as u64);
            Ok(found)
        };
        let groups = entries.groups(ids);
        let threads = if entries.has_latency() {
            self.storage.network().requests
        } else {
            rayon::current_num_threads()
        };
        let tasks = ParallelTasks::<PointsError>::new(&self.storage);
        let read = run_with_threads(threads, &groups, |group| tasks.run(|| read_group(group)));
        let mut all: Vec<Option<T>> = ids.iter().map(|_| None).collect();
        for (i, entry) in tasks.finish(read)?.into_iter().flatten() {
            all[i] = entry;
        }
        Ok(all)
    }
}

fn too_large(object: String, problem: String, advice: &'static str) -> PointsError {
    PointsError::Document(DocumentError::TooLarge {
        object,
        expected: "an annotation",
        problem,
        advice,
    })
}

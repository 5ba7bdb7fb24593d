//! The annotations that are related to an object, from the related-object index of a layer.
//!
//! The info lists relationships. Each has one list of annotations per object, in the same format as in the spatial index,
//! in a file or in a shard entry with the object's id. An object without a list has no annotations.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::cells::{free_if_large, read_list};
use super::entries::EntryStore;
use super::info::{InfoFile, check_key, parse_sharding};
use super::record::RecordLayout;
use crate::neuroglancer::ShardingSpec;
use crate::points::error::PointsError;
use crate::storage::{DocumentError, Keeper, Location, OverBudget, Storage};

/// A relationship of a layer.
#[derive(Debug)]
pub(super) struct Relationship {
    /// Its name.
    pub(super) id: String,
    /// Its folder, relative to the info's.
    key: String,
    sharding: Option<ShardingSpec>,
}

#[derive(Deserialize)]
struct RawRelationship {
    id: String,
    key: String,
    sharding: Option<Value>,
}

/// Parses the member `relationships` of the info `object`. Called only if a job uses relationships.
pub(super) fn parse(value: &Value, object: &str) -> Result<Vec<Relationship>, PointsError> {
    let info_file = InfoFile(object);
    let rows = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(rows) => rows,
        _ => return Err(info_file.wrong("relationships", "not a list", "a list of relationships")),
    };
    let relationship = |(i, row): (usize, &Value)| {
        let field = |member: &str| format!("relationships[{i}]{member}");
        let raw = RawRelationship::deserialize(row).map_err(|e| {
            let expected = "an object with `id` and `key`";
            info_file.wrong(field(""), format!("not a relationship: {e}"), expected)
        })?;
        check_key(&raw.key, field(".key"), &info_file)?;
        Ok(Relationship {
            id: raw.id,
            key: raw.key,
            sharding: parse_sharding(raw.sharding, field(".sharding"), &info_file)?,
        })
    };
    rows.iter().enumerate().map(relationship).collect()
}

/// Memory for the id of a related annotation while lists are merged into one set.
const RELATED_BYTES: u64 = 24;

fn too_large(object: String, over: OverBudget) -> PointsError {
    PointsError::Document(DocumentError::TooLarge {
        object,
        expected: "a list of related annotations",
        problem: format!("its annotations and those of the other objects take more than {over}"),
        advice: "allow more with --memory, or list fewer objects in `points.choose.related`",
    })
}

impl Relationship {
    /// The annotations of the layer in `folder` that are related to one of `objects`.
    pub(super) fn annotations_of(
        &self,
        objects: &[u64],
        folder: &Location,
        layout: &RecordLayout,
        storage: &Storage,
    ) -> Result<HashSet<u64>, PointsError> {
        let budget = storage.budget();
        let lists = EntryStore::new(
            storage.open(&folder.join(&self.key)),
            self.sharding,
            "the list of object",
        );
        objects
            .par_iter()
            .map_init(Vec::new, |buffer, object| {
                let mut ids = Vec::new();
                let read = |limit_bytes| lists.read(*object, limit_bytes, buffer);
                let describe = || lists.describe(*object);
                let lease = read_list(budget, lists.memory_of_byte(), read, describe)?;
                if lease.is_some() {
                    let mut keeper = Keeper::new(budget);
                    let read = layout.read(buffer, &describe, |record| {
                        if keeper.keep(RELATED_BYTES) {
                            ids.push(record.id);
                        }
                    });
                    free_if_large(buffer);
                    read.map_err(|e| e.with_hint(lists.hint()))?;
                    keeper
                        .finish()
                        .map_err(|over| too_large(describe(), over))?;
                }
                Ok(ids)
            })
            .try_reduce(Vec::new, |mut all, ids| {
                all.extend(ids);
                Ok(all)
            })
            .map(HashSet::from_iter)
    }
}

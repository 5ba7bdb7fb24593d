//! Shards of an earlier output that a plan uses again, because their samples are the same.

use std::ops::Range;

use super::table::Plan;
use crate::dataset::{Layout, ShardId};
use crate::storage::Location;

/// The earlier output, and its shards that have the bytes of shards of the plan. They have the same split, array and number in
/// both.
#[derive(Clone, Debug, PartialEq)]
pub struct Reuse {
    /// Where the earlier output is. It may be gone when the shards are written: they are cut then.
    pub location: Location,
    /// Digest of the earlier plan.
    pub plan_digest: String,
    /// For each source of the earlier plan its position in [`Plan::sources`], if it is the same.
    pub sources: Vec<Option<usize>>,
    /// The shards, in the order of their ids.
    pub shards: Vec<ReusedShards>,
}

/// Consecutive shards of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReusedShards {
    /// Position of the split in the layout.
    pub split: usize,
    /// Position of the array in the layout.
    pub array: usize,
    /// Numbers of the shards.
    pub shards: Range<u64>,
}

impl Reuse {
    /// Number of shards.
    pub fn count(&self) -> u64 {
        let ranges = self.shards.iter().map(|s| &s.shards);
        ranges.map(|range| range.end - range.start).sum()
    }

    /// Whether the shard is in the earlier output.
    pub fn contains(&self, id: ShardId) -> bool {
        let begins_before =
            |r: &ReusedShards| (r.split, r.array, r.shards.start) <= (id.split, id.array, id.shard);
        let after = self.shards.partition_point(begins_before);
        let range = after.checked_sub(1).map(|before| &self.shards[before]);
        range.is_some_and(|r| {
            (r.split, r.array) == (id.split, id.array) && r.shards.contains(&id.shard)
        })
    }

    /// Adds a shard. Its id is greater than those before.
    pub(super) fn add(&mut self, id: ShardId) {
        match self.shards.last_mut() {
            Some(last)
                if (last.split, last.array, last.shards.end) == (id.split, id.array, id.shard) =>
            {
                last.shards.end += 1;
            }
            _ => self.shards.push(ReusedShards {
                split: id.split,
                array: id.array,
                shards: id.shard..id.shard + 1,
            }),
        }
    }

    /// Checks every position.
    ///
    /// # Errors
    /// What was found and expected.
    pub(crate) fn check(&self, layout: &Layout, table: &Plan) -> Result<(), String> {
        let (splits, arrays) = (layout.splits.len(), layout.arrays.len());
        let is_known = |r: &ReusedShards| {
            r.split < splits
                && r.array < arrays
                && r.shards.start < r.shards.end
                && r.shards.end <= layout.shards(r.split)
        };
        let begin = |r: &ReusedShards| (r.split, r.array, r.shards.start);
        if !self.shards.is_sorted_by_key(begin) {
            return Err("the shards that it reuses are not in order".to_owned());
        }
        if let Some(found) = self.shards.iter().find(|r| !is_known(r)) {
            return Err(format!(
                "it reuses the shards {:?} of the array {} in the split {}, expected shards of the {arrays} arrays and {splits} splits",
                found.shards, found.array, found.split
            ));
        }
        let sources = table.sources.len();
        match self.sources.iter().flatten().find(|s| **s >= sources) {
            Some(found) => Err(format!(
                "it reuses shards of the source {found}, expected a position below {sources}"
            )),
            None => Ok(()),
        }
    }
}

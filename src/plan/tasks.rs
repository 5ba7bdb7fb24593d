//! Tasks: which process writes which shards.
//!
//! Each task has a contiguous share of the shards, in the order in which they are written. The shares are part of the plan, so
//! that everyone who reads it agrees on them.

use std::ops::Range;

use super::table::PlannedArray;
use crate::dataset::{Layout, ShardId};

/// The share of the shards that each task writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks {
    /// For each task the position after its last shard, in the order of [`work_order`]. The last one is the number of shards.
    ends: Vec<u64>,
}

/// What a shard costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardCost {
    /// Voxels to write, and voxels of the chunks that no earlier shard touches.
    pub voxels: u64,
    /// Voxels of the chunks that both an earlier shard and this or a later one touch.
    pub shared_voxels: u64,
}

/// All shards in the order in which work on them begins. Arrays that are cut out of the same volumes go side by side, shard
/// by shard, so that both find a chunk in the cache. Other arrays go one after the other, so that their chunks do not wait
/// for each other.
pub(crate) fn work_order(arrays: &[PlannedArray], layout: &Layout) -> Vec<ShardId> {
    let first_alike = |array: usize| {
        let sources = &arrays[array].source_of_group;
        arrays
            .iter()
            .position(|other| other.source_of_group == *sources)
    };
    let mut shards: Vec<_> = layout.all_shards().collect();
    shards.sort_by_key(|id| (first_alike(id.array), id.split, id.shard, id.array));
    shards
}

impl Tasks {
    /// One task for all shards.
    pub(crate) fn one(layout: &Layout) -> Self {
        Self {
            ends: vec![layout.all_shards().count() as u64],
        }
    }

    /// Divides shards with these costs, in the order of work. The shares are about equal: each may differ by a tenth, so that
    /// they end where few chunks are used on both sides. Tasks without a shard come last.
    pub(crate) fn divide(costs: &[ShardCost], tasks: u32) -> Self {
        let shards = costs.len();
        let mut before = vec![0u128; shards + 1];
        for (position, cost) in costs.iter().enumerate() {
            before[position + 1] = before[position] + u128::from(cost.voxels);
        }
        let (total, count) = (before[shards], u128::from(tasks.max(1)));
        let slack = total / count / 10;
        let mut ends = Vec::new();
        let mut begin = 0;
        for task in 1..count {
            let wanted = total * task / count;
            let distance = |p: usize| before[p].abs_diff(wanted);
            let shard_each = shards.saturating_sub((count - task) as usize);
            let lowest = (begin + 1).min(shards);
            let highest = shard_each.max(lowest);
            let after = before.partition_point(|voxels| *voxels < wanted);
            let nearest = [after.saturating_sub(1), after].map(|p| p.clamp(lowest, highest));
            let nearest = nearest.into_iter().min_by_key(|p| distance(*p));
            let nearest = nearest.unwrap_or(lowest);
            let first = before.partition_point(|voxels| *voxels < wanted.saturating_sub(slack));
            let last = before.partition_point(|voxels| *voxels <= wanted + slack);
            let candidates =
                first.clamp(lowest, nearest)..last.clamp(nearest + 1, highest.max(nearest) + 1);
            let shared = |p: usize| costs.get(p).map_or(0, |cost| cost.shared_voxels);
            let end = candidates.min_by_key(|p| (shared(*p), distance(*p)));
            begin = end.unwrap_or(nearest);
            ends.push(begin as u64);
        }
        ends.push(shards as u64);
        Self { ends }
    }

    /// The tasks with these ends, of this many shards.
    ///
    /// # Errors
    /// What was found and expected.
    pub(crate) fn from_ends(ends: Vec<u64>, shards: u64) -> Result<Self, String> {
        if ends.is_sorted() && ends.last() == Some(&shards) && u32::try_from(ends.len()).is_ok() {
            Ok(Self { ends })
        } else {
            Err(format!(
                "`task_ends` is {ends:?}, expected ascending numbers up to the {shards} shards"
            ))
        }
    }

    /// As given to [`Tasks::from_ends`].
    pub(crate) fn ends(&self) -> &[u64] {
        &self.ends
    }

    /// Number of tasks, at least 1.
    pub fn count(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The share of a task: positions in the order of [`work_order`]. `None` if there is no such task.
    pub(crate) fn share(&self, task: u32) -> Option<Range<usize>> {
        let task = task as usize;
        let end = *self.ends.get(task)? as usize;
        let begin = task.checked_sub(1).map_or(0, |t| self.ends[t] as usize);
        Some(begin..end)
    }
}

/// The numbers of tasks, ascending, as a list with ranges, as Slurm accepts it: `3,7-9`.
pub fn list_of_tasks(tasks: &[u32]) -> String {
    let runs = tasks.chunk_by(|a, b| a + 1 == *b);
    let runs = runs.map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        one => one.iter().map(u32::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(voxels: &[u64]) -> Vec<ShardCost> {
        let cost = |voxels: &u64| ShardCost {
            voxels: *voxels,
            shared_voxels: 0,
        };
        voxels.iter().map(cost).collect()
    }

    fn shares(tasks: &Tasks) -> Vec<Range<usize>> {
        let shares = (0..tasks.count()).map(|task| tasks.share(task));
        shares.map(Option::unwrap).collect()
    }

    #[test]
    fn every_shard_is_in_one_share_and_no_share_is_much_larger_than_the_others() {
        for (shards, tasks) in [(1, 1), (100, 1), (100, 7), (1000, 64), (64, 64), (65, 64)] {
            let voxels: Vec<u64> = (0..shards).map(|i| 50 + i * 37 % 100).collect();
            let divided = Tasks::divide(&costs(&voxels), tasks);
            assert_eq!(divided.count(), tasks);
            let shares = shares(&divided);
            let all: Vec<usize> = shares.iter().flat_map(Clone::clone).collect();
            assert!(all.into_iter().eq(0..shards as usize));
            let average = voxels.iter().sum::<u64>() as f64 / f64::from(tasks);
            for share in shares {
                assert!(!share.is_empty(), "{shards} shards, {tasks} tasks");
                let voxels = voxels[share].iter().sum::<u64>() as f64;
                assert!(voxels <= 1.2 * average + 150.0, "{voxels}, not {average}");
            }
        }
    }

    #[test]
    fn tasks_without_a_shard_come_last() {
        let divided = Tasks::divide(&costs(&[5, 1, 1]), 5);
        assert_eq!(shares(&divided), [0..1, 1..2, 2..3, 3..3, 3..3]);
        assert_eq!(shares(&Tasks::divide(&[], 2)), [0..0, 0..0]);
        assert_eq!(Tasks::divide(&costs(&[1]), 1).share(1), None);
    }

    #[test]
    fn a_shard_that_costs_most_is_alone() {
        let divided = Tasks::divide(&costs(&[1, 1, 1000, 1, 1]), 3);
        assert_eq!(shares(&divided), [0..2, 2..3, 3..5]);
    }

    #[test]
    fn a_share_ends_where_few_chunks_are_shared() {
        let mut costs = costs(&[10; 100]);
        for (position, cost) in costs.iter_mut().enumerate() {
            cost.shared_voxels = if [24, 53, 74].contains(&position) {
                0
            } else {
                9
            };
        }
        assert_eq!(Tasks::divide(&costs, 4).ends(), [24, 50, 74, 100]);
        costs[52].shared_voxels = 0;
        assert_eq!(Tasks::divide(&costs, 4).ends(), [24, 52, 74, 100]);
    }

    #[test]
    fn lists_of_tasks_have_ranges() {
        assert_eq!(list_of_tasks(&[]), "");
        assert_eq!(list_of_tasks(&[3]), "3");
        assert_eq!(list_of_tasks(&[0, 1, 3, 7, 8, 9]), "0-1,3,7-9");
    }

    #[test]
    fn ends_that_no_division_has_are_errors() {
        assert!(Tasks::from_ends(vec![2, 2, 5], 5).is_ok());
        for wrong in [vec![], vec![2, 1, 5], vec![4], vec![2, 6]] {
            let error = Tasks::from_ends(wrong, 5).unwrap_err();
            assert!(
                error.contains("`task_ends`") && error.contains("5 shards"),
                "{error}"
            );
        }
    }
}

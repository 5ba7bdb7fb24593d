//! What each shard costs, to divide shards into tasks.

use super::schedule;
use super::sources::Sources;
use crate::dataset::{Layout, ShardId};
use crate::plan::{Plan, ShardCost, Tasks, work_order};

/// Divides the shards into tasks.
pub(crate) fn divide(plan: &Plan, sources: &Sources, layout: &Layout, tasks: u32) -> Tasks {
    if tasks <= 1 {
        return Tasks::one(layout);
    }
    let order = work_order(&plan.arrays, layout);
    Tasks::divide(&shard_costs(plan, sources, layout, &order), tasks)
}

/// The cost of each of these shards, which are written in this order.
pub(super) fn shard_costs(
    plan: &Plan,
    sources: &Sources,
    layout: &Layout,
    order: &[ShardId],
) -> Vec<ShardCost> {
    let written = |id: &ShardId| {
        let samples = layout.samples(*id);
        let values: u64 = layout.sample_shape(id.array).iter().product();
        (samples.end - samples.start) * values
    };
    let mut costs: Vec<ShardCost> = order
        .iter()
        .map(|id| ShardCost {
            voxels: written(id),
            shared_voxels: 0,
        })
        .collect();
    // Changes of `shared_voxels` from one shard to the next.
    let mut begins = vec![0u64; order.len() + 1];
    let mut ends = vec![0u64; order.len() + 1];
    for (key, units) in schedule::block_uses(plan, sources, layout, order).by_block() {
        let meta = sources.volumes[key.volume as usize].meta();
        let block = meta.grid.block_box(meta.grid.block_from_linear(key.block));
        let voxels = (meta.block_bytes(&block) / meta.data_type.size_bytes()) as u64;
        let (first, last) = (*units.start() as usize, *units.end() as usize);
        costs[first].voxels += voxels;
        begins[first + 1] += voxels;
        ends[last + 1] += voxels;
    }
    let mut shared = 0;
    for (position, cost) in costs.iter_mut().enumerate() {
        shared = shared + begins[position] - ends[position];
        cost.shared_voxels = shared;
    }
    costs
}

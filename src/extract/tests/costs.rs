//! What shards cost.

use std::collections::HashSet;

use super::*;
use crate::blocks::BlockKey;
use crate::plan::Tasks;

#[test]
fn a_shard_costs_its_voxels_and_the_chunks_that_no_earlier_shard_touches() {
    let dir = tempfile::tempdir().unwrap();
    let Job {
        plan,
        sources,
        layout,
        ..
    } = job(dir.path(), |config| config["shard_samples"] = json!(2));
    let order = work_order(&plan.arrays, &layout);
    let costs = task_costs::shard_costs(&plan, &sources, &layout, &order);
    let voxels = |key: &BlockKey| {
        let meta = sources.volumes[key.volume as usize].meta();
        let block = meta.grid.block_box(meta.grid.block_from_linear(key.block));
        (meta.block_bytes(&block) / meta.data_type.size_bytes()) as u64
    };
    let touched = order.iter().map(|id| {
        let samples = schedule::samples(&plan, &layout, *id).iter();
        let blocks = samples.flat_map(|s| schedule::blocks(&plan, &sources, id.array, s));
        blocks.collect::<HashSet<_>>()
    });
    let touched: Vec<_> = touched.collect();
    for (i, id) in order.iter().enumerate() {
        let all = |shards: &[HashSet<BlockKey>]| -> HashSet<BlockKey> {
            shards.iter().flatten().copied().collect()
        };
        let (before, later) = (all(&touched[..i]), all(&touched[i..]));
        let new: u64 = touched[i].difference(&before).map(voxels).sum();
        let shared: u64 = before.intersection(&later).map(voxels).sum();
        let values =
            layout.sample_bytes(id.array) / layout.arrays[id.array].data_type.size_bytes() as u64;
        let samples = layout.samples(*id);
        let written = (samples.end - samples.start) * values;
        let found = (costs[i].voxels, costs[i].shared_voxels);
        assert_eq!(found, (written + new, shared), "{id:?}");
    }
    assert!(costs.iter().any(|cost| cost.shared_voxels > 0));
    assert_eq!(
        divide(&plan, &sources, &layout, 4),
        Tasks::divide(&costs, 4)
    );
}

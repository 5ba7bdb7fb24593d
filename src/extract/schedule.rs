//! The order of shards, and which source chunks each of them uses.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rayon::prelude::*;

use super::sources::Sources;
use crate::blocks::{BlockKey, BlockUses};
use crate::dataset::{Layout, ShardId};
use crate::geometry::VoxelBox;
use crate::plan::{Plan, Sample};
use crate::volume::Volume;

/// The samples of a shard.
pub(super) fn samples<'p>(plan: &'p Plan, layout: &Layout, id: ShardId) -> &'p [Sample] {
    let range = layout.samples(id);
    &plan.splits[id.split].samples[range.start as usize..range.end as usize]
}

/// The chunks that the window of `sample` in `array` touches.
pub(super) fn blocks(
    plan: &Plan,
    sources: &Sources,
    array: usize,
    sample: &Sample,
) -> impl Iterator<Item = BlockKey> {
    let source = plan.source_of(array, sample);
    let source_box = sources.source_box(plan, array, sample);
    source_box
        .into_iter()
        .flat_map(move |source_box| blocks_of(&sources.volumes, source, &source_box))
}

/// The chunks of the volume at position `source` that `touched` touches.
pub(crate) fn blocks_of(
    volumes: &[Arc<dyn Volume>],
    source: usize,
    touched: &VoxelBox,
) -> impl Iterator<Item = BlockKey> + use<> {
    let grid = volumes[source].meta().grid;
    grid.blocks_touching(touched).map(move |block| BlockKey {
        volume: source as u32,
        block: grid.linear(block),
    })
}

/// Which of the shards in `todo`, numbered by position, uses which chunk.
pub(super) fn block_uses(
    plan: &Plan,
    sources: &Sources,
    layout: &Layout,
    todo: &[ShardId],
) -> BlockUses {
    let pairs = todo
        .par_iter()
        .enumerate()
        .flat_map_iter(|(number, id)| {
            let samples = samples(plan, layout, *id).iter();
            let keys = samples.flat_map(|s| blocks(plan, sources, id.array, s));
            let keys: HashSet<_, RandomState> = keys.collect();
            keys.into_iter().map(move |key| (key, number as u32))
        })
        .collect();
    BlockUses::new(pairs)
}

//! An estimate of what a run reads and writes, made without reading a chunk.

use super::schedule;
use super::sources::Sources;
use crate::dataset::{Layout, ShardId};
use crate::plan::{Plan, Reuse};

/// What a run into a new folder reads and writes.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Samples of all splits.
    pub samples: u64,
    /// Windows, of all arrays.
    pub windows: u64,
    /// Shard files.
    pub shards: u64,
    /// Shard files among them that are copied from an earlier output. Only what the others take is counted below.
    pub reused_shards: u64,
    /// Bytes of all windows before compression.
    pub window_bytes: u64,
    /// What is read from each source.
    pub sources: Vec<SourceEstimate>,
}

/// What is read from a source.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SourceEstimate {
    /// The layer's name in the config.
    pub layer: String,
    /// Where it is stored.
    pub location: String,
    /// Number of different chunks that windows touch.
    pub chunks: u64,
    /// Bytes of the decoded chunks.
    pub decoded_bytes: u64,
}

/// Estimates what a run reads and writes.
pub fn estimate(
    plan: &Plan,
    sources: &Sources,
    layout: &Layout,
    reuse: Option<&Reuse>,
) -> Estimate {
    let is_reused = |id: &ShardId| reuse.is_some_and(|reuse| reuse.contains(*id));
    let shards: Vec<_> = layout.all_shards().filter(|id| !is_reused(id)).collect();
    let reused_shards = reuse.map_or(0, Reuse::count);
    let samples = |id: &ShardId| {
        let samples = layout.samples(*id);
        samples.end - samples.start
    };
    let bytes = |id: &ShardId| samples(id) * layout.sample_bytes(id.array);
    let mut of_sources: Vec<_> = sources
        .volumes
        .iter()
        .enumerate()
        .map(|(i, volume)| SourceEstimate {
            layer: plan.layer_of_source(i).to_owned(),
            location: volume.describe(),
            chunks: 0,
            decoded_bytes: 0,
        })
        .collect();
    for key in schedule::block_uses(plan, sources, layout, &shards).keys() {
        let meta = sources.volumes[key.volume as usize].meta();
        let block = meta.grid.block_box(meta.grid.block_from_linear(key.block));
        let source = &mut of_sources[key.volume as usize];
        source.chunks += 1;
        source.decoded_bytes += meta.block_bytes(&block) as u64;
    }
    Estimate {
        samples: plan.samples(),
        windows: shards.iter().map(samples).sum(),
        shards: shards.len() as u64 + reused_shards,
        reused_shards,
        window_bytes: shards.iter().map(bytes).sum(),
        sources: of_sources,
    }
}

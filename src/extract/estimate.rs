//! What a run would read and write, found out without reading a chunk.

use super::schedule;
use super::sources::Sources;
use crate::dataset::Layout;
use crate::plan::Plan;

/// What a run from the beginning would read and write.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Samples of all splits.
    pub samples: u64,
    /// Windows: samples times arrays.
    pub windows: u64,
    /// Shard files.
    pub shards: u64,
    /// Bytes of all windows before compression.
    pub window_bytes: u64,
    /// What is read of each source.
    pub sources: Vec<SourceEstimate>,
}

/// What is read of a source.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SourceEstimate {
    /// The layer's name in the config.
    pub layer: String,
    /// Where it lies.
    pub location: String,
    /// Different chunks that windows touch.
    pub chunks: u64,
    /// Their bytes when they are decoded.
    pub decoded_bytes: u64,
}

/// Counts what a run would read and write.
pub fn estimate(plan: &Plan, sources: &Sources, layout: &Layout) -> Estimate {
    let shards: Vec<_> = layout.all_shards().collect();
    let bytes = |id: &crate::dataset::ShardId| {
        let samples = layout.samples(*id);
        (samples.end - samples.start) * layout.sample_bytes(id.array)
    };
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
        windows: plan.samples() * layout.arrays.len() as u64,
        shards: shards.len() as u64,
        window_bytes: shards.iter().map(bytes).sum(),
        sources: of_sources,
    }
}

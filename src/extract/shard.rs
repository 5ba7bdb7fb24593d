//! One unit of work: all windows of one shard, cut, encoded, written, and receipted.

use std::sync::atomic::Ordering;

use super::error::ExtractError;
use super::run_state::RunState;
use super::schedule;
use super::unit_chunks::UnitChunks;
use super::window::{CutScratch, WindowRequest};
use crate::blocks::Prefetcher;
use crate::dataset::{DatasetError, Receipt, SampleEncoder, ShardId, ShardWriter, WrittenShard};
use crate::voxels::Statistics;

/// A thread's buffers, reused from window to window.
pub(super) struct Scratch {
    cut: CutScratch,
    encoder: SampleEncoder,
}

impl Scratch {
    pub(super) fn new() -> Result<Self, DatasetError> {
        Ok(Self {
            cut: CutScratch::default(),
            encoder: SampleEncoder::new()?,
        })
    }
}

/// A shard that is cut and written, and what its receipt will say.
pub(super) struct PendingShard<'a> {
    id: ShardId,
    shard: WrittenShard<'a>,
    receipt: Receipt,
}

impl PendingShard<'_> {
    /// Waits for the disk and receipts the shard: its size in bytes.
    pub(super) fn publish(self, shared: &RunState<'_>) -> Result<u64, ExtractError> {
        self.shard.publish()?;
        self.receipt.write(shared.output, shared.layout, self.id)?;
        Ok(self.receipt.bytes)
    }
}

/// Cuts the shard `id`, the `number`th of this run. `None` where another thread failed meanwhile.
pub(super) fn cut_shard<'a>(
    shared: &RunState<'a>,
    prefetcher: &Prefetcher<'_>,
    number: usize,
    id: ShardId,
    scratch: Result<&mut Scratch, &mut DatasetError>,
) -> Result<Option<PendingShard<'a>>, ExtractError> {
    if shared.has_failed() {
        return Ok(None);
    }
    let scratch = scratch.map_err(|e| DatasetError::Zarr {
        object: "the encoder".into(),
        problem: e.to_string(),
    })?;
    let (layout, cutter) = (shared.layout, &shared.cutter);
    let samples = schedule::samples(cutter.plan, layout, id);
    let first = layout.samples(id).start as usize;
    cutter.cache.begin_unit(number as u32);
    let blocks = |array, sample| schedule::blocks(cutter.plan, cutter.sources, array, sample);
    let mut chunks = UnitChunks::of(samples.iter().map(|s| blocks(id.array, s)));
    let mut unit_prefetch = prefetcher.begin_unit(number, chunks.in_order_of_use());
    prefetcher.prefetch_next_unit(&cutter.cache, |next| {
        let next = shared.todo.get(next).into_iter();
        next.flat_map(|id| {
            let samples = schedule::samples(cutter.plan, layout, *id).iter();
            samples.map(|s| blocks(id.array, s))
        })
    });
    let mut used = 0;
    let mut shard = ShardWriter::begin(shared.output, layout, id)?;
    let mut nonzero = Vec::with_capacity(samples.len());
    let mut statistics = Statistics::new(layout.arrays[id.array].data_type);
    let array = &layout.arrays[id.array];
    let value_bytes = array.data_type.size_bytes();
    let objects = &cutter.plan.splits[id.split].objects[id.array];
    for (i, sample) in samples.iter().enumerate() {
        if shared.has_failed() {
            return Ok(None);
        }
        if !unit_prefetch.is_complete() {
            used = chunks.used_with(blocks(id.array, sample)).max(used);
            prefetcher.advance(&cutter.cache, &mut unit_prefetch, used);
        }
        let wanted = WindowRequest {
            array: id.array,
            sample,
            object: objects.get(first + i).copied().unwrap_or(0),
        };
        let mut missing = |key| chunks.note_missing(key);
        let any = cutter.cut(wanted, &mut scratch.cut, &mut missing)?;
        let group_fill = cutter
            .sources
            .array(id.array)
            .fill_value(cutter.plan.group_of(sample));
        // Zeros need not be written to be counted; another value does.
        let unwritten = !any && group_fill.is_zero() && array.fill_value.is_zero();
        if !any && !unwritten {
            group_fill.fill(value_bytes, &mut scratch.cut.window);
        }
        let window = &scratch.cut.window[..];
        let count = match unwritten {
            true => 0,
            false => array.data_type.count_nonzero(window),
        };
        // By the bytes, not by the count: -0.0 counts as zero, but is not the fill value.
        let all_fill = unwritten || array.fill_value.is_all_of(value_bytes, window);
        shard.push((!all_fill).then_some(window), &mut scratch.encoder)?;
        match count {
            0 if all_fill => statistics.observe_zeros((window.len() / value_bytes) as u64),
            _ => statistics.observe(window, Some(count)),
        }
        nonzero.push(count);
        for key in blocks(id.array, sample).filter(|key| chunks.ends_with(i, *key)) {
            cutter.cache.release(key);
        }
        shared.progress.windows_done.fetch_add(1, Ordering::Relaxed);
    }
    let shard = shard.finish()?;
    let receipt = Receipt {
        plan_digest: shared.output.plan_digest().to_owned(),
        bytes: shard.bytes,
        blake3: shard.blake3.to_string(),
        nonzero,
        statistics,
        sources: chunks.source_uses(),
    };
    Ok(Some(PendingShard { id, shard, receipt }))
}

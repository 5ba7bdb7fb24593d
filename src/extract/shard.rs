//! One unit of work: all windows of one shard are cut, encoded and written, and a receipt says what was written.

use std::sync::atomic::Ordering;

use super::error::ExtractError;
use super::run_state::RunState;
use super::schedule;
use super::unit_chunks::UnitChunks;
use super::window::{CutScratch, WindowRequest};
use crate::blocks::{BlockKey, Prefetcher, UnitPrefetch};
use crate::dataset::{DatasetError, Receipt, SampleEncoder, ShardId, ShardWriter, WrittenShard};
use crate::plan::Sample;
use crate::voxels::Statistics;

/// A thread's buffers, reused from window to window.
pub(super) struct ShardScratch {
    cut: CutScratch,
    encoder: SampleEncoder,
}

impl ShardScratch {
    pub(super) fn new() -> Result<Self, DatasetError> {
        Ok(Self {
            cut: CutScratch::default(),
            encoder: SampleEncoder::new()?,
        })
    }
}

/// A shard that is cut and written but not published yet, and its receipt.
pub(super) struct PendingShard<'a> {
    id: ShardId,
    shard: WrittenShard<'a>,
    receipt: Receipt,
}

impl PendingShard<'_> {
    /// Flushes the shard to the disk, gives it its name and writes its receipt. Returns its size in bytes.
    pub(super) fn publish(self, run: &RunState<'_>) -> Result<u64, ExtractError> {
        self.shard.publish()?;
        let target = run.target;
        self.receipt.write(target.output, target.layout, self.id)?;
        Ok(self.receipt.bytes)
    }
}

/// Cuts the shard `id`, the `number`th of this run. `None` where another thread failed meanwhile.
pub(super) fn cut_shard<'a>(
    run: &RunState<'a>,
    prefetcher: &Prefetcher<'_>,
    number: usize,
    id: ShardId,
    scratch: Result<&mut ShardScratch, &mut DatasetError>,
) -> Result<Option<PendingShard<'a>>, ExtractError> {
    if run.has_failed() {
        return Ok(None);
    }
    let scratch = scratch.map_err(|e| DatasetError::Zarr {
        object: "the encoder".into(),
        problem: e.to_string(),
    })?;
    let mut shard = ShardInProgress::begin(run, prefetcher, number, id)?;
    let samples = schedule::samples(run.cutter.plan, run.target.layout, id);
    for (position, sample) in samples.iter().enumerate() {
        if run.has_failed() {
            return Ok(None);
        }
        shard.prefetch_for(prefetcher, sample);
        shard.cut_sample(position, sample, scratch)?;
        shard.release_after(position, sample);
        run.progress.windows_done.fetch_add(1, Ordering::Relaxed);
    }
    shard.finish().map(Some)
}

/// A shard of which some windows are cut.
struct ShardInProgress<'r, 'a> {
    run: &'r RunState<'a>,
    id: ShardId,
    /// Position of its first sample in the split.
    first: usize,
    chunks: UnitChunks,
    prefetch: UnitPrefetch,
    /// How many of `chunks` are used.
    used: usize,
    writer: ShardWriter<'a>,
    nonzero: Vec<u64>,
    statistics: Statistics,
}

impl<'r, 'a> ShardInProgress<'r, 'a> {
    fn begin(
        run: &'r RunState<'a>,
        prefetcher: &Prefetcher<'_>,
        number: usize,
        id: ShardId,
    ) -> Result<Self, ExtractError> {
        let (layout, cutter) = (run.target.layout, &run.cutter);
        let samples = schedule::samples(cutter.plan, layout, id);
        cutter.cache.begin_unit(number as u32);
        let chunks = UnitChunks::of(samples.iter().map(|s| blocks(run, id.array, s)));
        let prefetch = prefetcher.begin_unit(number, chunks.in_order_of_use());
        prefetcher.prefetch_next_unit(&cutter.cache, |next| {
            let next = run.todo.get(next).into_iter();
            next.flat_map(|id| {
                let samples = schedule::samples(cutter.plan, layout, *id).iter();
                samples.map(|s| blocks(run, id.array, s))
            })
        });
        Ok(Self {
            run,
            id,
            first: layout.samples(id).start as usize,
            chunks,
            prefetch,
            used: 0,
            writer: ShardWriter::begin(run.target.output, layout, id)?,
            nonzero: Vec::with_capacity(samples.len()),
            statistics: Statistics::new(layout.arrays[id.array].data_type),
        })
    }

    /// Prefetches what comes after the sample's window.
    fn prefetch_for(&mut self, prefetcher: &Prefetcher<'_>, sample: &Sample) {
        if !self.prefetch.is_complete() {
            let keys = blocks(self.run, self.id.array, sample);
            self.used = self.chunks.used_with(keys).max(self.used);
            prefetcher.advance(&self.run.cutter.cache, &mut self.prefetch, self.used);
        }
    }

    /// Cuts the window of the sample at `position` in the shard, counts its values, and writes it.
    fn cut_sample(
        &mut self,
        position: usize,
        sample: &Sample,
        scratch: &mut ShardScratch,
    ) -> Result<(), ExtractError> {
        let (cutter, array) = (
            &self.run.cutter,
            &self.run.target.layout.arrays[self.id.array],
        );
        let objects = &cutter.plan.splits[self.id.split].objects[self.id.array];
        let request = WindowRequest {
            array: self.id.array,
            sample,
            object: objects.get(self.first + position).copied().unwrap_or(0),
        };
        let chunks = &mut self.chunks;
        let has_values = cutter.cut(request, &mut scratch.cut, &mut |key| {
            chunks.note_missing(key);
        })?;
        let value_bytes = array.data_type.size_bytes();
        let group_fill = cutter
            .sources
            .recipe(self.id.array)
            .fill_value(cutter.plan.group_of(sample));
        // Zeros need not be written to be counted; other fill values are.
        let is_unwritten = !has_values && group_fill.is_zero() && array.fill_value.is_zero();
        if !has_values && !is_unwritten {
            group_fill.fill(value_bytes, &mut scratch.cut.window);
        }
        let window = &scratch.cut.window[..];
        let nonzero = if is_unwritten {
            0
        } else {
            array.data_type.count_nonzero(window)
        };
        // By the bytes, not by the count: -0.0 counts as zero, but is not equal to the fill value.
        let is_fill = is_unwritten || array.fill_value.is_all_of(value_bytes, window);
        self.writer
            .push((!is_fill).then_some(window), &mut scratch.encoder)?;
        match nonzero {
            0 if is_fill => {
                let values = (window.len() / value_bytes) as u64;
                self.statistics.observe_zeros(values);
            }
            _ => self.statistics.observe(window, Some(nonzero)),
        }
        self.nonzero.push(nonzero);
        Ok(())
    }

    /// Releases the chunks that no later window of the shard uses.
    fn release_after(&self, position: usize, sample: &Sample) {
        for key in blocks(self.run, self.id.array, sample) {
            if self.chunks.is_last_use(position, key) {
                self.run.cutter.cache.release(key);
            }
        }
    }

    fn finish(self) -> Result<PendingShard<'a>, ExtractError> {
        let shard = self.writer.finish()?;
        let receipt = Receipt {
            plan_digest: self.run.target.plan_digest.to_owned(),
            bytes: shard.bytes,
            blake3: shard.blake3.to_string(),
            nonzero: self.nonzero,
            statistics: self.statistics,
            sources: self.chunks.source_uses(),
        };
        Ok(PendingShard {
            id: self.id,
            shard,
            receipt,
        })
    }
}

/// The chunks that the window of `sample` in `array` touches.
fn blocks(run: &RunState<'_>, array: usize, sample: &Sample) -> impl Iterator<Item = BlockKey> {
    schedule::blocks(run.cutter.plan, run.cutter.sources, array, sample)
}

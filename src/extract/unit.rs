//! One unit of work: all windows of one shard, cut, encoded, written, and receipted.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::cut::{CutScratch, Wanted};
use super::readahead::ReadAhead;
use super::{ExtractError, Shared, schedule};
use crate::dataset::{
    DatasetError, Receipt, SampleEncoder, ShardId, ShardWriter, SourceUse, Statistics, WrittenShard,
};
use crate::plan::Sample;
use crate::volume::BlockKey;

/// A thread's buffers, reused from window to window.
pub(super) struct Scratch {
    cut: CutScratch,
    encoder: SampleEncoder,
}

/// A chunk that the shard needs.
struct Need {
    /// How many other chunks were needed before it.
    rank: usize,
    /// Position of the last sample that touches it.
    last: usize,
    /// Whether it turned out not to be stored.
    missing: bool,
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
pub(super) struct Cut<'a> {
    id: ShardId,
    shard: WrittenShard<'a>,
    receipt: Receipt,
}

impl Cut<'_> {
    /// Waits for the disk and receipts the shard: its size in bytes.
    pub(super) fn publish(self, shared: &Shared<'_>) -> Result<u64, ExtractError> {
        self.shard.publish()?;
        self.receipt.write(shared.output, shared.layout, self.id)?;
        Ok(self.receipt.bytes)
    }
}

/// Cuts the shard `id`, the `number`th of this run. `None` where another thread failed meanwhile.
pub(super) fn cut_shard<'a>(
    shared: &Shared<'a>,
    ahead: &ReadAhead<'_>,
    number: usize,
    id: ShardId,
    scratch: Result<&mut Scratch, &mut DatasetError>,
) -> Result<Option<Cut<'a>>, ExtractError> {
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
    let mut needs = needs(shared, id.array, samples);
    let mut announced = ahead.begin(number, in_order(&needs));
    announce_next_unit(shared, ahead);
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
        if !announced.is_complete() {
            let blocks = schedule::blocks(cutter.plan, cutter.sources, id.array, sample);
            used = blocks
                .filter_map(|key| Some(needs.get(&key)?.rank + 1))
                .max()
                .unwrap_or(0)
                .max(used);
            ahead.advance(&cutter.cache, &mut announced, used);
        }
        let wanted = Wanted {
            array: id.array,
            sample,
            object: objects.get(first + i).copied().unwrap_or(0),
        };
        let mut missing = |key: BlockKey| {
            if let Some(need) = needs.get_mut(&key) {
                need.missing = true;
            }
        };
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
        for key in schedule::blocks(cutter.plan, cutter.sources, id.array, sample) {
            if needs.get(&key).is_some_and(|n| n.last == i) {
                cutter.cache.release(key);
            }
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
        sources: source_uses(&needs),
    };
    Ok(Some(Cut { id, shard, receipt }))
}

/// Every chunk that the samples touch, and which of them is the last to do so.
fn needs(shared: &Shared<'_>, array: usize, samples: &[Sample]) -> HashMap<BlockKey, Need> {
    let mut needs = HashMap::new();
    for (i, sample) in samples.iter().enumerate() {
        for key in schedule::blocks(shared.cutter.plan, shared.cutter.sources, array, sample) {
            let rank = needs.len();
            let need = needs.entry(key).or_insert(Need {
                rank,
                last: i,
                missing: false,
            });
            need.last = i;
        }
    }
    needs
}

/// The chunks in the order of first use.
fn in_order(needs: &HashMap<BlockKey, Need>) -> Vec<BlockKey> {
    let mut order: Vec<_> = needs.iter().map(|(key, need)| (need.rank, *key)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, key)| key).collect()
}

/// Announces the first chunks of the next unit that nobody has begun, so that whoever begins it finds them.
fn announce_next_unit(shared: &Shared<'_>, ahead: &ReadAhead<'_>) {
    if let Some(id) = shared.todo.get(ahead.claim_next_unit()) {
        let cutter = &shared.cutter;
        let first = schedule::samples(cutter.plan, shared.layout, *id)
            .iter()
            .take(ahead.depth());
        let blocks = first.flat_map(|s| schedule::blocks(cutter.plan, cutter.sources, id.array, s));
        ahead.announce_first(&cutter.cache, blocks);
    }
}

fn source_uses(needs: &HashMap<BlockKey, Need>) -> Vec<SourceUse> {
    let mut uses: Vec<SourceUse> = Vec::new();
    for (key, need) in needs {
        let source = key.volume as usize;
        let at = uses
            .iter()
            .position(|u| u.source == source)
            .unwrap_or_else(|| {
                uses.push(SourceUse {
                    source,
                    touched: 0,
                    missing: 0,
                });
                uses.len() - 1
            });
        uses[at].touched += 1;
        uses[at].missing += u64::from(need.missing);
    }
    uses.sort_by_key(|u| u.source);
    uses
}

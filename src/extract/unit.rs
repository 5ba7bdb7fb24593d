//! One unit of work: all windows of one shard, cut, encoded, written, and receipted.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::readahead::ReadAhead;
use super::window::{Region, copy};
use super::{ExtractError, Shared, schedule};
use crate::dataset::{
    DatasetError, Receipt, SampleEncoder, ShardId, ShardWriter, SourceUse, WrittenShard,
};
use crate::geometry::VoxelBox;
use crate::plan::Sample;
use crate::volume::{Block, BlockKey, Encoded, Lookup, VolumeError};

/// A thread's buffers, reused from window to window.
pub(super) struct Scratch {
    window: Vec<u8>,
    stored: Encoded,
    encoder: SampleEncoder,
    waiting: Vec<BlockKey>,
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
            window: Vec::new(),
            stored: Encoded::default(),
            encoder: SampleEncoder::new()?,
            waiting: Vec::new(),
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
        let layout = &shared.sources.layout;
        self.receipt.write(shared.output, layout, self.id)?;
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
    let scratch = scratch.map_err(|e| DatasetError::Zarr {
        object: "the encoder".into(),
        problem: e.to_string(),
    })?;
    let layout = &shared.sources.layout;
    let samples = schedule::samples(shared.plan, layout, id);
    shared.cache.begin_unit(number as u32);
    let mut needs = needs(shared, id.array, samples);
    let mut announced = ahead.begin(number, in_order(ahead, &needs));
    announce_next_unit(shared, ahead);
    let mut used = 0;
    let mut shard = ShardWriter::begin(shared.output, layout, id)?;
    let mut nonzero = Vec::with_capacity(samples.len());
    let data_type = layout.arrays[id.array].data_type;
    scratch
        .window
        .resize(layout.sample_bytes(id.array) as usize, 0);
    for (i, sample) in samples.iter().enumerate() {
        if shared.stop.load(Ordering::Relaxed) {
            // The other thread's error is the one that is told.
            return Ok(None);
        }
        if ahead.is_on() {
            let blocks = schedule::blocks(shared.plan, shared.sources, id.array, sample);
            used = blocks
                .filter_map(|key| Some(needs.get(&key)?.rank + 1))
                .max()
                .unwrap_or(0)
                .max(used);
            ahead.advance(&shared.cache, &mut announced, used);
        }
        let any_stored = cut(shared, id.array, sample, &mut needs, scratch)?;
        let count = match any_stored {
            true => data_type.count_nonzero(&scratch.window),
            false => 0,
        };
        // Not by the count: -0.0 counts as zero, but its bytes are not the fill value's.
        let all_fill = !any_stored || (count == 0 && scratch.window.iter().all(|b| *b == 0));
        shard.push(
            (!all_fill).then_some(&scratch.window[..]),
            &mut scratch.encoder,
        )?;
        nonzero.push(count);
        for key in schedule::blocks(shared.plan, shared.sources, id.array, sample) {
            if needs.get(&key).is_some_and(|n| n.last == i) {
                shared.cache.release(key);
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
        sources: source_uses(&needs),
    };
    Ok(Some(Cut { id, shard, receipt }))
}

/// Every chunk that the samples touch, and which of them is the last to do so.
fn needs(shared: &Shared<'_>, array: usize, samples: &[Sample]) -> HashMap<BlockKey, Need> {
    let mut needs = HashMap::new();
    for (i, sample) in samples.iter().enumerate() {
        for key in schedule::blocks(shared.plan, shared.sources, array, sample) {
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

/// The chunks in the order of first use, where somebody wants to know it.
fn in_order(ahead: &ReadAhead<'_>, needs: &HashMap<BlockKey, Need>) -> Vec<BlockKey> {
    if !ahead.is_on() {
        return Vec::new();
    }
    let mut order: Vec<_> = needs.iter().map(|(key, need)| (need.rank, *key)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, key)| key).collect()
}

/// Announces the first chunks of the next unit that nobody has begun, so that whoever begins it finds them.
fn announce_next_unit(shared: &Shared<'_>, ahead: &ReadAhead<'_>) {
    if ahead.is_on()
        && let Some(id) = shared.todo.get(ahead.claim_next_unit())
    {
        let first = schedule::samples(shared.plan, &shared.sources.layout, *id)
            .iter()
            .take(ahead.depth());
        let blocks = first.flat_map(|s| schedule::blocks(shared.plan, shared.sources, id.array, s));
        ahead.announce_first(&shared.cache, blocks);
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

/// Cuts the sample's window into `scratch.window`. `false` where all of it is zero because no stored chunk
/// touches it.
fn cut(
    shared: &Shared<'_>,
    array: usize,
    sample: &Sample,
    needs: &mut HashMap<BlockKey, Need>,
    scratch: &mut Scratch,
) -> Result<bool, ExtractError> {
    let source = shared.plan.source_of(array, sample);
    let meta = shared.sources.volumes[source].meta();
    let window = shared.plan.window_of(array, sample);
    if !meta.grid.bounds().contains_box(&window) {
        let value_bytes = meta.data_type.size_bytes();
        meta.fill_value.fill(value_bytes, &mut scratch.window);
    }
    let failed = |e: VolumeError| ExtractError::Layer {
        layer: shared.plan.layer_of_source(source).to_owned(),
        source: e,
    };
    // What the output holds where nothing is stored is zero: any other fill value is a value like others.
    let mut any_stored = !meta.fill_value.is_zero();
    scratch.waiting.clear();
    for key in schedule::blocks(shared.plan, shared.sources, array, sample) {
        let block = match shared.cache.lookup(key) {
            Lookup::Ready(block) => block,
            Lookup::Claimed(claim) => claim.load(&mut scratch.stored).map_err(failed)?,
            Lookup::Busy => {
                // Another thread is on it: there may be other chunks to copy or load meanwhile.
                scratch.waiting.push(key);
                continue;
            }
        };
        any_stored |= take(shared, &block, key, &window, needs, &mut scratch.window)?;
    }
    while let Some(key) = scratch.waiting.pop() {
        let block = match shared.cache.wait(key) {
            Lookup::Ready(block) => block,
            Lookup::Claimed(claim) => claim.load(&mut scratch.stored).map_err(failed)?,
            Lookup::Busy => unreachable!("wait returns when nobody is loading the block"),
        };
        any_stored |= take(shared, &block, key, &window, needs, &mut scratch.window)?;
    }
    Ok(any_stored)
}

/// Copies what `block` has of the window. Whether it is stored.
fn take(
    shared: &Shared<'_>,
    block: &Block,
    key: BlockKey,
    window: &VoxelBox,
    needs: &mut HashMap<BlockKey, Need>,
    out: &mut [u8],
) -> Result<bool, ExtractError> {
    let source = key.volume as usize;
    let meta = shared.sources.volumes[source].meta();
    let index = meta.grid.from_linear(key.block);
    let values = match block {
        Block::Stored(values) => Some(values.as_slice()),
        Block::Missing => {
            shared.missing_chunk(source, index)?;
            if let Some(need) = needs.get_mut(&key) {
                need.missing = true;
            }
            None
        }
    };
    let region = |covers| Region {
        covers,
        channels: meta.channels as usize,
        value_bytes: meta.data_type.size_bytes(),
    };
    copy(
        values.ok_or(meta.fill_value),
        &region(&meta.grid.block_box(index)),
        out,
        &region(window),
    );
    Ok(values.is_some())
}

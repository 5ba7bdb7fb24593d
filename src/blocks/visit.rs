//! Every block of a part of a volume, once: for what has no windows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::block::Block;
use super::cache::{BlockCache, Lookup};
use super::prefetch::with_prefetcher;
use super::uses::{BlockKey, BlockUses};
use crate::storage::{MemoryBudget, OverBudget, ParallelTasks, Storage};
use crate::volume::{EncodedBlock, Volume, VolumeError};

/// Forms of a block in memory while it is loaded: as stored, decompressed, rearranged and decoded.
const FORMS: u64 = 4;

/// Why visiting blocks ended.
enum Failure<E> {
    Volume(VolumeError),
    Visit(E),
}

/// Memory for blocks, counted in the budget until this is dropped.
#[derive(Debug)]
pub(crate) struct VisitMemory<'b> {
    bytes: u64,
    budget: &'b MemoryBudget,
}

impl<'b> VisitMemory<'b> {
    /// Reserves memory to visit blocks of the volume: the largest of some shares of the budget that is free. It does not wait for
    /// memory: threads of one pool may visit several volumes, and would wait for each other.
    ///
    /// # Errors
    /// The threads need more than is free.
    pub fn reserve(volume: &dyn Volume, budget: &'b MemoryBudget) -> Result<Self, OverBudget> {
        let least = block_bytes(volume) * FORMS * rayon::current_num_threads() as u64;
        let shares = [2, 4, 8, 16, 32].map(|share| budget.keep_limit_bytes() / share);
        let enough = shares.into_iter().filter(|bytes| *bytes > least);
        let mut sizes = enough.chain([least]);
        let bytes = sizes.find(|bytes| budget.keep(*bytes).is_ok());
        let bytes = bytes.ok_or_else(|| budget.over())?;
        Ok(Self { bytes, budget })
    }
}

impl Drop for VisitMemory<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Calls `visit` with each of `blocks`, by their linear indices in the volume's grid, in parallel. Each is read and decoded once.
/// Returns how many of them are stored.
pub(crate) fn visit_blocks<E: From<VolumeError> + Send>(
    volume: &Arc<dyn Volume>,
    blocks: &[u64],
    memory: &VisitMemory<'_>,
    storage: &Storage,
    visit: impl Fn(u64, &Block) -> Result<(), E> + Sync,
) -> Result<u64, E> {
    let stored = AtomicU64::new(0);
    let key = |block: &u64| BlockKey {
        volume: 0,
        block: *block,
    };
    let volumes = std::slice::from_ref(volume);
    let uses = blocks
        .iter()
        .zip(0..)
        .map(|(block, unit)| (key(block), unit));
    let loading = block_bytes(volume.as_ref()) * (FORMS - 1) * rayon::current_num_threads() as u64;
    let budget_bytes = memory.bytes.saturating_sub(loading);
    let cache = BlockCache::new(volumes, BlockUses::new(uses.collect()), budget_bytes);
    let tasks = ParallelTasks::<Failure<E>>::new(storage);
    let done = with_prefetcher(
        &cache,
        block_bytes(volume.as_ref()),
        budget_bytes,
        storage.network().requests,
        tasks.work(),
        |prefetcher| {
            let visit_one = |encoded: &mut EncodedBlock, (unit, block): (usize, &u64)| {
                cache.begin_unit(unit as u32);
                let mut prefetch = prefetcher.begin_unit(unit, vec![key(block)]);
                prefetcher.prefetch_next_units(&cache, |next| {
                    let block = blocks.get(next)?;
                    Some(std::iter::once(std::iter::once(key(block))))
                });
                prefetcher.advance(&cache, &mut prefetch, 1, 1);
                let values = load(&cache, key(block), encoded).map_err(Failure::Volume)?;
                if !matches!(*values, Block::Missing) {
                    stored.fetch_add(1, Ordering::Relaxed);
                }
                let visited = visit(*block, &values).map_err(Failure::Visit);
                cache.release(key(block));
                visited
            };
            // A bridge hands blocks out one by one, in order.
            let blocks = blocks.iter().enumerate().par_bridge();
            blocks
                .map_init(EncodedBlock::default, |encoded, block| {
                    tasks.run(|| visit_one(encoded, block))
                })
                .collect::<Result<(), _>>()
        },
    );
    let is_stopped = |e: &Failure<E>| matches!(e, Failure::Volume(e) if e.is_stopped());
    let finished = tasks.finish_with_cause(is_stopped, done);
    finished.map_err(|e| {
        let cause = is_stopped(&e).then(|| cache.take_prefetch_failure());
        match (cause.flatten(), e) {
            (Some((_, cause)), _) | (None, Failure::Volume(cause)) => cause.into(),
            (None, Failure::Visit(e)) => e,
        }
    })?;
    Ok(stored.into_inner())
}

fn load(
    cache: &BlockCache<'_>,
    key: BlockKey,
    encoded: &mut EncodedBlock,
) -> Result<Arc<Block>, VolumeError> {
    let found = match cache.lookup(key) {
        Lookup::Busy => cache.wait(key),
        found => found,
    };
    match found {
        Lookup::Ready(block) => Ok(block),
        Lookup::Claimed(claim) => claim.load(encoded),
        Lookup::Busy => unreachable!("wait returns when no thread is loading the block"),
    }
}

/// Bytes of a decoded block.
fn block_bytes(volume: &dyn Volume) -> u64 {
    let meta = volume.meta();
    meta.block_bytes(&meta.grid.block_box([0; 3])) as u64
}

//! The pipeline from blocks to shards: a plan and its volumes in, finished shard files and receipts out.
//!
//! A shard is the unit of work. Threads take shards in a fixed order, in which neighbours share source chunks;
//! within a shard samples come in the plan's order. Every chunk goes through the block cache, which knows
//! beforehand which shards need it. What a shard holds depends on the plan and the sources alone, not on
//! threads or on what was finished before.

mod budget;
mod converted;
mod error;
mod estimate;
mod no_scale;
mod padding;
mod progress;
mod run_state;
mod schedule;
mod shard;
mod sources;
mod unit_chunks;
mod window;
mod window_assembler;

use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread::Builder;

use rayon::prelude::*;

use crate::blocks::{BlockCache, CacheStats, with_prefetcher};
use crate::dataset::{Layout, Output, Receipt, ShardId};
use crate::plan::Plan;
use crate::storage::Together;
use run_state::RunState;

pub(crate) use budget::cache_budget;
pub use error::ExtractError;
pub use estimate::{Estimate, estimate};
pub use padding::Padding;
pub(crate) use padding::{inside_fraction, require_touched};
pub use progress::Progress;
pub(crate) use schedule::blocks_of;
pub use sources::Sources;
pub(crate) use unit_chunks::UnitChunks;
pub(crate) use window::{CutScratch, WindowCutter, WindowRequest};

/// What a run of the extraction did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractReport {
    /// Shards that stood already.
    pub shards_already_present: u64,
    /// Shards that were made.
    pub shards_written: u64,
    /// Windows that were cut.
    pub windows: u64,
    /// Different source chunks that the windows of the made shards touch.
    pub chunks_touched: u64,
    /// What the block cache did.
    pub cache: CacheStats,
    /// Bytes of the shards that were made.
    pub written_bytes: u64,
}

/// Makes every shard that does not stand yet, with the threads of the current rayon pool.
///
/// Decoded chunks are kept inside what `memory_bytes` leaves beside the threads' own buffers.
pub fn run(
    plan: &Plan,
    sources: &Sources,
    layout: &Layout,
    output: &Output,
    memory_bytes: u64,
    progress: &Progress,
) -> Result<ExtractReport, ExtractError> {
    let budget_bytes = cache_budget(plan, sources, memory_bytes)?;
    let samples = |id: &ShardId| {
        let range = layout.samples(*id);
        range.end - range.start
    };
    let mut todo = Vec::new();
    let mut report = ExtractReport::default();
    for id in schedule::work_order(plan, layout) {
        progress
            .windows_total
            .fetch_add(samples(&id), Ordering::Relaxed);
        match Receipt::find(output, layout, id)? {
            None => todo.push(id),
            Some(_) => {
                report.shards_already_present += 1;
                progress
                    .windows_done
                    .fetch_add(samples(&id), Ordering::Relaxed);
            }
        }
    }
    if todo.is_empty() {
        return Ok(report);
    }
    output.unseal()?;
    let uses = schedule::block_uses(plan, sources, layout, &todo);
    report.chunks_touched = uses.blocks() as u64;
    report.shards_written = todo.len() as u64;
    report.windows = todo.iter().map(samples).sum();
    let shared = RunState {
        cutter: WindowCutter {
            plan,
            sources,
            cache: BlockCache::new(&sources.volumes, uses, budget_bytes),
        },
        layout,
        output,
        todo: &todo,
        progress,
        failure: OnceLock::new(),
        stopped: OnceLock::new(),
        together: Together::default(),
    };
    report.written_bytes = cut_and_publish(&shared, budget_bytes);
    report.cache = shared.cutter.cache.stats();
    let failure = shared.failure.into_inner();
    let failure = failure.or_else(|| shared.cutter.prefetch_failure());
    match failure.or(shared.stopped.into_inner()) {
        None => Ok(report),
        Some(e) => Err(e),
    }
}

/// Threads that do nothing but wait for the disk, and shards that may wait for them.
const PUBLISHERS: usize = 2;

/// Makes the shards of the run: bytes written. The threads of the pool cut, others flush and rename, so that
/// no computing waits for the disk.
fn cut_and_publish(shared: &RunState<'_>, budget_bytes: u64) -> u64 {
    let (sender, receiver) = mpsc::sync_channel(PUBLISHERS);
    let receiver = Mutex::new(receiver);
    let publish = || publish_all(shared, &receiver);
    // The sender goes into the scope, so that the publishers come to an end however the cutting does.
    std::thread::scope(move |scope| {
        let publishers = (0..PUBLISHERS).filter_map(|_| {
            let publisher = Builder::new().spawn_scoped(scope, publish);
            shared.note_failure(publisher.map_err(ExtractError::Thread))
        });
        let publishers: Vec<_> = publishers.collect();
        let cache = &shared.cutter.cache;
        let block_bytes = shared.cutter.sources.block_bytes();
        with_prefetcher(
            cache,
            block_bytes,
            budget_bytes,
            &shared.together,
            |prefetcher| {
                // A bridge hands units out one by one, in order, to whichever thread is free.
                let units = shared.todo.iter().enumerate();
                units
                    .take_while(|_| !shared.has_failed())
                    .par_bridge()
                    .for_each_init(shard::Scratch::new, |scratch, (number, id)| {
                        let cut =
                            || shard::cut_shard(shared, prefetcher, number, *id, scratch.as_mut());
                        let cut = shared.together.run(cut);
                        if let Some(Some(cut)) = shared.note_failure(cut) {
                            let _ = sender.send(cut);
                        }
                    });
            },
        );
        drop(sender);
        publishers
            .into_iter()
            .map(|p| {
                p.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .sum()
    })
}

/// Publishes what is cut until no more comes: bytes written. Also after a failure, so that no one waits to send, and
/// what is cut need not be cut again by the next run.
fn publish_all(
    shared: &RunState<'_>,
    receiver: &Mutex<mpsc::Receiver<shard::PendingShard<'_>>>,
) -> u64 {
    let next = || receiver.lock().ok().and_then(|r| r.recv().ok());
    let mut published = 0;
    while let Some(cut) = next() {
        published += shared.note_failure(cut.publish(shared)).unwrap_or(0);
    }
    published
}

#[cfg(test)]
mod tests;

//! The pipeline from blocks to shards: a plan and its volumes come in, shard files and their receipts go out.
//!
//! Threads open shards in a fixed order, in which neighbours share source chunks. A shard is divided into pieces of some
//! samples, so that several threads can work on it; they are written in the plan's order. Every chunk goes through the block
//! cache, which knows beforehand which shards use it. What a shard holds depends on the plan and the sources alone, not on
//! threads or on earlier runs.

mod array_recipe;
mod budget;
mod converted;
mod error;
mod estimate;
mod in_order;
mod no_scale;
mod object_layers;
mod open_shard;
mod padding;
mod piece;
mod pieces;
mod progress;
mod run_state;
mod schedule;
mod shard_chunks;
mod sources;
mod target;
mod task_costs;
mod window;
mod window_assembler;
mod work_queue;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::Builder;

use crate::blocks::{BlockCache, CacheStats, Prefetcher, with_prefetcher};
use crate::dataset::ShardId;
use crate::plan::Plan;
use open_shard::{OpenShard, PendingShard};
use piece::{PieceScratch, SparePieces};
use run_state::RunState;
use work_queue::{TakenPiece, Work, WorkQueue};

pub(crate) use budget::{cache_budget, cache_budget_of_pass};
pub use error::ExtractError;
pub use estimate::{Estimate, estimate};
pub(crate) use object_layers::image_warnings;
pub(crate) use padding::{measure_padding, require_touched};
pub use progress::Progress;
pub(crate) use schedule::blocks_of;
pub use sources::Sources;
pub(crate) use target::Target;
pub(crate) use task_costs::divide;
pub(crate) use window::{CutScratch, WindowCutter, WindowRequest};
pub(crate) use window_assembler::BoxRequest;

/// What an extraction did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractReport {
    /// Shards that were already present.
    pub shards_already_present: u64,
    /// Shards that were copied from an earlier output.
    pub shards_reused: u64,
    /// Shards that were cut and written.
    pub shards_written: u64,
    /// Windows that were cut.
    pub windows: u64,
    /// Different source chunks that the windows of the written shards touch.
    pub chunks_touched: u64,
    /// What the block cache did.
    pub cache: CacheStats,
    /// Bytes of the shards that were written.
    pub written_bytes: u64,
}

/// Writes every shard of the target that is not present yet, with the threads of the current rayon pool.
///
/// Decoded chunks are kept within what `memory_bytes` leaves beside the threads' own buffers.
///
/// # Errors
/// The first error of a thread; the other threads stop then.
pub(crate) fn run(
    plan: &Plan,
    sources: &Sources,
    target: Target<'_>,
    memory_bytes: u64,
    progress: &Progress,
) -> Result<ExtractReport, ExtractError> {
    let mut report = ExtractReport::default();
    let layout = target.layout;
    let todo = missing_shards(target, progress, &mut report);
    if todo.is_empty() {
        return Ok(report);
    }
    // A job that does not fit fails before anything changes.
    cache_budget(plan, sources, memory_bytes)?;
    let uses = schedule::block_uses(plan, sources, layout, &todo);
    let uses_bytes = uses.memory_bytes();
    let budget_bytes = budget::cache_budget_with_uses(plan, uses_bytes, sources, memory_bytes)?;
    report.chunks_touched = uses.blocks() as u64;
    let run = RunState {
        cutter: WindowCutter {
            plan,
            sources,
            cache: BlockCache::new(&sources.volumes, uses, budget_bytes),
        },
        target,
        todo: &todo,
        progress,
        spare_pieces: SparePieces::default(),
        failure: OnceLock::new(),
        refused: Mutex::default(),
        stopped: OnceLock::new(),
        work: sources.storage().begin_work(),
    };
    report.written_bytes = cut_and_publish(&run, budget_bytes);
    report.cache = run.cutter.cache.stats();
    let refusal = run.refusal();
    let failure = run.failure.into_inner();
    let failure = failure.or_else(|| run.cutter.prefetch_failure());
    match failure.or(run.stopped.into_inner()) {
        // No thread failed, but windows are missing.
        None if run.work.is_stopped() => Err(ExtractError::Interrupted),
        None => refusal.map_or(Ok(report), Err),
        Some(e) => Err(e),
    }
}

/// The shards of the target that are not present yet. Counts all of them, and the present ones as done.
fn missing_shards(
    target: Target<'_>,
    progress: &Progress,
    report: &mut ExtractReport,
) -> Vec<ShardId> {
    let mut todo = Vec::new();
    for id in target.shards.iter().copied() {
        let range = target.layout.samples(id);
        let windows = range.end - range.start;
        progress.windows_total.fetch_add(windows, Ordering::Relaxed);
        if target.present.contains(id) {
            report.shards_already_present += 1;
            progress.windows_done.fetch_add(windows, Ordering::Relaxed);
        } else {
            report.shards_written += 1;
            report.windows += windows;
            todo.push(id);
        }
    }
    todo
}

/// Number of threads that only wait for the disk or the server, and of shards that may wait for these threads. More shards
/// at a time are flushed faster, up to some limit.
fn publishers() -> usize {
    (2 * rayon::current_num_threads()).clamp(4, 16)
}

/// Writes the shards of the run, and returns the bytes written. The threads of the pool cut; others flush and rename, so
/// that no computing thread waits for the disk.
fn cut_and_publish(run: &RunState<'_>, budget_bytes: u64) -> u64 {
    let publishers = publishers();
    let (sender, receiver) = mpsc::sync_channel(publishers);
    let receiver = Mutex::new(receiver);
    let publish = || publish_all(run, &receiver);
    // The scope owns the sender, so that the publishers end however the cutting ends.
    std::thread::scope(move |scope| {
        let publishers = (0..publishers.min(run.todo.len())).filter_map(|_| {
            let publisher = Builder::new().spawn_scoped(scope, publish);
            run.note_failure(publisher.map_err(ExtractError::Thread))
        });
        let publishers: Vec<_> = publishers.collect();
        let cache = &run.cutter.cache;
        let block_bytes = run.cutter.sources.block_bytes();
        let threads = rayon::current_num_threads();
        let queue = &WorkQueue::new(run.todo.len(), threads);
        let to_publish = &sender;
        with_prefetcher(
            cache,
            block_bytes,
            budget_bytes,
            run.cutter.sources.storage().network().requests,
            &run.work,
            |prefetcher| rayon::broadcast(|_| cut_all(run, prefetcher, queue, to_publish)),
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

/// Cuts pieces until no more work follows, or a thread fails.
fn cut_all<'r, 'a>(
    run: &'r RunState<'a>,
    prefetcher: &Prefetcher<'_>,
    queue: &WorkQueue<OpenShard<'r, 'a>>,
    sender: &mpsc::SyncSender<PendingShard<'a>>,
) {
    let Some(mut scratch) = run.note_failure(PieceScratch::new().map_err(ExtractError::from))
    else {
        return;
    };
    let mut current = None;
    // Work that is not finished ends the queue.
    while let Some(work) = queue.next(current.as_ref()).filter(|_| !run.has_failed()) {
        // A shard that is done takes memory until no thread holds it.
        drop(current.take());
        let done = match work {
            Work::Open(opening) => OpenShard::open(run, prefetcher, opening.number).map(|shard| {
                let pieces = shard.pieces.count();
                Some(opening.finish(shard, pieces))
            }),
            Work::Piece(taken) => cut_piece(prefetcher, taken, &mut scratch, sender),
        };
        match run.note_failure(done).flatten() {
            Some(shard) => current = Some(shard),
            None => return,
        }
    }
}

/// Cuts and encodes a piece, and sends its shard to the publishers if that is complete now. Returns the shard; `None` where
/// another thread failed meanwhile.
fn cut_piece<'r, 'a>(
    prefetcher: &Prefetcher<'_>,
    taken: TakenPiece<'_, OpenShard<'r, 'a>>,
    scratch: &mut PieceScratch,
    sender: &mpsc::SyncSender<PendingShard<'a>>,
) -> Result<Option<Arc<OpenShard<'r, 'a>>>, ExtractError> {
    let (shard, piece) = (&taken.shard, taken.piece);
    let Some(encoded) = shard.cut_piece(prefetcher, piece, taken.workers, scratch)? else {
        return Ok(None);
    };
    let (written, pending) = shard.add_piece(piece, encoded)?;
    let shard = taken.finish(written);
    if let Some(pending) = pending {
        let _ = sender.send(pending);
    }
    Ok(Some(shard))
}

/// Publishes shards until no more arrive, and returns the bytes written. Goes on after a failure, so that no thread waits
/// to send, and the next run need not cut these shards again.
fn publish_all(run: &RunState<'_>, receiver: &Mutex<mpsc::Receiver<PendingShard<'_>>>) -> u64 {
    let next = || receiver.lock().ok().and_then(|r| r.recv().ok());
    let mut published = 0;
    while let Some(pending) = next() {
        published += run.note_failure(pending.publish(run)).unwrap_or(0);
    }
    published
}

#[cfg(test)]
mod tests;

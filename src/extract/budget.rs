//! How much memory is left for decoded chunks.

use super::error::ExtractError;
use super::pieces::piece_bytes;
use super::sources::Sources;
use crate::plan::Plan;
use crate::storage::BASE_BYTES;

/// Memory that each sample of an open shard takes: its chunks, its place in the index of the shard, which is written at the end,
/// and its values that are not 0.
const SHARD_SAMPLE_BYTES: u64 = 64;

/// Bytes that decoded chunks may take while windows are cut: what `memory_bytes` leaves beside the threads' buffers.
///
/// # Errors
/// The plan, the buffers and a chunk per thread do not fit.
pub(crate) fn cache_budget(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    cache_budget_with_uses(plan, 0, sources, memory_bytes)
}

/// As [`cache_budget`], where the list of the chunks that shards use takes `uses_bytes`.
pub(super) fn cache_budget_with_uses(
    plan: &Plan,
    uses_bytes: u64,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let layout = sources.layout(plan);
    let pieces = (0..layout.arrays.len()).map(|array| piece_bytes(&layout, array));
    let largest_piece = pieces.max().unwrap_or(0);
    let shard_samples = layout.splits.iter().map(|split| split.shard_samples);
    let open_shard = SHARD_SAMPLE_BYTES.saturating_mul(shard_samples.max().unwrap_or(0));
    // A window, a piece that is encoded, one that waits to be written, and what is known about the samples of an open shard.
    let of_thread = largest_piece
        .saturating_mul(2)
        .saturating_add(sources.window_bytes(plan))
        .saturating_add(open_shard);
    let plan_bytes = plan.memory_bytes().saturating_add(uses_bytes);
    cache_budget_beside(plan_bytes, of_thread, sources, memory_bytes)
}

/// As [`cache_budget`], for a pass before windows are cut, in which a thread needs `buffer_bytes` beside the chunk that it
/// loads. An error states what the whole job needs, as far as that is known.
pub(crate) fn cache_budget_of_pass(
    plan: &Plan,
    buffer_bytes: u64,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let budget = cache_budget_beside(plan.memory_bytes(), buffer_bytes, sources, memory_bytes);
    let needed = |error: &ExtractError| match error {
        ExtractError::Memory { needed_bytes, .. } => *needed_bytes,
        _ => 0,
    };
    budget.map_err(|of_pass| match cache_budget(plan, sources, memory_bytes) {
        Err(of_windows) if needed(&of_windows) > needed(&of_pass) => of_windows,
        _ => of_pass,
    })
}

/// As [`cache_budget`], where the plan takes `plan_bytes`, and a thread needs `buffer_bytes` beside the chunk that it loads.
fn cache_budget_beside(
    plan_bytes: u64,
    buffer_bytes: u64,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let threads = rayon::current_num_threads();
    // The forms of a chunk that is being loaded count, too.
    let of_thread = buffer_bytes.saturating_add(sources.loading_bytes());
    let buffers = of_thread
        .saturating_mul(threads as u64)
        .saturating_add(BASE_BYTES)
        .saturating_add(plan_bytes)
        .saturating_add(sources.roots_bytes());
    // Each thread holds at least the one chunk that it copies from.
    let needed_bytes = buffers.saturating_add(threads as u64 * sources.block_bytes());
    if memory_bytes < needed_bytes {
        return Err(ExtractError::Memory {
            limit_bytes: memory_bytes,
            needed_bytes,
            plan_bytes,
            threads,
        });
    }
    Ok(memory_bytes - buffers)
}

//! How much memory is left for decoded chunks.

use super::error::ExtractError;
use super::pieces::piece_bytes;
use super::sources::Sources;
use crate::plan::Plan;
use crate::storage::BASE_BYTES;

/// Bytes that decoded chunks may take while windows are cut: what `memory_bytes` leaves beside the threads' buffers.
pub(crate) fn cache_budget(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let layout = sources.layout(plan);
    let pieces = (0..layout.arrays.len()).map(|array| piece_bytes(layout.sample_bytes(array)));
    let largest_piece = pieces.max().unwrap_or(0);
    // A window, a piece that is encoded, and one that waits to be written.
    let of_thread = largest_piece
        .saturating_mul(2)
        .saturating_add(sources.window_bytes(plan));
    cache_budget_beside(of_thread, sources, memory_bytes)
}

/// As [`cache_budget`], where a thread needs `buffer_bytes` beside the chunk that it loads.
pub(crate) fn cache_budget_beside(
    buffer_bytes: u64,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let threads = rayon::current_num_threads();
    // The forms of a chunk that is being loaded count, too.
    let of_thread = buffer_bytes.saturating_add(sources.loading_bytes());
    let buffers = of_thread
        .saturating_mul(threads as u64)
        .saturating_add(BASE_BYTES);
    // Each thread holds at least the one chunk that it copies from.
    let needed_bytes = buffers.saturating_add(threads as u64 * sources.block_bytes());
    if memory_bytes < needed_bytes {
        return Err(ExtractError::Memory {
            limit_bytes: memory_bytes,
            needed_bytes,
            threads,
        });
    }
    Ok(memory_bytes - buffers)
}

//! How much memory is left for decoded chunks.

use super::error::ExtractError;
use super::sources::Sources;
use crate::plan::Plan;
use crate::storage::BASE_BYTES;

/// Bytes that decoded chunks may take while windows are cut: what `memory_bytes` leaves beside the threads' buffers.
pub(crate) fn cache_budget(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    cache_budget_beside(sources.window_bytes(plan), sources, memory_bytes)
}

/// As [`cache_budget`], where a thread needs `window_bytes` for a window or other voxels.
pub(crate) fn cache_budget_beside(
    window_bytes: u64,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let threads = rayon::current_num_threads();
    // Per thread: a window and its encoded form, and the forms of a chunk that is being loaded.
    let of_thread = window_bytes
        .saturating_mul(2)
        .saturating_add(sources.loading_bytes());
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

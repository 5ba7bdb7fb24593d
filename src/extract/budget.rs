//! How much memory is left for decoded chunks.

use super::error::ExtractError;
use super::sources::Sources;
use crate::plan::Plan;
use crate::storage::BASE_BYTES;

/// Bytes that decoded chunks may take: what is left beside the threads' buffers.
pub(crate) fn cache_budget(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let threads = rayon::current_num_threads();
    let sample = sources.window_bytes(plan);
    // Per thread: a window and its encoded form, and what a chunk goes through.
    let of_thread = sample
        .saturating_mul(2)
        .saturating_add(sources.loading_bytes());
    let buffers = of_thread
        .saturating_mul(threads as u64)
        .saturating_add(BASE_BYTES);
    // At the least each thread holds the one chunk that it copies from.
    let needed_bytes = buffers.saturating_add(threads as u64 * sources.block_bytes());
    match memory_bytes.checked_sub(needed_bytes) {
        Some(_) => Ok(memory_bytes - buffers),
        None => Err(ExtractError::Memory {
            limit_bytes: memory_bytes,
            needed_bytes,
            threads,
        }),
    }
}

//! How much memory a check takes. It does not depend on the number of samples, but on what they are and on what is listed.

use super::columns::BATCH_ROWS;
use super::content::MAX_DIGESTS;
use super::rows::UNORDERED_BYTES;
use super::streamed::PIECE_BYTES;
use crate::dataset::{DatasetError, Manifest};
use crate::storage::BASE_BYTES;

/// Memory that the entry of a shard or a box takes in the manifest, in its text and in listings, approximately.
const ENTRY_BYTES: u64 = 1_500;

/// Bytes of a row of the columns that every dataset has: in a decoded chunk, and in a batch that is checked.
const ROW_BYTES: u64 = 3 * (8 + 4 + 3 * 24);

/// Memory of a digest of a sample, where several lists of them are merged.
const DIGEST_BYTES: u64 = 2 * 16;

/// Memory that each sample of a shard takes in the index of the shard.
const INDEX_BYTES: u64 = 32;

/// Fails unless a check with `threads` threads fits in `limit_bytes`. The manifest must be possible.
pub(super) fn require(
    manifest: &Manifest,
    threads: usize,
    limit_bytes: u64,
) -> Result<(), DatasetError> {
    let needed_bytes = needed(manifest, threads);
    if needed_bytes <= limit_bytes {
        return Ok(());
    }
    Err(DatasetError::CheckMemory {
        limit_bytes,
        needed_bytes,
        threads,
    })
}

fn needed(manifest: &Manifest, threads: usize) -> u64 {
    let entries = manifest.shards.len() + manifest.boxes.len() + manifest.files.len();
    let splits = || manifest.splits.values();
    let rows = splits().map(|s| s.samples).max().unwrap_or(0);
    let unordered = manifest.order_of_plan.as_ref().map_or(0, |_| rows);
    let shard_samples = splits().map(|s| s.shard_samples.min(s.samples)).max();
    let sample_bytes = manifest.arrays.values().map(|a| {
        let values = a
            .sample_shape
            .iter()
            .fold(1, |n: u64, k| n.saturating_mul(*k));
        values.saturating_mul(a.data_type.size_bytes() as u64)
    });
    // A piece that is read, the bytes before it, and a sample in all its forms.
    let of_thread = (2 * PIECE_BYTES)
        .saturating_add(sample_bytes.max().unwrap_or(0).saturating_mul(4))
        .saturating_add(shard_samples.unwrap_or(0).saturating_mul(INDEX_BYTES));
    BASE_BYTES
        .saturating_add(entries as u64 * ENTRY_BYTES)
        .saturating_add(rows.min(BATCH_ROWS) * ROW_BYTES)
        .saturating_add(unordered.saturating_mul(UNORDERED_BYTES))
        .saturating_add(rows.min(MAX_DIGESTS) * DIGEST_BYTES)
        .saturating_add(of_thread.saturating_mul(threads as u64))
}

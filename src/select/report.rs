//! What was read before the plan was final.

use crate::blocks::CacheStats;

/// What was read before the plan was final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectReport {
    /// Different source chunks that searches and windows touched.
    pub chunks_touched: u64,
    /// What the block cache did.
    pub cache: CacheStats,
}

impl SelectReport {
    /// The report of a pass.
    pub(super) fn of(cache: CacheStats) -> Self {
        Self {
            // Missing chunks take no memory, so that they are never evicted.
            chunks_touched: cache.fetched + cache.missing - cache.repeated,
            cache,
        }
    }
}

//! How many windows are done.

use std::sync::atomic::AtomicU64;

/// How far an extraction has come. Any thread may read it while the extraction runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Windows (samples times arrays) to cut.
    pub windows_total: AtomicU64,
    /// Windows that are done, including those of earlier runs.
    pub windows_done: AtomicU64,
}

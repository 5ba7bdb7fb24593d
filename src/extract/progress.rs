//! How many windows are done.

use std::sync::atomic::AtomicU64;

/// How far extraction is; counted while it runs, for whoever looks.
#[derive(Debug, Default)]
pub struct Progress {
    /// Windows (samples times arrays) to cut.
    pub windows_total: AtomicU64,
    /// Windows that are done, those of earlier runs included.
    pub windows_done: AtomicU64,
}

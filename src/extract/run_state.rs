//! What the threads of one extraction share.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::error::ExtractError;
use super::piece::SparePieces;
use super::progress::Progress;
use super::target::Target;
use super::window::WindowCutter;
use crate::dataset::ShardId;
use crate::storage::StoppableWork;

/// What all threads share.
pub(super) struct RunState<'a> {
    pub cutter: WindowCutter<'a>,
    pub target: Target<'a>,
    /// The shards of this run, in the order in which work on them begins.
    pub todo: &'a [ShardId],
    pub progress: &'a Progress,
    pub spare_pieces: SparePieces,
    /// The first error of a thread. The other threads stop at the next window.
    pub failure: OnceLock<ExtractError>,
    /// Shards that are not replaced, because they would have other bytes. They stop no thread: all others are replaced.
    pub refused: Mutex<Vec<ShardId>>,
    /// An error that is only a consequence of another one.
    pub stopped: OnceLock<ExtractError>,
    /// Stops the threads that wait for servers.
    pub work: StoppableWork,
}

impl RunState<'_> {
    pub fn refuse(&self, id: ShardId) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.push(id);
    }

    /// The error about the shards that were not replaced, if there are any.
    pub fn refusal(&self) -> Option<ExtractError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let first = refused.iter().min()?;
        let array = &self.cutter.plan.arrays[first.array].name;
        Some(ExtractError::OtherBytes {
            shard: self.target.layout.shard_path(*first),
            others: refused.len() - 1,
            layer: self.cutter.plan.config.arrays[array].layer.clone(),
        })
    }

    /// Whether a thread failed, so that the others stop.
    pub fn has_failed(&self) -> bool {
        self.failure.get().is_some() || self.work.is_stopped()
    }

    /// Stops the other threads where `result` is an error. The first error is kept: later ones may be its consequences.
    pub fn note_failure<T>(&self, result: Result<T, ExtractError>) -> Option<T> {
        let noted = result.map_err(|e| {
            if e.is_stopped() {
                self.stopped.set(e)
            } else {
                self.failure.set(e)
            }
        });
        noted.inspect_err(|_| self.work.stop()).ok()
    }
}

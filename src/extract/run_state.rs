//! What the threads of one extraction share.

use std::sync::OnceLock;

use super::error::ExtractError;
use super::progress::Progress;
use super::window::WindowCutter;
use crate::dataset::{Layout, Output, ShardId};
use crate::storage::Together;

/// What all threads share.
pub(super) struct RunState<'a> {
    pub cutter: WindowCutter<'a>,
    pub layout: &'a Layout,
    pub output: &'a Output,
    /// The shards of this run, in the order in which work on them begins.
    pub todo: &'a [ShardId],
    pub progress: &'a Progress,
    /// The first failure of a thread: the others stop at the next window.
    pub failure: OnceLock<ExtractError>,
    /// A failure that only follows from another one.
    pub stopped: OnceLock<ExtractError>,
    /// Those who wait for servers stop at once.
    pub together: Together,
}

impl RunState<'_> {
    /// Whether a thread failed, so that the others stop.
    pub fn has_failed(&self) -> bool {
        self.failure.get().is_some() || self.together.is_stopped()
    }

    /// Tells the other threads to stop where `result` is an error. The first is the one that is told: later ones may
    /// follow from it.
    pub fn note_failure<T>(&self, result: Result<T, ExtractError>) -> Option<T> {
        let noted = result.map_err(|e| match e.is_stopped() {
            true => self.stopped.set(e),
            false => self.failure.set(e),
        });
        noted.inspect_err(|_| self.together.stop()).ok()
    }
}

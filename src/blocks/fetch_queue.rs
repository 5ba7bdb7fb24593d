//! What is to be fetched ahead, and the work of the threads that do it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::cache::BlockCache;
use super::uses::BlockKey;

/// What is to be fetched. Closed, nothing of it will be.
#[derive(Default)]
pub(super) struct FetchQueue {
    state: Mutex<FetchQueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct FetchQueueState {
    work: VecDeque<FetchTask>,
    closed: bool,
}

/// Something to fetch.
pub(super) enum FetchTask {
    /// Blocks of one group, to be split into runs.
    ChunkGroup(Vec<BlockKey>),
    /// Blocks that one request reads.
    Run(Vec<BlockKey>),
}

impl FetchQueue {
    pub fn add(&self, work: impl IntoIterator<Item = FetchTask>) {
        self.lock().work.extend(work);
        self.changed.notify_all();
    }

    /// Adds what is to be fetched before all that waits.
    fn add_first(&self, work: impl DoubleEndedIterator<Item = FetchTask>) {
        let mut state = self.lock();
        work.rev().for_each(|w| state.work.push_front(w));
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the next piece of work; `None` when there will be none.
    fn next(&self) -> Option<FetchTask> {
        let mut state = self.lock();
        while !state.closed {
            match state.work.pop_front() {
                Some(work) => return Some(work),
                None => state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner()),
            }
        }
        None
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, FetchQueueState> {
        // Every change below the lock is complete.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Fetches until the queue is closed, or a block cannot be had that somebody will need: `false`.
    pub fn work(&self, cache: &BlockCache<'_>) -> bool {
        while let Some(work) = self.next() {
            let run = match work {
                FetchTask::Run(run) => run,
                FetchTask::ChunkGroup(group) => {
                    let mut runs = cache.runs(group).into_iter();
                    let Some(first) = runs.next() else { continue };
                    self.add_first(runs.map(FetchTask::Run));
                    first
                }
            };
            if !cache.prefetch_run(&run) {
                return false;
            }
        }
        true
    }
}

//! Blocks that wait to be prefetched, and the loop of the threads that fetch them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::cache::BlockCache;
use super::uses::BlockKey;

/// What is to be fetched. After it is closed, nothing more is.
#[derive(Default)]
pub(super) struct FetchQueue {
    state: Mutex<FetchQueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct FetchQueueState {
    tasks: VecDeque<FetchTask>,
    is_closed: bool,
}

/// Something to fetch.
pub(super) enum FetchTask {
    /// Blocks of one chunk group, to be split into runs.
    ChunkGroup(Vec<BlockKey>),
    /// Blocks that one request reads.
    Run(Vec<BlockKey>),
}

impl FetchQueue {
    /// Adds tasks behind all others.
    pub fn add(&self, tasks: impl IntoIterator<Item = FetchTask>) {
        self.lock().tasks.extend(tasks);
        self.changed.notify_all();
    }

    /// Adds tasks before all others.
    fn add_first(&self, tasks: impl DoubleEndedIterator<Item = FetchTask>) {
        let mut state = self.lock();
        tasks.rev().for_each(|task| state.tasks.push_front(task));
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the next task. `None` after the queue was closed.
    fn next(&self) -> Option<FetchTask> {
        let mut state = self.lock();
        while !state.is_closed {
            match state.tasks.pop_front() {
                Some(task) => return Some(task),
                None => state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner()),
            }
        }
        None
    }

    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, FetchQueueState> {
        // Every change below the lock is complete.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Fetches until the queue is closed, or until a fetch fails: `false`.
    pub fn fetch_all(&self, cache: &BlockCache<'_>) -> bool {
        while let Some(task) = self.next() {
            let run = match task {
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

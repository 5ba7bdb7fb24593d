//! Reading ahead: where sources are far away, blocks are fetched by threads that do nothing else while others
//! compute. Each unit announces the blocks of its next windows, and the first blocks of the unit that begins next.
//! Announced blocks that lie side by side in a shard file are read with one request.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::Scope;

use crate::storage::Network;
use crate::volume::{BlockCache, BlockKey};

/// What is to be fetched. Closed, nothing of it will be.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    work: VecDeque<Work>,
    closed: bool,
}

/// Something to fetch.
enum Work {
    /// Blocks of one shelf, to be split into runs.
    Shelf(Vec<BlockKey>),
    /// Blocks that one request reads.
    Run(Vec<BlockKey>),
}

impl Queue {
    fn add(&self, work: impl IntoIterator<Item = Work>) {
        self.lock().work.extend(work);
        self.changed.notify_all();
    }

    /// Adds what is to be fetched before all that waits.
    fn add_first(&self, work: impl DoubleEndedIterator<Item = Work>) {
        let mut state = self.lock();
        work.rev().for_each(|w| state.work.push_front(w));
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the next piece of work; `None` when there will be none.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        while !state.closed {
            match state.work.pop_front() {
                Some(work) => return Some(work),
                None => state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner()),
            }
        }
        None
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Every change below the lock is complete.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Fetches until the queue is closed.
    fn work(&self, cache: &BlockCache<'_>) {
        while let Some(work) = self.next() {
            let run = match work {
                Work::Run(run) => run,
                Work::Shelf(shelf) => {
                    let mut runs = cache.runs(shelf).into_iter();
                    let Some(first) = runs.next() else { continue };
                    self.add_first(runs.map(Work::Run));
                    first
                }
            };
            cache.fetch_announced(&run);
        }
    }
}

/// Where blocks are announced. Without far sources it does nothing.
pub(super) struct ReadAhead<'scope> {
    queue: Option<&'scope Queue>,
    depth: usize,
    next_unit: AtomicUsize,
}

/// How far one unit has announced its blocks.
pub(super) struct Announced {
    /// Every block of the unit, in the order of first use.
    order: Vec<BlockKey>,
    sent: usize,
}

impl<'scope> ReadAhead<'scope> {
    /// For sources near by.
    pub(super) fn none() -> Self {
        Self {
            queue: None,
            depth: 0,
            next_unit: AtomicUsize::new(0),
        }
    }

    /// Starts the fetching threads. They end when this is dropped.
    ///
    /// `spare_bytes` is what stored blocks may take that are fetched but not yet needed, all threads together.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        cache: &'scope BlockCache<'_>,
        queue: &'scope Queue,
        block_bytes: u64,
        spare_bytes: u64,
    ) -> Self {
        let requests = Network::chosen().requests;
        for _ in 0..requests {
            scope.spawn(|| queue.work(cache));
        }
        let threads = rayon::current_num_threads() as u64;
        let depth = spare_bytes / (threads * block_bytes.max(1));
        // Twice what can be in flight, so that no request waits for a thread that computes.
        let enough = (2 * requests as u64).div_ceil(threads);
        Self {
            queue: Some(queue),
            depth: depth.clamp(1, enough) as usize,
            next_unit: AtomicUsize::new(0),
        }
    }

    /// Whether announcing does anything.
    pub(super) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// The unit `number` begins; `order` has its blocks in the order of first use.
    pub(super) fn begin(&self, number: usize, order: Vec<BlockKey>) -> Announced {
        self.next_unit.fetch_max(number + 1, Ordering::Relaxed);
        Announced { order, sent: 0 }
    }

    /// The first unit that has not begun and that nobody has claimed yet.
    pub(super) fn claim_next_unit(&self) -> usize {
        self.next_unit.fetch_add(1, Ordering::Relaxed)
    }

    /// Announces what comes next after `used` different blocks of the unit were used: several at a time, so that
    /// neighbours come together.
    pub(super) fn advance(&self, cache: &BlockCache<'_>, unit: &mut Announced, used: usize) {
        let end = unit.order.len();
        let until = (used + self.depth).min(end);
        if until == end || until - unit.sent.min(until) > self.depth / 2 {
            self.announce(
                cache,
                unit.order[unit.sent.min(until)..until].iter().copied(),
            );
            unit.sent = unit.sent.max(until);
        }
    }

    /// Announces the first of `blocks`, which may repeat, of a unit that has not begun.
    pub(super) fn announce_first(
        &self,
        cache: &BlockCache<'_>,
        blocks: impl Iterator<Item = BlockKey>,
    ) {
        let mut seen = HashSet::new();
        let different = blocks.filter(|key| seen.insert(*key));
        self.announce(cache, different.take(self.depth));
    }

    /// Most blocks that a computing thread is ahead of itself.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    fn announce(&self, cache: &BlockCache<'_>, blocks: impl Iterator<Item = BlockKey>) {
        if let Some(queue) = self.queue {
            let new = cache.shelves(blocks.filter(|key| cache.announce(*key)));
            queue.add(new.into_iter().map(Work::Shelf));
        }
    }
}

impl Drop for ReadAhead<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue {
            queue.close();
        }
    }
}

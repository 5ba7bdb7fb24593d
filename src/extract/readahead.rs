//! Reading ahead: where sources are far away, blocks are fetched by threads that do nothing else while others
//! compute. Each unit announces the blocks of its next windows, and the first blocks of the unit that begins next.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread::Scope;

use crate::storage::Network;
use crate::volume::{BlockCache, BlockKey};

/// Most blocks that each computing thread is ahead of itself.
const DEPTH: usize = 32;

/// Where blocks are announced. Cheap to share; without far sources it does nothing.
pub(super) struct ReadAhead {
    queue: Option<mpsc::Sender<BlockKey>>,
    depth: usize,
    next_unit: AtomicUsize,
}

/// How far one unit has announced its blocks.
pub(super) struct Announced {
    /// Every block of the unit, in the order of first use.
    order: Vec<BlockKey>,
    sent: usize,
}

impl ReadAhead {
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
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        cache: &'scope BlockCache<'_>,
        sender: mpsc::Sender<BlockKey>,
        receiver: &'scope Mutex<mpsc::Receiver<BlockKey>>,
        block_bytes: u64,
        spare_bytes: u64,
    ) -> Self {
        for _ in 0..Network::chosen().requests {
            scope.spawn(move || {
                let next = || receiver.lock().ok()?.recv().ok();
                while let Some(key) = next() {
                    cache.fetch_announced(key);
                }
            });
        }
        let threads = rayon::current_num_threads() as u64;
        let depth = spare_bytes / (threads * block_bytes.max(1));
        Self {
            queue: Some(sender),
            depth: (depth as usize).clamp(1, DEPTH),
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

    /// Announces what comes next after `used` different blocks of the unit were used.
    pub(super) fn advance(&self, cache: &BlockCache<'_>, unit: &mut Announced, used: usize) {
        let until = (used + self.depth).min(unit.order.len());
        while unit.sent < until {
            self.announce(cache, unit.order[unit.sent]);
            unit.sent += 1;
        }
    }

    /// Announces the first of `blocks`, which may repeat, of a unit that has not begun.
    pub(super) fn announce_first(
        &self,
        cache: &BlockCache<'_>,
        blocks: impl Iterator<Item = BlockKey>,
    ) {
        let mut seen = HashSet::new();
        for key in blocks.filter(|key| seen.insert(*key)).take(self.depth) {
            self.announce(cache, key);
        }
    }

    /// Most blocks that a computing thread is ahead of itself.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    fn announce(&self, cache: &BlockCache<'_>, key: BlockKey) {
        if let Some(queue) = &self.queue
            && cache.announce(key)
        {
            // Nobody receives only when the run is over.
            let _ = queue.send(key);
        }
    }
}

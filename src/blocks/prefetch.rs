//! Reading ahead. Each unit announces the blocks of its next windows, and the first blocks of the unit that begins next.
//!
//! Where sources are far away, announced blocks are fetched by threads that do nothing else while others compute; those
//! that lie side by side in a shard file are read with one request. Where all are near, the disk is told to begin:
//! the thread that needs a block then finds it in memory, or at least on its way.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use super::cache::BlockCache;
use super::fetch_queue::{FetchQueue, FetchTask};
use super::uses::BlockKey;
use crate::storage::{Network, Together};

/// How many blocks a computing thread is ahead of itself where sources are near.
const NEAR_DEPTH: usize = 64;

/// Where blocks are announced.
pub(crate) struct Prefetcher<'scope> {
    /// For far sources.
    queue: Option<&'scope FetchQueue>,
    depth: usize,
    next_unit: AtomicUsize,
}

/// How far one unit has announced its blocks.
pub(crate) struct UnitPrefetch {
    /// Every block of the unit, in the order of first use.
    order: Vec<BlockKey>,
    sent: usize,
}

impl UnitPrefetch {
    /// Whether there is nothing left to announce.
    pub(crate) fn is_complete(&self) -> bool {
        self.sent == self.order.len()
    }
}

/// Calls `work` with a place to announce the blocks that it will need. Those of far sources are fetched by threads
/// that end with it and are a part of `together`; what they fetch takes a quarter of the cache's `budget_bytes` at most.
pub(crate) fn with_prefetcher<T>(
    cache: &BlockCache<'_>,
    block_bytes: u64,
    budget_bytes: u64,
    together: &Together,
    work: impl FnOnce(&Prefetcher<'_>) -> T,
) -> T {
    if !cache.is_remote() {
        return work(&Prefetcher::near());
    }
    let queue = &FetchQueue::default();
    std::thread::scope(|scope| {
        let prefetcher = Prefetcher::start(queue, block_bytes, budget_bytes / 4, || {
            let fetch = || {
                if !together.run(|| queue.work(cache)) {
                    together.stop();
                }
            };
            Builder::new().spawn_scoped(scope, fetch).map(drop)
        });
        work(&prefetcher)
    })
}

impl<'scope> Prefetcher<'scope> {
    /// For sources near by.
    fn near() -> Self {
        Self {
            queue: None,
            depth: NEAR_DEPTH,
            next_unit: AtomicUsize::new(0),
        }
    }

    /// For sources far away. Starts the fetching threads, each by calling `spawn`, whose thread does
    /// [`FetchQueue::work`]; they end when this is dropped. Where the system gives fewer threads than there may be requests,
    /// these do; where it gives none, nothing is fetched ahead.
    ///
    /// `spare_bytes` is what stored blocks may take that are fetched but not yet needed, all threads together.
    fn start(
        queue: &'scope FetchQueue,
        block_bytes: u64,
        spare_bytes: u64,
        spawn: impl Fn() -> std::io::Result<()>,
    ) -> Self {
        let requests = Network::chosen().requests;
        let threads = rayon::current_num_threads() as u64;
        let depth = spare_bytes / (threads * block_bytes.max(1));
        // Twice what can be in flight, so that no request waits for a thread that computes.
        let enough = (2 * requests as u64).div_ceil(threads);
        // Made first, so that the threads that are started come to an end whatever happens to the others.
        let prefetcher = Self {
            queue: Some(queue),
            depth: depth.clamp(1, enough) as usize,
            next_unit: AtomicUsize::new(0),
        };
        let started = (0..requests).take_while(|_| spawn().is_ok()).count();
        match started {
            0 => Self::near(),
            _ => prefetcher,
        }
    }

    /// The unit `number` begins; `order` has its blocks in the order of first use.
    pub(crate) fn begin(&self, number: usize, order: Vec<BlockKey>) -> UnitPrefetch {
        self.next_unit.fetch_max(number + 1, Ordering::Relaxed);
        UnitPrefetch { order, sent: 0 }
    }

    /// Announces what comes next after `used` different blocks of the unit were used: several at a time, so that
    /// neighbours come together.
    pub(crate) fn advance(&self, cache: &BlockCache<'_>, unit: &mut UnitPrefetch, used: usize) {
        let end = unit.order.len();
        let until = (used + self.depth).min(end);
        if until == end || until - unit.sent.min(until) > self.depth / 2 {
            self.queue_prefetch(
                cache,
                unit.order[unit.sent.min(until)..until].iter().copied(),
            );
            unit.sent = unit.sent.max(until);
        }
    }

    /// Announces the first blocks of the next unit that nobody has begun, so that whoever begins it finds them.
    /// `windows` has the blocks of each of its windows; of a unit that there is not, none.
    pub(crate) fn prefetch_next_unit<W, B>(
        &self,
        cache: &BlockCache<'_>,
        windows: impl FnOnce(usize) -> W,
    ) where
        W: Iterator<Item = B>,
        B: Iterator<Item = BlockKey>,
    {
        let next = self.next_unit.fetch_add(1, Ordering::Relaxed);
        // No window is without blocks, but for those outside of their volume.
        let blocks = windows(next).take(self.depth).flatten();
        let mut seen = HashSet::new();
        let different = blocks.filter(|key| seen.insert(*key));
        self.queue_prefetch(cache, different.take(self.depth));
    }

    fn queue_prefetch(&self, cache: &BlockCache<'_>, blocks: impl Iterator<Item = BlockKey>) {
        let new = blocks.filter(|key| cache.queue_prefetch(*key));
        match self.queue {
            Some(queue) => queue.add(
                cache
                    .chunk_groups(new)
                    .into_iter()
                    .map(FetchTask::ChunkGroup),
            ),
            None => new.for_each(|key| cache.prefetch(key)),
        }
    }
}

impl Drop for Prefetcher<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue {
            queue.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::blocks::BlockUses;
    use crate::data_type::{DataType, Scalar};
    use crate::geometry::{Resolution, VoxelBox};
    use crate::volume::{BlockGrid, BlockIndex, EncodedBlock, Volume, VolumeError, VolumeMeta};

    /// Notes what it is told.
    #[derive(Debug)]
    struct Near(VolumeMeta, Mutex<Vec<u64>>);

    impl Volume for Near {
        fn describe(&self) -> String {
            "near".into()
        }
        fn describe_block(&self, block: BlockIndex) -> String {
            block[0].to_string()
        }
        fn meta(&self) -> &VolumeMeta {
            &self.0
        }
        fn digest(&self) -> blake3::Hash {
            blake3::hash(b"near")
        }
        fn fetch(&self, _: BlockIndex, _: &mut EncodedBlock) -> Result<bool, VolumeError> {
            Ok(false)
        }
        fn prefetch(&self, block: BlockIndex) {
            self.1.lock().unwrap().push(block[0]);
        }
        fn decode(
            &self,
            _: BlockIndex,
            _: &mut EncodedBlock,
            _: &mut Vec<u8>,
        ) -> Result<(), VolumeError> {
            Ok(())
        }
    }

    #[test]
    fn fewer_threads_than_asked_for_fetch_and_come_to_an_end() {
        let refuse = || Err(std::io::ErrorKind::WouldBlock.into());
        for given in [0, 1, 3] {
            let queue = FetchQueue::default();
            let (queue, started) = (&queue, &AtomicUsize::new(0));
            let cache = &BlockCache::new(&[], BlockUses::default(), 1 << 20);
            std::thread::scope(|scope| {
                let prefetcher = Prefetcher::start(queue, 8, 1 << 20, || {
                    if started.fetch_add(1, Ordering::Relaxed) == given {
                        return refuse();
                    }
                    scope.spawn(|| queue.work(cache));
                    Ok(())
                });
                assert_eq!(prefetcher.queue.is_some(), given > 0);
                // The scope ends when they do.
            });
            assert_eq!(started.load(Ordering::Relaxed), given + 1, "asked again");
        }
    }

    #[test]
    fn a_disk_is_told_of_every_block_once_and_in_time() {
        const BLOCKS: usize = 200;
        let bounds = VoxelBox {
            start: [0; 3],
            end: [8 * BLOCKS as i64, 1, 1],
        };
        let meta = VolumeMeta {
            data_type: DataType::UInt8,
            channels: 1,
            resolution: Resolution::new([1.0; 3]).unwrap(),
            grid: BlockGrid::new(bounds, [8, 1, 1]).unwrap(),
            fill_value: Scalar::ZERO,
        };
        let volume = Arc::new(Near(meta, Mutex::default()));
        let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
        let key = |block| BlockKey { volume: 0, block };
        let keys: Vec<_> = (0..BLOCKS as u64).map(key).collect();
        let uses = keys.iter().map(|key| (*key, 0)).collect();
        let cache = BlockCache::new(&volumes, BlockUses::new(uses), 1 << 20);
        let prefetcher = Prefetcher::near();
        // The unit before told the first ones.
        let first = |_| [&keys[..2], &keys[1..3]].into_iter();
        prefetcher.prefetch_next_unit(&cache, |unit| first(unit).map(|keys| keys.iter().copied()));
        assert_eq!(*volume.1.lock().unwrap(), [0, 1, 2]);
        let mut unit = prefetcher.begin(0, keys);
        for used in 0..=BLOCKS {
            prefetcher.advance(&cache, &mut unit, used);
            let told = volume.1.lock().unwrap().len();
            let (least, most) = (used + NEAR_DEPTH / 2, used + NEAR_DEPTH);
            assert!(
                (least.min(BLOCKS)..=most.min(BLOCKS)).contains(&told),
                "{used}: {told}"
            );
        }
        assert!(
            volume
                .1
                .lock()
                .unwrap()
                .iter()
                .copied()
                .eq(0..BLOCKS as u64)
        );
    }
}

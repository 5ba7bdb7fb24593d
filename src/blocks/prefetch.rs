//! Reading blocks before they are needed. Each unit prefetches the blocks of its next windows, and the first blocks of the
//! units that begin next.
//!
//! Blocks of volumes on servers and network file systems are fetched by threads that do nothing else while others compute; blocks that lie side by side
//! in a shard file are read with one request. Where all volumes are local, the disk starts to read: the thread
//! that needs a block then finds it in memory, or at least on its way.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use foldhash::fast::RandomState;

use super::cache::BlockCache;
use super::fetch_queue::{FetchQueue, FetchTask};
use super::uses::BlockKey;
use crate::storage::StoppableWork;

/// How many blocks each computing thread prefetches where all volumes are local.
const LOCAL_DEPTH: usize = 64;

/// Most units that are prefetched when one begins.
const UNITS_AT_ONCE: usize = 32;

/// Prefetches the blocks of all units.
pub(crate) struct Prefetcher<'scope> {
    /// `None` where all volumes are local.
    queue: Option<&'scope FetchQueue>,
    /// How many blocks each computing thread prefetches.
    depth: usize,
    ahead: Mutex<Ahead>,
}

/// Units that were prefetched before they began.
#[derive(Default)]
struct Ahead {
    /// The first unit that was neither begun nor prefetched.
    next_unit: usize,
    /// Units that have not begun, in order, each with the number of its blocks that are prefetched.
    units: VecDeque<(usize, usize)>,
}

/// How far one unit has prefetched its blocks.
pub(crate) struct UnitPrefetch {
    /// The blocks of the unit, in the order of first use.
    blocks: Vec<BlockKey>,
    /// How many of them there were when they were settled.
    settled: usize,
    /// How many of them are prefetched.
    prefetched: usize,
}

impl UnitPrefetch {
    /// Whether every block is prefetched.
    pub(crate) fn is_complete(&self) -> bool {
        self.prefetched == self.blocks.len()
    }

    /// Adds blocks that are used after all others. More may follow until [`UnitPrefetch::settle`]: then several are
    /// prefetched together.
    pub(crate) fn extend(&mut self, blocks: Vec<BlockKey>) {
        self.blocks.extend(blocks);
    }

    /// Notes that no more blocks follow, for now.
    pub(crate) fn settle(&mut self) {
        self.settled = self.blocks.len();
    }
}

/// Calls `work` with a prefetcher. Blocks of volumes on servers and network file systems are fetched by threads that end with
/// it, with at most `requests` requests at once. If one of them fails, it stops `stoppable`. What they fetch takes at most a quarter of the cache's `budget_bytes`.
pub(crate) fn with_prefetcher<T>(
    cache: &BlockCache<'_>,
    block_bytes: u64,
    budget_bytes: u64,
    requests: usize,
    stoppable: &StoppableWork,
    work: impl FnOnce(&Prefetcher<'_>) -> T,
) -> T {
    // Each fetch waits for this many operations, of which one is in progress.
    let fetches = requests * cache.round_trips();
    if fetches == 0 {
        return work(&Prefetcher::local());
    }
    let queue = &FetchQueue::default();
    std::thread::scope(|scope| {
        let prefetcher = Prefetcher::start(queue, fetches, block_bytes, budget_bytes / 4, || {
            let fetch = || {
                if !queue.fetch_all(cache) {
                    stoppable.stop();
                }
            };
            Builder::new().spawn_scoped(scope, fetch).map(drop)
        });
        work(&prefetcher)
    })
}

impl<'scope> Prefetcher<'scope> {
    /// A prefetcher for local volumes.
    fn local() -> Self {
        Self {
            queue: None,
            depth: LOCAL_DEPTH,
            ahead: Mutex::default(),
        }
    }

    /// A prefetcher for volumes on servers. Starts the fetching threads, each by calling `spawn`, whose thread runs
    /// [`FetchQueue::fetch_all`]. They end when this is dropped. Where the system gives fewer threads than there may be
    /// fetches, those must do; where it gives none, nothing is prefetched.
    ///
    /// `spare_bytes` is what prefetched blocks that are not needed yet may take, over all threads.
    fn start(
        queue: &'scope FetchQueue,
        fetches: usize,
        block_bytes: u64,
        spare_bytes: u64,
        spawn: impl Fn() -> std::io::Result<()>,
    ) -> Self {
        let threads = rayon::current_num_threads() as u64;
        let depth = spare_bytes / (threads * block_bytes.max(1));
        // Twice what can be in progress, so that no fetch waits for a thread that computes.
        let enough = (2 * fetches as u64).div_ceil(threads);
        // Created first: its drop ends the threads that were started, whatever happens to the others.
        let prefetcher = Self {
            queue: Some(queue),
            depth: depth.clamp(1, enough) as usize,
            ahead: Mutex::default(),
        };
        let started = (0..fetches).take_while(|_| spawn().is_ok()).count();
        match started {
            0 => Self::local(),
            _ => prefetcher,
        }
    }

    /// Begins the unit `number`; `blocks` are in the order of first use.
    pub(crate) fn begin_unit(&self, number: usize, blocks: Vec<BlockKey>) -> UnitPrefetch {
        let mut ahead = self.lock_ahead();
        ahead.next_unit = ahead.next_unit.max(number + 1);
        ahead.units.retain(|(unit, _)| *unit > number);
        drop(ahead);
        UnitPrefetch {
            settled: blocks.len(),
            blocks,
            prefetched: 0,
        }
    }

    /// Prefetches what comes next after `used` different blocks of the unit, on which `threads` threads work, were used.
    /// Several blocks go at a time, so that neighbours are fetched together.
    pub(crate) fn advance(
        &self,
        cache: &BlockCache<'_>,
        unit: &mut UnitPrefetch,
        used: usize,
        threads: usize,
    ) {
        let depth = self.depth * threads;
        let until = (used + depth).min(unit.blocks.len());
        let start = unit.prefetched.min(until);
        let is_rest = start < unit.settled && unit.settled <= until;
        if is_rest || until - start > depth / 2 {
            self.prefetch(cache, unit.blocks[start..until].iter().copied());
            unit.prefetched = unit.prefetched.max(until);
        }
    }

    /// Prefetches the first blocks of the next units that no thread has begun, so that they are there when those begin. Stops
    /// when the prefetched units have as many blocks as all threads together prefetch. `windows` gives the blocks of each of
    /// a unit's windows; `None` for a unit after the last one.
    pub(crate) fn prefetch_next_units<W, B>(
        &self,
        cache: &BlockCache<'_>,
        windows: impl Fn(usize) -> Option<W>,
    ) where
        W: Iterator<Item = B>,
        B: Iterator<Item = BlockKey>,
    {
        let enough = self.depth * rayon::current_num_threads();
        for _ in 0..UNITS_AT_ONCE {
            let mut ahead = self.lock_ahead();
            if ahead.units.iter().map(|(_, blocks)| blocks).sum::<usize>() >= enough {
                return;
            }
            let unit = ahead.next_unit;
            let Some(windows) = windows(unit) else {
                return;
            };
            // Only windows outside of their volume have no block.
            let blocks = windows.take(self.depth).flatten();
            let mut seen = HashSet::with_hasher(RandomState::default());
            let different = blocks.filter(|key| seen.insert(*key));
            let first: Vec<_> = different.take(self.depth).collect();
            ahead.next_unit += 1;
            ahead.units.push_back((unit, first.len()));
            drop(ahead);
            self.prefetch(cache, first.into_iter());
        }
    }

    fn lock_ahead(&self) -> MutexGuard<'_, Ahead> {
        // Every change below the lock is complete.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prefetch(&self, cache: &BlockCache<'_>, blocks: impl Iterator<Item = BlockKey>) {
        let new = blocks.filter(|key| cache.queue(*key));
        match self.queue {
            Some(queue) => {
                let groups = cache.chunk_groups(new).into_iter();
                queue.add(groups.map(FetchTask::ChunkGroup));
            }
            None => new.for_each(|key| cache.start_reading(key)),
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::blocks::BlockUses;
    use crate::data_type::{DataType, Scalar};
    use crate::geometry::{Resolution, VoxelBox};
    use crate::volume::{BlockGrid, BlockIndex, EncodedBlock, Volume, VolumeError, VolumeMeta};

    /// A local volume that notes which blocks are prefetched.
    #[derive(Debug)]
    struct LocalVolume(VolumeMeta, Mutex<Vec<u64>>);

    impl LocalVolume {
        /// A volume of this many blocks along x.
        fn of_blocks(blocks: usize) -> Arc<Self> {
            let bounds = VoxelBox {
                start: [0; 3],
                end: [8 * blocks as i64, 1, 1],
            };
            let meta = VolumeMeta {
                data_type: DataType::UInt8,
                channels: 1,
                resolution: Resolution::new([1.0; 3]).unwrap(),
                grid: BlockGrid::new(bounds, [8, 1, 1]).unwrap(),
                fill_value: Scalar::ZERO,
            };
            Arc::new(Self(meta, Mutex::default()))
        }
    }

    impl Volume for LocalVolume {
        fn describe(&self) -> String {
            "local".into()
        }
        fn describe_block(&self, block: BlockIndex) -> String {
            block[0].to_string()
        }
        fn meta(&self) -> &VolumeMeta {
            &self.0
        }
        fn digest(&self) -> blake3::Hash {
            blake3::hash(b"local")
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
    fn prefetching_works_with_fewer_threads_than_requests_and_they_end() {
        let no_thread = || Err(std::io::ErrorKind::WouldBlock.into());
        for available in [0, 1, 3] {
            let queue = FetchQueue::default();
            let (queue, started) = (&queue, &AtomicUsize::new(0));
            let cache = &BlockCache::new(&[], BlockUses::default(), 1 << 20);
            std::thread::scope(|scope| {
                let prefetcher = Prefetcher::start(queue, 64, 8, 1 << 20, || {
                    if started.fetch_add(1, Ordering::Relaxed) == available {
                        return no_thread();
                    }
                    scope.spawn(|| queue.fetch_all(cache));
                    Ok(())
                });
                assert_eq!(prefetcher.queue.is_some(), available > 0);
                // The scope ends when they do.
            });
            assert_eq!(
                started.load(Ordering::Relaxed),
                available + 1,
                "spawned again"
            );
        }
    }

    #[test]
    fn every_block_of_a_local_volume_is_prefetched_once_and_before_it_is_needed() {
        const BLOCKS: usize = 200;
        let volume = LocalVolume::of_blocks(BLOCKS);
        let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
        let key = |block| BlockKey { volume: 0, block };
        let keys: Vec<_> = (0..BLOCKS as u64).map(key).collect();
        let uses = keys.iter().map(|key| (*key, 0)).collect();
        let cache = BlockCache::new(&volumes, BlockUses::new(uses), 1 << 20);
        let prefetcher = Prefetcher::local();
        // The unit before prefetches the first ones.
        let first = |unit| (unit == 0).then(|| [&keys[..2], &keys[1..3]].into_iter());
        let blocks = |unit| first(unit).map(|w| w.map(|keys| keys.iter().copied()));
        prefetcher.prefetch_next_units(&cache, blocks);
        assert_eq!(*volume.1.lock().unwrap(), [0, 1, 2]);
        let mut unit = prefetcher.begin_unit(0, keys);
        for used in 0..=BLOCKS {
            prefetcher.advance(&cache, &mut unit, used, 1);
            let prefetched = volume.1.lock().unwrap().len();
            let (least, most) = (used + LOCAL_DEPTH / 2, used + LOCAL_DEPTH);
            assert!(
                (least.min(BLOCKS)..=most.min(BLOCKS)).contains(&prefetched),
                "{used}: {prefetched}"
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

    #[test]
    fn as_many_small_units_are_prefetched_as_have_enough_blocks() {
        let volume = LocalVolume::of_blocks(4000);
        let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
        let cache = BlockCache::new(&volumes, BlockUses::default(), 1 << 20);
        let prefetched = || volume.1.lock().unwrap().len();
        let key = |block| BlockKey { volume: 0, block };
        // Units of 8 blocks.
        let blocks = |unit: usize| {
            (unit < 400).then(|| (0..8).map(move |n| [key(8 * unit as u64 + n)].into_iter()))
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        pool.unwrap().install(|| {
            let prefetcher = Prefetcher::local();
            prefetcher.begin_unit(0, Vec::new());
            prefetcher.prefetch_next_units(&cache, blocks);
            assert_eq!(prefetched(), 2 * LOCAL_DEPTH);
            prefetcher.prefetch_next_units(&cache, blocks);
            assert_eq!(prefetched(), 2 * LOCAL_DEPTH);
            // Each unit that begins makes place for another one.
            prefetcher.begin_unit(2, Vec::new());
            prefetcher.prefetch_next_units(&cache, blocks);
            assert_eq!(prefetched(), 2 * LOCAL_DEPTH + 16);
            prefetcher.begin_unit(399, Vec::new());
            prefetcher.prefetch_next_units(&cache, blocks);
            assert_eq!(prefetched(), 2 * LOCAL_DEPTH + 16);
        });
    }

    #[test]
    fn blocks_that_are_added_are_prefetched_together_and_the_rest_when_they_are_settled() {
        let volume = LocalVolume::of_blocks(400);
        let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
        let keys = |blocks: std::ops::Range<u64>| -> Vec<_> {
            blocks.map(|block| BlockKey { volume: 0, block }).collect()
        };
        let uses = keys(0..400).into_iter().map(|key| (key, 0)).collect();
        let cache = BlockCache::new(&volumes, BlockUses::new(uses), 1 << 20);
        let prefetched = || volume.1.lock().unwrap().len() as u64;
        let prefetcher = Prefetcher::local();
        let mut unit = prefetcher.begin_unit(0, keys(0..4));
        prefetcher.advance(&cache, &mut unit, 1, 1);
        assert_eq!(prefetched(), 4);
        let half = LOCAL_DEPTH as u64 / 2;
        for n in 0..=half {
            assert_eq!(prefetched(), 4);
            unit.extend(keys(4 + n..5 + n));
            prefetcher.advance(&cache, &mut unit, 4, 1);
        }
        assert_eq!(prefetched(), 5 + half);
        unit.extend(keys(5 + half..7 + half));
        prefetcher.advance(&cache, &mut unit, 4, 1);
        assert_eq!(prefetched(), 5 + half);
        assert!(!unit.is_complete());
        unit.settle();
        prefetcher.advance(&cache, &mut unit, 4, 1);
        assert_eq!(prefetched(), 7 + half);
        assert!(unit.is_complete());
        assert!(volume.1.lock().unwrap().iter().copied().eq(0..7 + half));
    }
}

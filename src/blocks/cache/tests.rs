use super::*;
use crate::blocks::{BlockKey, BlockUses};
use crate::data_type::DataType;
use crate::geometry::{Resolution, VoxelBox};
use crate::volume::{BlockGrid, BlockIndex, VolumeMeta};
use std::sync::atomic::{AtomicU64, Ordering};

/// Blocks of 8 voxels along x. All values but the first are the block's number, see [`values`]. Multiples of 10 are missing,
/// 13 is damaged.
#[derive(Debug)]
pub(super) struct FakeVolume {
    meta: VolumeMeta,
    pub(super) fetches: AtomicU64,
}

impl FakeVolume {
    pub(super) fn new() -> Self {
        let bounds = VoxelBox {
            start: [0; 3],
            end: [8000, 1, 1],
        };
        Self {
            meta: VolumeMeta {
                data_type: DataType::UInt8,
                channels: 1,
                resolution: Resolution::new([1.0; 3]).unwrap(),
                grid: BlockGrid::new(bounds, [8, 1, 1]).unwrap(),
                fill_value: Scalar::ZERO,
            },
            fetches: AtomicU64::new(0),
        }
    }
}

impl Volume for FakeVolume {
    fn describe(&self) -> String {
        "fake".into()
    }
    fn describe_block(&self, block: BlockIndex) -> String {
        block[0].to_string()
    }
    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }
    fn digest(&self) -> blake3::Hash {
        blake3::hash(b"fake")
    }
    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        encoded.bytes = values(block[0]);
        Ok(!block[0].is_multiple_of(10))
    }
    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        values.clear();
        values.extend_from_slice(&encoded.bytes);
        match block[0] {
            13 => Err(VolumeError::Chunk {
                object: "13".into(),
                problem: "unlucky".into(),
            }),
            _ => Ok(()),
        }
    }
}

/// The values of a block. In blocks above 100 they are all equal.
pub(super) fn values(block: u64) -> Vec<u8> {
    let mut values = vec![block as u8; 8];
    if block <= 100 {
        values[0] = 0;
    }
    values
}

pub(super) fn key(block: u64) -> BlockKey {
    BlockKey { volume: 0, block }
}

pub(super) fn get(cache: &BlockCache<'_>, block: u64) -> Result<Option<Vec<u8>>, VolumeError> {
    let block = match cache.wait(key(block)) {
        Lookup::Ready(block) => block,
        Lookup::Claimed(claim) => claim.load(&mut EncodedBlock::default())?,
        Lookup::Busy => unreachable!("wait never returns Busy"),
    };
    Ok(match &*block {
        Block::Missing => None,
        Block::Uniform(value) => Some(value.bytes(1).repeat(8)),
        Block::Stored(values) => Some(values.clone()),
    })
}

fn with_cache(uses: Vec<(BlockKey, u32)>, budget: u64, test: impl FnOnce(&BlockCache<'_>)) {
    let volumes: [Arc<dyn Volume>; 1] = [Arc::new(FakeVolume::new())];
    test(&BlockCache::new(&volumes, BlockUses::new(uses), budget));
}

fn assert_empty(cache: &BlockCache<'_>) {
    for part in cache.parts.iter() {
        let state = part.lock();
        assert!(state.entries.is_empty() && state.released.is_empty());
    }
    assert_eq!(cache.memory.held_bytes(), 0);
}

/// The blocks in the cache, ascending.
fn blocks_in(cache: &BlockCache<'_>) -> Vec<u64> {
    let parts = cache.parts.iter().flat_map(|part| {
        let state = part.lock();
        state.entries.keys().map(|k| k.block).collect::<Vec<_>>()
    });
    let mut blocks: Vec<_> = parts.collect();
    blocks.sort();
    blocks
}

#[test]
fn a_block_is_loaded_once_and_dropped_after_its_last_unit() {
    with_cache(vec![(key(1), 0), (key(1), 1)], 1000, |cache| {
        assert_eq!(get(cache, 1).unwrap(), Some(values(1)));
        assert_eq!(get(cache, 1).unwrap(), Some(values(1)));
        cache.release(key(1));
        get(cache, 1).unwrap();
        assert_eq!((cache.stats().fetched, cache.stats().reused), (1, 2));
        cache.release(key(1));
        assert_empty(cache);
        assert_eq!(cache.stats().peak_bytes, 8);
    });
}

#[test]
fn a_missing_chunk_is_fetched_once() {
    with_cache(vec![(key(10), 0), (key(10), 1)], 1000, |cache| {
        assert_eq!(get(cache, 10).unwrap(), None);
        assert_eq!(get(cache, 10).unwrap(), None);
        let stats = cache.stats();
        assert_eq!((stats.missing, stats.fetched, stats.read_bytes), (1, 0, 0));
    });
}

#[test]
fn the_block_with_the_farthest_next_use_is_evicted_first() {
    // All used by unit 0, then 1 by unit 5, 2 by unit 9, 3 by unit 7.
    let uses = vec![
        (key(1), 5),
        (key(2), 9),
        (key(3), 7),
        (key(1), 0),
        (key(2), 0),
        (key(3), 0),
        (key(4), 0),
    ];
    with_cache(uses, 24, |cache| {
        for block in [1, 2, 3] {
            get(cache, block).unwrap();
            cache.release(key(block));
        }
        get(cache, 4).unwrap();
        assert_eq!(blocks_in(cache), [1, 3, 4]);
        assert_eq!(cache.stats().peak_bytes, 24);
        get(cache, 2).unwrap();
        assert_eq!(cache.stats().repeated, 1);
    });
}

#[test]
fn one_eviction_drops_several_blocks_with_the_farthest_next_use() {
    // 64 blocks fit. The higher a block's number, the farther its next use.
    let blocks: Vec<_> = (1..100).filter(|b| b % 10 != 0 && *b != 13).collect();
    let uses = blocks
        .iter()
        .flat_map(|b| [(key(*b), 0), (key(*b), *b as u32)]);
    with_cache(uses.collect(), 64 * 8, |cache| {
        let held = || blocks_in(cache);
        for block in &blocks[..64] {
            get(cache, *block).unwrap();
            cache.release(key(*block));
        }
        assert_eq!(held(), blocks[..64]);
        // One must be evicted, and a sixteenth of the budget is freed with it.
        get(cache, blocks[64]).unwrap();
        assert_eq!(held(), [&blocks[..59], &blocks[64..65]].concat());
        for block in &blocks[65..69] {
            get(cache, *block).unwrap();
        }
        assert_eq!(held(), [&blocks[..59], &blocks[64..69]].concat());
        assert_eq!(cache.stats().peak_bytes, 64 * 8);
    });
}

#[test]
fn a_block_that_is_being_read_is_never_evicted() {
    with_cache(vec![(key(1), 0), (key(2), 0)], 8, |cache| {
        let Lookup::Claimed(claim) = cache.lookup(key(1)) else {
            panic!()
        };
        let held = claim.load(&mut EncodedBlock::default()).unwrap();
        get(cache, 2).unwrap();
        assert!(
            matches!(cache.lookup(key(1)), Lookup::Ready(_)),
            "over budget, but in use"
        );
        drop(held);
    });
}

#[test]
fn a_damaged_block_is_an_error_at_each_lookup_and_takes_no_memory() {
    with_cache(vec![(key(13), 0)], 1000, |cache| {
        assert!(get(cache, 13).is_err());
        assert!(get(cache, 13).is_err());
        assert_eq!(cache.memory.held_bytes(), 0);
    });
}

#[test]
fn each_block_is_loaded_once_for_all_threads() {
    let uses = (1..100)
        .flat_map(|b| (0..4).map(move |u| (key(b), u)))
        .filter(|(k, _)| k.block != 13)
        .collect();
    let volume = Arc::new(FakeVolume::new());
    let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
    let cache = BlockCache::new(&volumes, BlockUses::new(uses), 10_000);
    std::thread::scope(|s| {
        for thread in 0..4u64 {
            let cache = &cache;
            s.spawn(move || {
                for i in 0..99 {
                    let block = (i + 25 * thread) % 99 + 1;
                    if block != 13 {
                        let expected = (!block.is_multiple_of(10)).then(|| values(block));
                        assert_eq!(get(cache, block).unwrap(), expected);
                        cache.release(key(block));
                    }
                }
            });
        }
    });
    assert_eq!(volume.fetches.load(Ordering::Relaxed), 98);
    assert_empty(&cache);
}

#[test]
fn a_prefetched_block_is_not_fetched_again() {
    let volume = Arc::new(FakeVolume::new());
    let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
    let cache = BlockCache::new(
        &volumes,
        BlockUses::new(vec![(key(1), 0), (key(10), 0)]),
        1000,
    );
    for block in [1, 10] {
        assert!(cache.queue(key(block)) && !cache.queue(key(block)));
        cache.prefetch_run(&[key(block)]);
        cache.prefetch_run(&[key(block)]);
    }
    assert_eq!(cache.memory.held_bytes(), 8);
    assert_eq!(get(&cache, 1).unwrap(), Some(values(1)));
    assert_eq!(get(&cache, 10).unwrap(), None);
    assert_eq!(volume.fetches.load(Ordering::Relaxed), 2);
    let stats = cache.stats();
    assert_eq!((stats.fetched, stats.missing, stats.read_bytes), (1, 1, 8));
    cache.release(key(1));
    cache.release(key(10));
    assert_empty(&cache);
    // A run whose blocks no unit needs any more is not fetched.
    cache.prefetch_run(&[key(1)]);
    assert_eq!(volume.fetches.load(Ordering::Relaxed), 2);
}

#[test]
fn a_queued_block_that_is_needed_first_is_loaded_at_once() {
    with_cache(vec![(key(1), 0)], 1000, |cache| {
        assert!(cache.queue(key(1)));
        assert_eq!(get(cache, 1).unwrap(), Some(values(1)));
        cache.prefetch_run(&[key(1)]);
        assert_eq!((cache.stats().fetched, cache.stats().peak_bytes), (1, 8));
    });
}

#[test]
fn the_error_of_a_prefetch_is_returned_at_the_next_lookup() {
    #[derive(Debug)]
    struct Broken(FakeVolume, AtomicU64);
    impl Volume for Broken {
        fn describe(&self) -> String {
            self.0.describe()
        }
        fn describe_block(&self, block: BlockIndex) -> String {
            self.0.describe_block(block)
        }
        fn meta(&self) -> &VolumeMeta {
            self.0.meta()
        }
        fn digest(&self) -> blake3::Hash {
            self.0.digest()
        }
        fn fetch(&self, _: BlockIndex, _: &mut EncodedBlock) -> Result<bool, VolumeError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Err(VolumeError::Chunk {
                object: "x".into(),
                problem: "no network".into(),
            })
        }
        fn decode(
            &self,
            _: BlockIndex,
            _: &mut EncodedBlock,
            _: &mut Vec<u8>,
        ) -> Result<(), VolumeError> {
            unreachable!("nothing is fetched")
        }
    }
    let volume = Arc::new(Broken(FakeVolume::new(), AtomicU64::new(0)));
    let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
    let cache = BlockCache::new(&volumes, BlockUses::new(vec![(key(1), 0)]), 1000);
    cache.queue(key(1));
    cache.prefetch_run(&[key(1)]);
    assert!(
        get(&cache, 1)
            .unwrap_err()
            .to_string()
            .contains("no network")
    );
    assert_eq!(
        volume.1.load(Ordering::Relaxed),
        1,
        "the failed fetch is not repeated"
    );
}

#[test]
fn a_uniform_block_takes_no_memory() {
    let uses = [1, 101, 102].map(|block| (key(block), 0)).to_vec();
    with_cache(uses, 1000, |cache| {
        for block in [101, 1, 102] {
            assert_eq!(get(cache, block).unwrap(), Some(values(block)));
        }
        let is_uniform = |block| {
            let block = key(block);
            match &cache.parts.of(block).lock().entries[&block].slot {
                Slot::Ready(block) => matches!(**block, Block::Uniform(_)),
                _ => false,
            }
        };
        assert!(is_uniform(101) && !is_uniform(1) && is_uniform(102));
        assert_eq!(cache.memory.held_bytes(), 8);
        for block in [1, 101, 102] {
            cache.release(key(block));
        }
        assert_empty(cache);
    });
}

#[test]
fn spare_buffers_and_blocks_together_are_within_the_budget() {
    with_cache((1..8).map(|b| (key(b), 0)).collect(), 24, |cache| {
        let memory = &cache.memory;
        let held = || (memory.held_bytes(), memory.spare_bytes());
        for block in [1, 2, 3] {
            get(cache, block).unwrap();
        }
        (1..=3).for_each(|block| cache.release(key(block)));
        assert_eq!(held(), (0, 24));
        get(cache, 4).unwrap();
        assert_eq!(held(), (8, 16), "a spare buffer is reused");
        cache.queue(key(5));
        cache.prefetch_run(&[key(5)]);
        assert_eq!(held(), (16, 8));
        get(cache, 5).unwrap();
        get(cache, 6).unwrap();
        assert_eq!(held(), (24, 0));
        memory.keep_spare(Vec::with_capacity(1000));
        assert_eq!(memory.take_spare(8).capacity(), 0, "far too large");
        assert!(memory.take_spare(900).capacity() >= 1000);
    });
}

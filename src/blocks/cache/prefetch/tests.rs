use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::blocks::BlockUses;
use crate::blocks::cache::tests::{FakeVolume, get, key, values};
use crate::volume::{BlockIndex, ChunkGroups, Volume, VolumeError, VolumeMeta};

/// Groups of 16 chunks; the even ones of a group lie side by side, the odd ones elsewhere. One request fetches a run, except
/// a run with block 35.
#[derive(Debug)]
struct Grouped(FakeVolume);

impl Volume for Grouped {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn describe_block(&self, block: BlockIndex) -> String {
        self.0.describe_block(block)
    }
    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        Some(Box::new(self))
    }
    fn meta(&self) -> &VolumeMeta {
        self.0.meta()
    }
    fn digest(&self) -> blake3::Hash {
        self.0.digest()
    }
    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        self.0.fetch(block, encoded)
    }
    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        self.0.decode(block, encoded, values)
    }
}

impl ChunkGroups for &Grouped {
    fn group_key(&self, block: BlockIndex) -> [u64; 2] {
        [0, block[0] / 16]
    }
    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        let (even, odd) = blocks.iter().partition(|b| b[0].is_multiple_of(2));
        vec![odd, even]
    }
    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError> {
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
        for (block, encoded) in run.iter().zip(encoded) {
            encoded.bytes = values(block[0]);
        }
        Ok(!run.contains(&[35, 0, 0]))
    }
}

fn keys(blocks: &[u64]) -> Vec<BlockKey> {
    blocks.iter().copied().map(key).collect()
}

#[test]
fn queued_neighbours_are_fetched_with_one_request() {
    let volume = Arc::new(Grouped(FakeVolume::new()));
    let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
    let blocks = [17, 2, 18, 19, 5, 22];
    let uses = blocks.iter().map(|b| (key(*b), 0)).collect();
    let cache = BlockCache::new(&volumes, BlockUses::new(uses), 1000);
    for block in blocks {
        assert!(cache.queue(key(block)));
    }
    let chunk_groups = cache.chunk_groups(keys(&blocks));
    assert_eq!(chunk_groups, [keys(&[17, 18, 19, 22]), keys(&[2, 5])]);
    let runs: Vec<_> = chunk_groups
        .into_iter()
        .flat_map(|s| cache.runs(s))
        .collect();
    assert_eq!(runs, [&[17, 19][..], &[18, 22], &[5], &[2]].map(keys));
    // A thread needs one block of a run before its turn: the run is fetched without it.
    assert_eq!(get(&cache, 18).unwrap(), Some(values(18)));
    for run in &runs {
        cache.prefetch_run(run);
    }
    assert_eq!(volume.0.fetches.load(Ordering::Relaxed), 5);
    for block in blocks {
        assert_eq!(get(&cache, block).unwrap(), Some(values(block)));
        cache.release(key(block));
    }
    assert_eq!(volume.0.fetches.load(Ordering::Relaxed), 5);
    assert_eq!(cache.memory.held_bytes(), 0);
}

#[test]
fn a_run_that_cannot_be_fetched_is_loaded_block_by_block_when_needed() {
    let volume = Arc::new(Grouped(FakeVolume::new()));
    let volumes: [Arc<dyn Volume>; 1] = [volume.clone()];
    let uses = [33, 35].map(|b| (key(b), 0)).to_vec();
    let cache = BlockCache::new(&volumes, BlockUses::new(uses), 1000);
    for block in [33, 35] {
        cache.queue(key(block));
    }
    cache.prefetch_run(&keys(&[33, 35]));
    assert_eq!(cache.memory.held_bytes(), 0);
    for block in [33, 35] {
        assert_eq!(get(&cache, block).unwrap(), Some(values(block)));
    }
    assert_eq!(volume.0.fetches.load(Ordering::Relaxed), 3);
}

#[test]
fn without_chunk_groups_each_block_is_a_run() {
    let volumes: [Arc<dyn Volume>; 1] = [Arc::new(FakeVolume::new())];
    let cache = BlockCache::new(&volumes, BlockUses::new(vec![]), 1000);
    assert_eq!(cache.chunk_groups(keys(&[4, 5])), [keys(&[4]), keys(&[5])]);
    assert_eq!(cache.runs(keys(&[4])), [keys(&[4])]);
}

//! Which chunks are prefetched before they are read.

use std::collections::HashSet;

use super::*;
use crate::storage::witness::{self, Seen};

/// Prefetching and reading are recorded per thread: here one thread does everything.
#[test]
fn every_chunk_of_a_shard_and_the_first_ones_of_the_next_shard_are_prefetched_before_they_are_read()
{
    let dir = tempfile::tempdir().unwrap();
    let Job {
        plan,
        sources,
        layout,
        ..
    } = job(dir.path(), |config| {
        config["shard_samples"] = json!(2);
        config["arrays"] = json!({"img": {"layer": "img"}});
    });
    let out = dir.path().join("out");
    let output = claim(&out, &layout);
    let present = PresentShards::find(&output, &layout, "plan", Trust::Size).unwrap();
    let todo = work_order(&plan.arrays, &layout);
    let uses = schedule::block_uses(&plan, &sources, &layout, &todo);
    let run = RunState {
        cutter: WindowCutter {
            plan: &plan,
            sources: &sources,
            cache: BlockCache::new(&sources.volumes, uses, 1 << 28),
        },
        target: Target {
            output: &output,
            layout: &layout,
            plan_digest: "plan",
            shards: &todo,
            present: &present,
        },
        todo: &todo,
        progress: &Progress::default(),
        spare_pieces: SparePieces::default(),
        failure: OnceLock::new(),
        refused: Mutex::default(),
        stopped: OnceLock::new(),
        work: sources.storage().begin_work(),
    };
    let mut scratch = PieceScratch::new().unwrap();
    witness::take();
    let block_bytes = sources.block_bytes();
    let cache = &run.cutter.cache;
    with_prefetcher(cache, block_bytes, 1 << 28, 64, &run.work, |prefetcher| {
        let shard = OpenShard::open(&run, prefetcher, 0).unwrap();
        for piece in 0..shard.pieces.count() {
            let cut = shard.cut_piece(prefetcher, piece, 1, &mut scratch);
            assert!(cut.unwrap().is_some());
        }
    });
    let seen = witness::take();
    let is_of = |path: &Path, chunk: &str| path.to_string_lossy().starts_with(chunk);
    let prefetched = |chunk: &str| {
        let mut seen = seen.iter();
        seen.position(|s| matches!(s, Seen::Prefetched(path, _) if is_of(path, chunk)))
    };
    let read = |chunk: &str| {
        let mut seen = seen.iter();
        seen.position(|s| matches!(s, Seen::Read(path, _) if is_of(path, chunk)))
    };
    let chunks = |id: ShardId| {
        let samples = schedule::samples(&plan, &layout, id).iter();
        let keys = samples.flat_map(|s| schedule::blocks(&plan, &sources, id.array, s));
        let volume = &sources.volumes[0];
        keys.map(|key| volume.describe_block(volume.meta().grid.block_from_linear(key.block)))
            .collect::<HashSet<_>>()
    };
    let (own, next) = (chunks(todo[0]), chunks(todo[1]));
    assert!(!own.is_empty() && !next.is_subset(&own));
    for chunk in &own {
        let (prefetched, read) = (prefetched(chunk), read(chunk));
        assert!(
            prefetched.is_some() && prefetched < read,
            "{chunk}: {prefetched:?}, {read:?}"
        );
    }
    for chunk in next.difference(&own) {
        assert!(prefetched(chunk).is_some(), "{chunk}");
    }
}

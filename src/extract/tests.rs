//! Jobs on the demo's collection.

#[cfg(target_os = "linux")]
mod costs;
mod prefetch;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::dataset::testing::claim;
use crate::dataset::{PresentShards, Trust};
use crate::demo;
use crate::job::Job;
use crate::plan::work_order;
use crate::storage::{BASE_BYTES, Storage};
use crate::volume::open_layer;

const MEMORY_BYTES: u64 = 1 << 30;

/// Writes the demo's collection, changes its config, and plans the job.
fn job(folder: &Path, change: impl Fn(&mut Value)) -> Job {
    let path = demo::testing::write_collection(folder);
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    Job::prepare(&path, MEMORY_BYTES, &Storage::default()).unwrap()
}

#[test]
fn after_a_shard_cannot_be_published_no_other_begins_and_the_first_error_is_returned() {
    let dir = tempfile::tempdir().unwrap();
    let Job {
        plan,
        sources,
        layout,
        ..
    } = job(dir.path(), |config| config["shard_samples"] = json!(1));
    let out = dir.path().join("out");
    let output = claim(&out, &layout);
    let todo = work_order(&plan.arrays, &layout);
    // More shards than are cut before the first one fails to be published: those with the publishers, those that wait for
    // them, and two per thread. A folder in its place lets a file be written, but not renamed.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let pool = pool.unwrap();
    let blocked = 2 * pool.install(publishers) + 4;
    assert!(todo.len() > 2 * blocked);
    for id in &todo[..blocked] {
        fs::create_dir_all(out.join(layout.shard_path(*id))).unwrap();
    }
    let progress = Progress::default();
    let failure = pool.install(|| {
        let target = Target {
            output: &output,
            layout: &layout,
            plan_digest: "plan",
            shards: &todo,
            present: &PresentShards::find(&output, &layout, "plan", Trust::Size).unwrap(),
        };
        run(&plan, &sources, target, MEMORY_BYTES, &progress).unwrap_err()
    });
    let message = failure.to_string();
    assert!(
        todo[..blocked]
            .iter()
            .any(|id| message.contains(&layout.shard_path(*id))),
        "{message}"
    );
    // A shard has one window.
    assert!(progress.windows_done.into_inner() <= blocked as u64);
}

#[test]
fn the_memory_of_threads_is_computed_from_blocks_before_conversion() {
    let dir = tempfile::tempdir().unwrap();
    let Job { plan, sources, .. } = job(dir.path(), |config| {
        config["arrays"] = json!({"mask": {"layer": "seg", "transform": "nonzero"}});
    });
    let source = &plan.sources[0];
    let seg = open_layer(
        &source.url,
        &source.resolution,
        &source.layer,
        sources.storage(),
    )
    .unwrap();
    let seg = seg.meta();
    let (wide, narrow) = (seg.data_type, sources.volumes[0].meta().data_type);
    assert!(wide.size_bytes() > 1 && narrow.size_bytes() == 1);
    let block_bytes = seg.block_bytes(&seg.grid.block_box([0; 3])) as u64;
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let needed = one.unwrap().install(|| cache_budget(&plan, &sources, 1));
    match needed {
        Err(ExtractError::Memory { needed_bytes, .. }) => {
            assert!(
                needed_bytes > BASE_BYTES + 3 * block_bytes,
                "{needed_bytes}"
            );
        }
        other => panic!("{other:?}"),
    }
}

//! Jobs on the demo's collection.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::demo;
use crate::job::Job;

const MEMORY_BYTES: u64 = 1 << 30;

/// Writes the demo's collection, changes its config, and plans the job.
fn job(folder: &Path, change: impl Fn(&mut Value)) -> Job {
    let path = demo::write_collection(folder).unwrap().config;
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    Job::prepare(&path, MEMORY_BYTES).unwrap()
}

#[test]
fn when_a_shard_cannot_be_published_no_more_are_begun_and_the_first_failure_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let Job {
        plan,
        sources,
        layout,
        ..
    } = job(dir.path(), |config| config["shard_samples"] = json!(1));
    let out = dir.path().join("out");
    let output = Output::claim(&out, sources.digest(&plan), &layout, false).unwrap();
    let todo = schedule::in_order(&plan, &layout);
    // More than are cut before the first is found not to be published: those with the publishers, those that
    // wait for them, and two per thread. A folder in its place lets a file be written, but not be named.
    const BLOCKED: usize = 2 * PUBLISHERS + 4;
    assert!(todo.len() > 2 * BLOCKED);
    for id in &todo[..BLOCKED] {
        fs::create_dir_all(out.join(layout.shard_path(*id))).unwrap();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let failure = pool.unwrap().install(|| {
        let progress = Progress::default();
        run(&plan, &sources, &layout, &output, MEMORY_BYTES, &progress).unwrap_err()
    });
    let told = failure.to_string();
    assert!(
        todo[..BLOCKED]
            .iter()
            .any(|id| told.contains(&layout.shard_path(*id))),
        "{told}"
    );
    // The folder of each shard is made when it is begun.
    let begun = todo[BLOCKED..].iter().filter(|id| {
        let path = out.join(layout.shard_path(**id));
        path.parent().unwrap().exists()
    });
    assert_eq!(begun.count(), 0);
}

//! Shared by the integration tests and tests in the library: the folder of test data, configs, and runs of jobs.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};

use pointshard::Progress;
use pointshard::{Job, JobError, Outcome, RunOptions, Storage};
use serde_json::{Value, json};

/// The folder of the shared data, or `None` if it is missing. In CI, it must not be missing.
pub fn shared_data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if data.is_dir() {
        return Some(data);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing",
        data.display()
    );
    eprintln!("skipped: {} is missing", data.display());
    None
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A config for the data in `shared/data/vnc`.
pub fn vnc_config(data: &Path) -> Value {
    json!({
        "collection": data.join("vnc/collection.json"),
        "resolution": [4.6, 4.6, 45.0],
        "window": [32, 32, 8],
        "points": { "layer": "points" },
        "arrays": {
            "img": { "layer": "img" },
            "label0": { "layer": "label0" },
            "label1": { "layer": "label1" }
        },
        "splits": { "train": ["train"], "val": ["val"] },
    })
}

/// Runs a job as the program does.
pub fn run(
    config: &Value,
    out: &Path,
    threads: usize,
    memory_bytes: u64,
) -> Result<Outcome, JobError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let options = RunOptions {
        memory_bytes,
        ..RunOptions::default()
    };
    pool.install(|| {
        Job::prepare(&file, memory_bytes, &Storage::default())?.run(
            out,
            options,
            &Progress::default(),
        )
    })
}

/// Plans the job of a config, without running it.
pub fn prepare(config: &Value) -> Result<Job, JobError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    Job::prepare(&file, 1 << 30, &Storage::default())
}

/// The bytes of all files below `folder`, by path.
pub fn tree(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

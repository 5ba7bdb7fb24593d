//! The demo's collection for tests. It is generated once per process, because that takes seconds, and kept in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Files, by their path relative to the collection.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// Writes the demo's collection to the folder `dir`, and returns the path of its config.
pub(crate) fn write_collection(dir: &Path) -> PathBuf {
    for (path, bytes) in files() {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir.join("config.json")
}

/// The files of the demo's collection, generated with three threads.
pub(super) fn files() -> &'static Files {
    static GENERATED: OnceLock<Files> = OnceLock::new();
    GENERATED.get_or_init(generate)
}

fn generate() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let written = pool
        .unwrap()
        .install(|| super::write_collection(folder.path()));
    written.unwrap();
    let mut files = Files::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder.path()).unwrap();
                files.push((relative.to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files
}

//! The contract of sinks in local folders, and what only they have.

use std::sync::Arc;

use super::*;
use crate::fault::{Fault, FaultKind};
use crate::storage::sink::contract::{Place, contents, contract_tests};
use crate::storage::{LocalStore, Store};

/// A new folder.
struct TestFolder(tempfile::TempDir);

fn local() -> Option<TestFolder> {
    Some(TestFolder(tempfile::tempdir().unwrap()))
}

impl TestFolder {
    fn root(&self) -> PathBuf {
        self.0.path().join("a/out put")
    }

    fn sink(&self) -> LocalSink {
        LocalSink::new(self.root())
    }
}

/// The temporary files below `folder`.
fn temporary_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(temporary_files(&entry.path()));
        } else if name.starts_with(TEMPORARY) {
            found.push(name);
        }
    }
    found
}

impl Place for TestFolder {
    fn open(&self) -> (Arc<dyn Sink>, Arc<dyn Store>) {
        (
            Arc::new(self.sink()),
            Arc::new(LocalStore::new(self.root())),
        )
    }

    fn location(&self) -> Location {
        Location::Local(self.root())
    }

    fn leftovers(&self) -> Vec<String> {
        temporary_files(self.0.path())
    }

    fn many_objects(&self) -> usize {
        1100
    }
}

mod folder {
    use super::*;

    contract_tests!(local);
}

#[test]
fn a_folder_that_was_removed_is_not_created_again() {
    let dir = local().unwrap();
    let sink = dir.sink();
    let removed = |result: Result<(), StorageError>| {
        let e = result.unwrap_err();
        assert!(matches!(e, StorageError::RootRemoved { .. }), "{e}");
        assert_eq!(e.kind(), FaultKind::Environment);
        assert!(!dir.root().exists());
    };
    removed(sink.put("a/b", b"1"));
    sink.create_root().unwrap();
    sink.put("a/b", b"1").unwrap();
    fs::remove_dir_all(dir.root()).unwrap();
    removed(sink.put("a/b", b"1"));
    removed(sink.put("a", b"1"));
    removed(sink.create_new("a/b", b"1").map(drop));
    removed(sink.begin("a/b").map(drop));
    removed(sink.register_writer("a/b", WriterAccess::Shared).map(drop));
    sink.delete("a/b").unwrap();
    sink.remove_abandoned("", Depth::All).unwrap();
    // Renamed while an object is written.
    sink.create_root().unwrap();
    let mut pending = sink.begin("a/b").unwrap();
    pending.write(b"1").unwrap();
    fs::rename(dir.root(), dir.0.path().join("moved")).unwrap();
    assert!(pending.commit().is_err());
    assert!(!dir.root().exists());
}

#[test]
fn a_folder_in_the_place_of_a_file_is_an_error_and_stays() {
    let dir = local().unwrap();
    let sink = dir.sink();
    sink.create_root().unwrap();
    sink.put("a/b/c", b"1").unwrap();
    let check = |result: Result<(), StorageError>| {
        let e = result.unwrap_err();
        let text = e.to_string();
        assert!(text.contains("out put/a/b"), "{text}");
        assert_eq!(e.kind(), FaultKind::Usage, "{e:?}");
        assert_eq!(fs::read(dir.root().join("a/b/c")).unwrap(), b"1");
        assert_eq!(temporary_files(dir.0.path()), Vec::<String>::new());
    };
    check(sink.put("a/b", b"2"));
    check(sink.begin("a/b").unwrap().commit());
    check(sink.delete("a/b"));
    check(sink.register_writer("a/b", WriterAccess::Shared).map(drop));
    // Something is there, so it is not new.
    assert!(!sink.create_new("a/b", b"2").unwrap());
    // A file in the place of a folder.
    sink.put("a/f", b"1").unwrap();
    let e = sink.put("a/f/g", b"2").unwrap_err();
    assert!(e.to_string().contains("a/f"), "{e}");
    assert_eq!(fs::read(dir.root().join("a/f")).unwrap(), b"1");
}

#[test]
fn a_file_system_that_does_not_permit_files_is_an_error_of_the_environment() {
    // Not even root may create files there.
    let sink = LocalSink::new("/sys/kernel".into());
    for e in [
        sink.put("x", b"1").unwrap_err(),
        sink.put("folder/x", b"1").unwrap_err(),
        sink.create_new("x", b"1").unwrap_err(),
        sink.begin("x").unwrap_err(),
        sink.register_writer("x", WriterAccess::Shared).unwrap_err(),
        LocalSink::new("/sys/kernel/new".into())
            .create_root()
            .unwrap_err(),
    ] {
        assert!(e.to_string().contains("/sys/kernel"), "{e}");
        assert_eq!(e.kind(), FaultKind::Environment, "{e:?}");
    }
}

#[test]
fn only_files_of_dead_writers_are_removed() {
    let dir = local().unwrap();
    let sink = dir.sink();
    sink.create_root().unwrap();
    sink.put("a/kept", b"1").unwrap();
    let mut alive = sink.begin("a/b/alive").unwrap();
    alive.write(b"1").unwrap();
    for dead in ["a/.writing-dead", "a/b/.writing-dead", ".writing-dead"] {
        fs::write(dir.root().join(dead), "1").unwrap();
    }
    sink.remove_abandoned("a", Depth::All).unwrap();
    assert_eq!(temporary_files(&dir.root().join("a")).len(), 1);
    assert!(dir.root().join(".writing-dead").exists());
    fs::write(dir.root().join("a/.writing-dead"), "1").unwrap();
    sink.remove_abandoned("", Depth::Folder).unwrap();
    assert!(!dir.root().join(".writing-dead").exists());
    assert!(dir.root().join("a/.writing-dead").exists());
    alive.commit().unwrap();
    assert_eq!(fs::read(dir.root().join("a/b/alive")).unwrap(), b"1");
    sink.remove_abandoned("", Depth::All).unwrap();
    assert_eq!(dir.leftovers(), Vec::<String>::new());
    assert_eq!(fs::read(dir.root().join("a/kept")).unwrap(), b"1");
}

#[test]
fn a_link_is_replaced_and_its_target_stays() {
    let dir = local().unwrap();
    let sink = dir.sink();
    sink.create_root().unwrap();
    let target = dir.0.path().join("target");
    fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, dir.root().join("a")).unwrap();
    assert!(!sink.create_new("a", b"1").unwrap());
    sink.put("a", b"1").unwrap();
    assert_eq!(contents(&LocalStore::new(dir.root()), "a").unwrap(), b"1");
    sink.delete("a").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"mine");
}

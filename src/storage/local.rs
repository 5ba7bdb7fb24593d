//! Access to the files below a local folder.

mod listing;

use std::io::ErrorKind;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::sync::OnceLock;

use super::kept_files::{KeptFiles, OpenedFile};
use super::network_file_system::network_file_system;
use super::{ListedObject, OpenObject, StorageError, Store, open_regular};

/// What a network file system does for one file, one after the other: it looks the name up, opens the file, and reads it.
const FILE_ROUND_TRIPS: usize = 3;

/// The files below one folder.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    /// The folder without symbolic links, if no link may lead out of it.
    confined_to: Option<PathBuf>,
    /// Files of which ranges were read.
    kept: KeptFiles,
    round_trips: OnceLock<usize>,
}

impl LocalStore {
    /// The files below `root`, which may not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            confined_to: None,
            kept: KeptFiles::new(),
            round_trips: OnceLock::new(),
        }
    }

    /// The files below `root`. It is an error to open a file through a symbolic link that leads out of it.
    pub(super) fn confined(root: PathBuf) -> Self {
        let real = std::fs::canonicalize(&root);
        Self {
            confined_to: Some(real.unwrap_or_else(|_| root.clone())),
            ..Self::new(root)
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        path_below(&self.root, key)
    }

    /// Opens a file. `None` if it is missing.
    fn open(&self, key: &str) -> Result<Option<OpenedFile>, StorageError> {
        let path = self.path(key)?;
        if let Some(root) = &self.confined_to {
            match std::fs::canonicalize(&path) {
                Ok(target) if !target.starts_with(root) => {
                    return Err(StorageError::LinkLeavesRoot {
                        object: path.display().to_string(),
                        target: target.display().to_string(),
                    });
                }
                Ok(_) => {}
                Err(e) if is_missing(&e) => return Ok(None),
                Err(e) => return Err(read_error(&path)(e)),
            }
        }
        match open_regular(&path) {
            Ok((file, size_bytes)) => Ok(Some(OpenedFile {
                file,
                path,
                size_bytes,
            })),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(read_error(&path)(e)),
        }
    }
}

impl OpenObject for OpenedFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let read = self.file.read_exact_at(into, offset);
        read.map_err(read_error(&self.path))
    }
}

/// The path of `key` below `root`.
pub(super) fn path_below(root: &Path, key: &str) -> Result<PathBuf, StorageError> {
    let inside = Path::new(key)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if inside && !key.is_empty() {
        Ok(root.join(key))
    } else {
        Err(StorageError::KeyLeavesRoot {
            key: key.to_owned(),
            root: root.display().to_string(),
        })
    }
}

/// `a/b` is also missing if `a` is a file.
fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn read_error(path: &Path) -> impl Fn(std::io::Error) -> StorageError {
    move |source| StorageError::Read {
        object: path.display().to_string(),
        source,
    }
}

/// Replaces the contents of `into` by the `length` bytes of the file from `start` on. Old contents are overwritten
/// without zeroing them first.
fn read_at(
    opened: &OpenedFile,
    start: u64,
    length: u64,
    into: &mut Vec<u8>,
) -> Result<(), StorageError> {
    into.resize(length as usize, 0);
    let read = opened.file.read_exact_at(into, start);
    read.map_err(read_error(&opened.path))
}

/// Linux prefetches at most the read-ahead size of the disk per call. This is the smallest common setting.
#[cfg(target_os = "linux")]
const ADVICE_BYTES: u64 = 128 << 10;

/// Lets the system read the part of `range` that is in the file, without waiting. On a network file system, pieces of a
/// large read arrive together then, not one after the other.
#[cfg(target_os = "linux")]
fn start_reading(opened: &OpenedFile, range: Range<u64>) {
    let Range { start, end } = range;
    for step in steps(start..end.min(opened.size_bytes)) {
        let length = (step.end - step.start).try_into().ok();
        let advice = rustix::fs::Advice::WillNeed;
        let _ = rustix::fs::fadvise(&opened.file, step.start, length, advice);
    }
}

#[cfg(not(target_os = "linux"))]
fn start_reading(_: &OpenedFile, _: Range<u64>) {}

/// Splits `range` into steps that Linux prefetches completely.
#[cfg(target_os = "linux")]
fn steps(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = range;
    let starts = (start..end).step_by(ADVICE_BYTES as usize);
    starts.map(move |start| start..end.min(start + ADVICE_BYTES))
}

impl Store for LocalStore {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        let Some(opened) = self.open(key)? else {
            into.clear();
            return Ok(false);
        };
        let size_bytes = opened.size_bytes;
        if size_bytes > limit_bytes {
            return Err(StorageError::TooLarge {
                object: opened.path.display().to_string(),
                found_bytes: size_bytes,
                limit_bytes,
            });
        }
        if self.has_latency() {
            start_reading(&opened, 0..size_bytes);
        }
        // The size comes from the file system, and is within the limit.
        read_at(&opened, 0, size_bytes, into)?;
        #[cfg(test)]
        witness::see(witness::Seen::Read(opened.path, None));
        Ok(true)
    }

    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        let Some(opened) = self.kept.get(key, || self.open(key))? else {
            into.clear();
            return Ok(false);
        };
        let Range { start, end } = range;
        if self.has_latency() {
            start_reading(&opened, start..end);
        }
        if opened.size_bytes < end || end < start {
            return Err(StorageError::TooShort {
                object: opened.path.display().to_string(),
                found_bytes: opened.size_bytes,
                start,
                end,
            });
        }
        read_at(&opened, start, end - start, into)?;
        #[cfg(test)]
        witness::see(witness::Seen::Read(opened.path.clone(), Some(start..end)));
        Ok(true)
    }

    /// Ignores errors: they are reported when the file is read.
    #[cfg(target_os = "linux")]
    fn prefetch(&self, key: &str, range: Option<Range<u64>>) -> bool {
        let opened = match range {
            Some(_) => self.kept.get(key, || self.open(key)),
            None => self.open(key).map(|opened| opened.map(Arc::new)),
        };
        let Ok(Some(opened)) = opened else {
            return false;
        };
        start_reading(&opened, range.clone().unwrap_or(0..opened.size_bytes));
        #[cfg(test)]
        witness::see(witness::Seen::Prefetched(self.root.join(key), range));
        true
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        Ok(self.open(key)?.map(|opened| opened.size_bytes))
    }

    fn open_object(&self, key: &str) -> Result<Option<Box<dyn OpenObject>>, StorageError> {
        let opened = self.open(key)?;
        Ok(opened.map(|opened| Box::new(opened) as Box<dyn OpenObject>))
    }

    fn list(
        &self,
        folder: &str,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        if !folder.is_empty() {
            let found = std::fs::symlink_metadata(self.path(folder)?);
            if found.is_ok_and(|found| !found.is_dir()) {
                // A link to a folder is not followed.
                let key = folder.to_owned();
                let _ = each(ListedObject {
                    key,
                    size_bytes: None,
                    modified_ms: None,
                });
                return Ok(());
            }
        }
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            if self.list_folder(&folder, &mut folders, each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn round_trips(&self) -> usize {
        *self.round_trips.get_or_init(|| {
            let is_local = network_file_system(&self.root).is_none();
            if is_local { 0 } else { FILE_ROUND_TRIPS }
        })
    }

    fn describe(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

/// Records prefetches and reads of this thread, for tests.
#[cfg(test)]
pub(crate) mod witness {
    use super::*;
    use std::cell::RefCell;

    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum Seen {
        Prefetched(PathBuf, Option<Range<u64>>),
        Read(PathBuf, Option<Range<u64>>),
    }

    thread_local! {
        static ALL: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn see(seen: Seen) {
        ALL.with_borrow_mut(|all| all.push(seen));
    }

    /// The events since the last call.
    pub(crate) fn take() -> Vec<Seen> {
        ALL.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), b"12345").unwrap();
        let store = LocalStore::new(dir.path().to_owned());
        (dir, store)
    }

    #[test]
    fn reads_a_whole_object_or_returns_false_if_it_is_missing() {
        let (_dir, store) = store();
        let mut bytes = vec![9; 100];
        assert!(store.read("a/b", 5, &mut bytes).unwrap());
        assert_eq!(bytes, b"12345");
        assert!(!store.read("a/c", 5, &mut bytes).unwrap());
        assert!(bytes.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_existing_files_are_prefetched() {
        let (_dir, store) = store();
        assert!(store.prefetch("a/b", None) && store.prefetch("a/b", Some(1..3)));
        assert!(!store.prefetch("a/c", None) && !store.prefetch("../b", None));
        // Invalid ranges are harmless.
        assert!(store.prefetch("a/b", Some(9..u64::MAX)));
        let (end, start) = (3, 9);
        assert!(store.prefetch("a/b", Some(start..end)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn prefetch_steps_cover_the_whole_range() {
        let all: Vec<_> = steps(3..300_000).collect();
        assert_eq!(all, [3..131_075, 131_075..262_147, 262_147..300_000]);
        assert_eq!(steps(0..ADVICE_BYTES).count(), 1);
        assert_eq!(steps(7..7).count(), 0);
    }

    #[test]
    fn an_object_over_the_limit_is_an_error() {
        let (_dir, store) = store();
        let e = store.read("a/b", 4, &mut Vec::new()).unwrap_err();
        assert!(
            matches!(
                e,
                StorageError::TooLarge {
                    found_bytes: 5,
                    limit_bytes: 4,
                    ..
                }
            ),
            "{e}"
        );
    }

    #[test]
    fn a_range_is_read_completely_or_is_an_error() {
        let (_dir, store) = store();
        let mut bytes = vec![9; 100];
        assert!(store.read_range("a/b", 1..4, &mut bytes).unwrap());
        assert_eq!(bytes, b"234");
        assert!(!store.read_range("a/c", 1..4, &mut bytes).unwrap());
        assert!(!store.read_range("a/b/c", 1..4, &mut bytes).unwrap());
        assert_eq!(store.size("a/b").unwrap(), Some(5));
        assert_eq!(store.size("a/c").unwrap(), None);
        for range in [1..6, 5..u64::MAX, u64::MAX - 1..u64::MAX] {
            let e = store.read_range("a/b", range, &mut bytes).unwrap_err();
            let found = matches!(e, StorageError::TooShort { found_bytes: 5, .. });
            assert!(found && e.to_string().contains("a/b"), "{e}");
        }
    }

    #[test]
    fn a_key_outside_its_root_is_an_error() {
        let (_dir, store) = store();
        for key in ["../a/b", "a/../../x", "/etc/passwd", ""] {
            let e = store.read(key, 5, &mut Vec::new()).unwrap_err();
            assert!(
                matches!(e, StorageError::KeyLeavesRoot { .. }),
                "{key}: {e}"
            );
        }
    }

    #[test]
    fn a_confined_store_follows_only_links_that_stay_below_its_root() {
        let (dir, plain) = store();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("b"), b"123").unwrap();
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        };
        link(&outside.path().join("b"), "file");
        link(outside.path(), "folder");
        link(&dir.path().join("a"), "inside");
        link(&dir.path().join("none"), "dangling");
        link(&dir.path().join("loop"), "loop");
        // The root may be a link.
        let root = outside.path().join("root");
        std::os::unix::fs::symlink(dir.path(), &root).unwrap();
        let confined = LocalStore::confined(root);
        let mut bytes = Vec::new();
        for key in ["file", "folder/b"] {
            assert!(plain.read(key, 9, &mut bytes).unwrap());
            let errors = [
                confined.read(key, 9, &mut bytes).unwrap_err(),
                confined.read_range(key, 0..1, &mut bytes).unwrap_err(),
                confined.size(key).unwrap_err(),
                confined.open_object(key).unwrap_err(),
            ];
            for e in errors {
                assert!(matches!(e, StorageError::LinkLeavesRoot { .. }), "{e}");
            }
        }
        for key in ["a/b", "inside/b"] {
            assert_eq!(confined.size(key).unwrap(), Some(5));
        }
        assert_eq!(confined.size("dangling").unwrap(), None);
        assert!(confined.size("loop").is_err());
    }

    #[test]
    fn a_folder_is_not_an_object() {
        let (_dir, store) = store();
        assert!(store.read("a", 5, &mut Vec::new()).is_err());
    }
}

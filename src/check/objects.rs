//! The objects of a dataset: one listing, and the comparison of an object with its size and digest. No path leads out of the
//! dataset.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::kind::FindingKind;
use super::streamed::{PIECE_BYTES, pieces};
use crate::dataset::Dataset;
use crate::storage::{ListedObject, StorageError, Store};

/// The objects of a dataset.
pub(super) struct DatasetObjects<'d> {
    store: &'d Arc<dyn Store>,
    /// Sizes of the objects in the listed folders, by key; `None` for what is not a regular file.
    listed: BTreeMap<String, Option<u64>>,
    /// Folders that cannot be listed, and why.
    unlisted: Vec<(String, String)>,
    can_be_listed: bool,
}

/// What is wrong with an object.
pub(super) struct ObjectProblem {
    pub kind: FindingKind,
    /// What was found and what was expected.
    problem: String,
    /// What to do; empty if the problem says it.
    remedy: &'static str,
}

impl ObjectProblem {
    pub(super) fn new(kind: FindingKind, problem: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            kind,
            problem: problem.into(),
            remedy,
        }
    }

    /// The same problem with another remedy.
    pub(super) fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }

    /// The problem and what to do.
    pub(super) fn message(self) -> String {
        match self.remedy {
            "" => self.problem,
            remedy => format!("{}; {remedy}", self.problem),
        }
    }
}

impl<'d> DatasetObjects<'d> {
    /// The objects of the dataset; those below `folders` are listed.
    pub(super) fn list<'f>(dataset: &'d Dataset, folders: impl Iterator<Item = &'f str>) -> Self {
        let mut objects = Self {
            store: dataset.store(),
            listed: BTreeMap::new(),
            unlisted: Vec::new(),
            can_be_listed: dataset.location().can_be_listed(),
        };
        if objects.can_be_listed {
            for folder in folders.filter(|folder| is_inside(folder)) {
                objects.list_folder(folder);
            }
        }
        objects
    }

    fn list_folder(&mut self, folder: &str) {
        let listed = &mut self.listed;
        let mut add = |object: ListedObject| {
            listed.insert(object.key, object.size_bytes);
            ControlFlow::Continue(())
        };
        if let Err(e) = self.store.list(folder, &mut add) {
            let reason = match e {
                StorageError::List { folder, source } => format!("{folder}: {source}"),
                e => e.to_string(),
            };
            let message = format!("the folder cannot be listed: {reason}");
            self.unlisted.push((folder.to_owned(), message));
        }
    }

    /// What the objects are read through.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store)
    }

    /// Whether the location has listings.
    pub(super) fn can_be_listed(&self) -> bool {
        self.can_be_listed
    }

    /// Folders that cannot be listed, and why.
    pub(super) fn unlisted(&self) -> &[(String, String)] {
        &self.unlisted
    }

    /// The keys of all objects below `folder`, in order.
    pub(super) fn below(&self, folder: &str) -> impl Iterator<Item = &str> {
        let first = format!("{folder}/");
        let from = self.listed.range(first.clone()..);
        from.map(|(key, _)| key.as_str())
            .take_while(move |key| key.starts_with(&first))
    }

    /// Checks that the object at `key` exists and has `bytes` bytes.
    pub(super) fn size_problem(&self, key: &str, bytes: u64) -> Option<ObjectProblem> {
        if !is_inside(key) {
            let problem = "its path leads out of the dataset, so it is not read";
            return Some(ObjectProblem::new(FindingKind::Manifest, problem, ""));
        }
        match self.size(key) {
            Err(e) => Some(unreadable(&e)),
            Ok(None) => Some(missing()),
            Ok(Some(found)) if found != bytes => Some(ObjectProblem::new(
                FindingKind::Size,
                format!("it has {found} bytes, expected {bytes}"),
                "run `pointshard preprocess` again to rewrite it",
            )),
            Ok(Some(_)) => None,
        }
    }

    /// The size of the object; `None` if it is missing. What the listing does not have as a file is looked up: it may be behind a
    /// link.
    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        match self.listed.get(key) {
            Some(Some(size)) => Ok(Some(*size)),
            _ => self.store.size(key),
        }
    }

    /// The bytes of the object at `key`, at most `limit_bytes`.
    pub(super) fn read(&self, key: &str, limit_bytes: u64) -> Result<Vec<u8>, ObjectProblem> {
        let mut bytes = Vec::new();
        match self.store.read(key, limit_bytes, &mut bytes) {
            Ok(true) => Ok(bytes),
            Ok(false) => Err(missing()),
            Err(e) => Err(unreadable(&e)),
        }
    }

    /// What is wrong with the object at `key`, which must have this size and digest.
    pub(super) fn problem(&self, key: &str, bytes: u64, blake3: &str) -> Option<ObjectProblem> {
        let problem = self.size_problem(key, bytes);
        problem.or_else(|| digest_problem(&self.digest(key, bytes), blake3))
    }

    /// The digest of the object, which has `bytes` bytes; `None` if it is missing.
    fn digest(&self, key: &str, bytes: u64) -> Result<Option<blake3::Hash>, StorageError> {
        let mut hasher = blake3::Hasher::new();
        let mut piece = Vec::new();
        for range in pieces(0..bytes, PIECE_BYTES) {
            if !self.store.read_range(key, range, &mut piece)? {
                return Ok(None);
            }
            hasher.update(&piece);
        }
        Ok(Some(hasher.finalize()))
    }
}

/// What is wrong with an object that must have the digest `expected`.
pub(super) fn digest_problem(
    digest: &Result<Option<blake3::Hash>, StorageError>,
    expected: &str,
) -> Option<ObjectProblem> {
    match digest {
        Err(e) => Some(unreadable(e)),
        Ok(None) => Some(missing()),
        Ok(Some(found)) => {
            let found = found.to_string();
            (found != expected).then(|| {
                ObjectProblem::new(
                    FindingKind::Digest,
                    format!("its blake3 is {found}, expected {expected}: its bytes have changed"),
                    "delete this file and run `pointshard preprocess` again to rewrite it",
                )
            })
        }
    }
}

/// Whether the path is relative and does not lead out of its folder.
pub(super) fn is_inside(path: &str) -> bool {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(is_plain)
}

fn missing() -> ObjectProblem {
    let remedy = "run `pointshard preprocess` again to write it";
    ObjectProblem::new(FindingKind::MissingFile, "the file is missing", remedy)
}

fn unreadable(error: &StorageError) -> ObjectProblem {
    let problem = match error {
        StorageError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
            return missing();
        }
        StorageError::Read { source, .. } => format!("the file cannot be read: {source}"),
        StorageError::LinkLeavesRoot { target, .. } => format!(
            "a symbolic link leads out of the dataset, to {target}: replace it with the file itself"
        ),
        e => format!("the file cannot be read: {e}"),
    };
    ObjectProblem::new(FindingKind::Unreadable, problem, "")
}

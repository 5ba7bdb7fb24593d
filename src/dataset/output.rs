//! The output folder: which plan it belongs to, and how files are written to it.
//!
//! Protocol. (1) `.pointshard/plan.json` is written first and names the plan that the folder belongs to. (2) A file is
//! written under a temporary name in its folder, flushed to the disk, and renamed: writes are atomic. Its writer holds a lock
//! on the temporary file. A temporary file that can be locked belongs to a dead writer, and is removed. (3) Receipts are
//! written after their shards, the manifest last. The manifest is removed before anything that it lists is written again.
//! (4) With `--force`, the state of the folder first names the new plan and what is to be deleted, and it always exists: if a
//! run is killed while it deletes, the next run continues.

mod clearing;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{DatasetError, Layout, MANIFEST, SCHEMA_VERSION, layout::group_path};
use crate::storage::{AtomicFile, MAX_DOCUMENT_BYTES, open_regular, read_regular};
use clearing::Clearing;

pub(super) const PRIVATE: &str = ".pointshard";
const STATE: &str = ".pointshard/plan.json";
const RECEIPTS: &str = ".pointshard/receipts";
const TEMPORARY: &str = ".writing-";

/// An output folder that belongs to one plan.
#[derive(Clone, Debug)]
pub struct Output {
    root: PathBuf,
    plan_digest: String,
}

#[derive(Serialize, Deserialize)]
struct State {
    schema_version: u32,
    plan_digest: String,
    groups: Vec<String>,
    /// Arrays of the groups; also arrays and columns of an earlier output while that is being deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    /// Groups of an earlier output that is being deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clearing: Vec<String>,
}

impl State {
    /// What is to be deleted in the folder `root` for another output: files of this output and of earlier ones.
    fn clearing(&self, root: &Path) -> Result<Clearing, DatasetError> {
        let groups = [&self.groups[..], &self.clearing].concat();
        Clearing::of(
            root,
            &groups,
            &clearing::members(root, self.members.clone()),
        )
    }
}

impl Output {
    /// Claims `root` for the plan with `plan_digest`: a new or empty folder, or one with output of the same plan. With `force`,
    /// existing output is deleted.
    ///
    /// # Errors
    /// The folder holds output of another plan, or files that pointshard did not write.
    pub fn claim(
        root: &Path,
        plan_digest: blake3::Hash,
        layout: &Layout,
        force: bool,
    ) -> Result<Self, DatasetError> {
        let output = Self {
            root: root.to_owned(),
            plan_digest: plan_digest.to_string(),
        };
        let mut state = State {
            schema_version: SCHEMA_VERSION,
            plan_digest: output.plan_digest.clone(),
            groups: layout.splits.iter().map(|s| group_path(&s.name)).collect(),
            members: layout.arrays.iter().map(|a| a.name.clone()).collect(),
            clearing: Vec::new(),
        };
        let new_members = state.members.clone();
        match output.state()? {
            None if is_empty(root)? => {}
            None => {
                return Err(DatasetError::NotAnOutput {
                    folder: root.to_owned(),
                });
            }
            Some(found) => {
                if !force {
                    output.check_plan(&found)?;
                    if found.clearing.is_empty() {
                        output.sweep(layout)?;
                        return Ok(output);
                    }
                }
                let clearing = found.clearing(root)?;
                state.clearing = [found.groups, found.clearing].concat();
                state.members.extend(clearing::members(root, found.members));
                output.unseal()?;
                output.write_json(STATE, &state)?;
                clearing.delete()?;
                state.clearing.clear();
                state.members = new_members;
            }
        }
        output.write_json(STATE, &state)?;
        Ok(output)
    }

    /// Whether the folder holds output of pointshard.
    pub fn exists_in(root: &Path) -> bool {
        root.join(STATE).is_file()
    }

    /// The output of the plan with `plan_digest` in `root`; `None` where [`Output::claim`] would begin a new one. Writes
    /// nothing.
    ///
    /// # Errors
    /// Those of [`Output::claim`].
    pub fn find(
        root: &Path,
        plan_digest: blake3::Hash,
        force: bool,
    ) -> Result<Option<Self>, DatasetError> {
        let output = Self {
            root: root.to_owned(),
            plan_digest: plan_digest.to_string(),
        };
        match output.state()? {
            None if is_empty(root)? => Ok(None),
            None => Err(DatasetError::NotAnOutput {
                folder: root.to_owned(),
            }),
            Some(state) if force => state.clearing(root).map(|_| None),
            Some(state) => {
                output.check_plan(&state)?;
                Ok(state.clearing.is_empty().then_some(output))
            }
        }
    }

    /// Fails if the folder belongs to another plan.
    fn check_plan(&self, state: &State) -> Result<(), DatasetError> {
        let found = match state.schema_version {
            SCHEMA_VERSION => state.plan_digest.clone(),
            other => format!("{} (output version {other})", state.plan_digest),
        };
        if found == self.plan_digest {
            return Ok(());
        }
        Err(DatasetError::OtherPlan {
            folder: self.root.clone(),
            what: format!("its plan is {found}, this one is {}", self.plan_digest),
            found,
            expected: self.plan_digest.clone(),
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Digest of the plan that the folder belongs to.
    pub fn plan_digest(&self) -> &str {
        &self.plan_digest
    }

    /// Size of the file at `path`, relative to the folder; `None` where there is none.
    pub fn size_bytes(&self, path: &str) -> Result<Option<u64>, DatasetError> {
        let full = self.root.join(path);
        match fs::metadata(&full) {
            Ok(m) => Ok(Some(m.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(DatasetError::io("read", full)(e)),
        }
    }

    /// The JSON file at `path`; `None` where there is none, or it is not valid and must be written again.
    pub(super) fn read_json<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, DatasetError> {
        let full = self.root.join(path);
        match read_regular(&full, MAX_DOCUMENT_BYTES) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(DatasetError::io("read", full)(e)),
        }
    }

    /// Writes `value` as JSON to `path`. The write is atomic.
    pub(super) fn write_json<T: Serialize>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<(), DatasetError> {
        self.write(path, &self.to_json(path, value)?)
    }

    /// Writes `value` as JSON to `path`. The write is atomic unless the machine crashes.
    pub(super) fn write_json_unflushed<T: Serialize>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<(), DatasetError> {
        let file = self.written(path, &self.to_json(path, value)?)?;
        self.rename(file, path)
    }

    /// Writes `bytes` to `path`. The write is atomic.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), DatasetError> {
        self.finish(self.written(path, bytes)?, path)
    }

    fn to_json<T: Serialize>(&self, path: &str, value: &T) -> Result<Vec<u8>, DatasetError> {
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|e| DatasetError::io("write", self.root.join(path))(e.into()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn written(&self, path: &str, bytes: &[u8]) -> Result<AtomicFile, DatasetError> {
        let mut file = self.begin(path)?;
        file.as_file_mut()
            .write_all(bytes)
            .map_err(DatasetError::io("write", self.root.join(path)))?;
        Ok(file)
    }

    /// A temporary file that will become `path`.
    pub(super) fn begin(&self, path: &str) -> Result<AtomicFile, DatasetError> {
        let full = self.root.join(path);
        let folder = full.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(DatasetError::io("create the folder", folder))?;
        AtomicFile::create(folder, TEMPORARY).map_err(DatasetError::io("create a file in", folder))
    }

    /// Flushes the temporary file to the disk and renames it.
    pub(super) fn finish(&self, file: AtomicFile, path: &str) -> Result<(), DatasetError> {
        let full = self.root.join(path);
        file.flush_to_disk()
            .map_err(DatasetError::io("flush", full))?;
        self.rename(file, path)
    }

    fn rename(&self, file: AtomicFile, path: &str) -> Result<(), DatasetError> {
        let full = self.root.join(path);
        file.rename(&full).map_err(DatasetError::io("write", full))
    }

    /// Removes the manifest: the dataset is no longer complete.
    pub fn unseal(&self) -> Result<(), DatasetError> {
        self.remove(MANIFEST)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), DatasetError> {
        let full = self.root.join(path);
        match fs::remove_file(&full) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(DatasetError::io("remove", full)(e)),
            _ => Ok(()),
        }
    }

    fn state(&self) -> Result<Option<State>, DatasetError> {
        let path = self.root.join(STATE);
        match read_regular(&path, MAX_DOCUMENT_BYTES) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes)
                    .map(Some)
                    .map_err(|e| DatasetError::Damaged {
                        problem: format!(
                            "{e}; delete the folder {} to start again",
                            self.root.display()
                        ),
                        path,
                    })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotADirectory => Err(DatasetError::NotAFolder {
                folder: self.root.clone(),
            }),
            Err(e) => Err(DatasetError::io("read", path)(e)),
        }
    }

    /// Removes temporary files whose writers are dead.
    pub(super) fn sweep(&self, layout: &Layout) -> Result<(), DatasetError> {
        let groups = layout
            .splits
            .iter()
            .map(|s| self.root.join(group_path(&s.name)));
        let mut folders: Vec<PathBuf> = groups.collect();
        folders.push(self.root.join(PRIVATE));
        sweep_files(&self.root);
        while let Some(folder) = folders.pop() {
            sweep_files(&folder);
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            let inner = entries
                .flatten()
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
            folders.extend(inner.map(|e| e.path()));
        }
        Ok(())
    }
}

/// Removes temporary files of dead writers directly in `folder`. It is no error if another process removes one first.
fn sweep_files(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        if temporary && open_regular(&entry.path()).is_ok_and(|(f, _)| f.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether the folder does not exist, or holds nothing but a private folder with temporary files: that is what a run leaves
/// that ends before its plan is written.
fn is_empty(root: &Path) -> Result<bool, DatasetError> {
    let private = root.join(PRIVATE);
    let begun = |path: &Path| path == private && path.is_dir();
    let temporary = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(TEMPORARY)
    };
    Ok(holds_only(root, begun)? && holds_only(&private, temporary)?)
}

/// Whether `expected` holds for every entry of the folder, if there is one.
fn holds_only(folder: &Path, expected: impl Fn(&Path) -> bool) -> Result<bool, DatasetError> {
    match fs::read_dir(folder) {
        Ok(entries) => all_are(entries.map(|e| e.map(|e| e.path())), expected),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
    }
    .map_err(DatasetError::io("list", folder))
}

/// Whether `expected` holds for all entries. If an entry cannot be listed, that is an error, not an empty folder.
fn all_are(
    mut entries: impl Iterator<Item = std::io::Result<PathBuf>>,
    expected: impl Fn(&Path) -> bool,
) -> std::io::Result<bool> {
    entries.try_fold(true, |all, entry| {
        let path = entry?;
        Ok(all && expected(&path))
    })
}

#[cfg(test)]
mod tests;

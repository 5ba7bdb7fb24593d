//! The output folder: whose it is, and how files come to be in it.
//!
//! Protocol. (1) `.pointshard/plan.json` is written first and says which plan the folder belongs to. (2) A file
//! is written under a temporary name beside its place, flushed to the disk, and renamed: it stands whole or
//! not at all. While it is written, its writer holds a lock on it: a temporary file that can be locked is a
//! dead writer's, and is swept. (3) Receipts after their shards, the manifest last; it is removed before
//! anything that it vouches for is made again. (4) Where a folder is started anew, its state says so, and whose it is
//! now, before anything else is deleted, and is never missing: a run that is killed there leaves a folder that the next
//! one goes on to clear.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

use super::{DatasetError, Layout, MANIFEST, SCHEMA_VERSION, layout::group_path};

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
    /// Groups of an earlier output that is being deleted, with its receipts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clearing: Vec<String>,
}

impl Output {
    /// Takes `root` for the plan with `plan_digest`: a new or empty folder, or one that holds output of
    /// the same plan. Output of another plan is refused. With `force` whatever output it holds is deleted.
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
            clearing: Vec::new(),
        };
        match output.state()? {
            None if is_empty(root)? => {}
            None => {
                return Err(DatasetError::Foreign {
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
                state.clearing = [found.groups, found.clearing].concat();
                output.unseal()?;
                output.write_json(STATE, &state)?;
                output.clear(&state.clearing)?;
                state.clearing.clear();
            }
        }
        output.write_json(STATE, &state)?;
        Ok(output)
    }

    /// Whether something that pointshard wrote is in the folder.
    pub fn is_begun(root: &Path) -> bool {
        root.join(STATE).is_file()
    }

    /// The output of the plan with `plan_digest` in `root`, as it is; `None` where [`Output::claim`] would begin anew.
    /// Fails where that would refuse. Nothing is written.
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
            None => Err(DatasetError::Foreign {
                folder: root.to_owned(),
            }),
            Some(_) if force => Ok(None),
            Some(state) => {
                output.check_plan(&state)?;
                Ok(state.clearing.is_empty().then_some(output))
            }
        }
    }

    /// Fails where the folder's state is that of another plan.
    fn check_plan(&self, state: &State) -> Result<(), DatasetError> {
        let found = match state.schema_version {
            SCHEMA_VERSION => state.plan_digest.clone(),
            other => format!("{} (output version {other})", state.plan_digest),
        };
        match found == self.plan_digest {
            true => Ok(()),
            false => Err(DatasetError::OtherPlan {
                folder: self.root.clone(),
                found,
                expected: self.plan_digest.clone(),
            }),
        }
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

    /// The JSON file at `path`; `None` where there is none or it is not what it should be, in which case it
    /// is made again.
    pub(super) fn read_json<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, DatasetError> {
        let full = self.root.join(path);
        match fs::read(&full) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(DatasetError::io("read", full)(e)),
        }
    }

    /// Writes `value` as JSON to `path`, whole or not at all.
    pub(super) fn write_json<T: Serialize>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<(), DatasetError> {
        self.write(path, &self.to_json(path, value)?)
    }

    /// Writes `value` as JSON to `path`, whole or not at all unless the machine crashes.
    pub(super) fn write_json_unflushed<T: Serialize>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<(), DatasetError> {
        let file = self.written(path, &self.to_json(path, value)?)?;
        self.rename(file, path)
    }

    /// Writes `bytes` to `path`, whole or not at all.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), DatasetError> {
        self.finish(self.written(path, bytes)?, path)
    }

    fn to_json<T: Serialize>(&self, path: &str, value: &T) -> Result<Vec<u8>, DatasetError> {
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|e| DatasetError::io("write", self.root.join(path))(e.into()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn written(&self, path: &str, bytes: &[u8]) -> Result<NamedTempFile, DatasetError> {
        let mut file = self.begin(path)?;
        file.as_file_mut()
            .write_all(bytes)
            .map_err(DatasetError::io("write", self.root.join(path)))?;
        Ok(file)
    }

    /// A temporary file that will become `path`.
    pub(super) fn begin(&self, path: &str) -> Result<NamedTempFile, DatasetError> {
        let full = self.root.join(path);
        let folder = full.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(DatasetError::io("create the folder", folder))?;
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(folder)
            .map_err(DatasetError::io("create a file in", folder))?;
        // Where the file system has no locks, a dead writer's file stays; it harms nobody.
        let _ = file.as_file().try_lock();
        Ok(file)
    }

    /// Flushes the temporary file to the disk and gives it its name.
    pub(super) fn finish(&self, file: NamedTempFile, path: &str) -> Result<(), DatasetError> {
        let full = self.root.join(path);
        file.as_file()
            .sync_data()
            .map_err(DatasetError::io("flush", full))?;
        self.rename(file, path)
    }

    fn rename(&self, file: NamedTempFile, path: &str) -> Result<(), DatasetError> {
        let full = self.root.join(path);
        // Temporary files are private to their owner; a dataset is for the lab.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let _ = file
                .as_file()
                .set_permissions(fs::Permissions::from_mode(0o644));
        }
        file.persist(&full)
            .map_err(|e| DatasetError::io("write", &full)(e.error))?;
        Ok(())
    }

    /// Removes the manifest: from here on the dataset does not count as complete.
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
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes)
                    .map(Some)
                    .map_err(|e| DatasetError::Damaged {
                        problem: format!(
                            "{e}; delete the folder {} to start anew",
                            self.root.display()
                        ),
                        path,
                    })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotADirectory => Err(DatasetError::NoFolder {
                folder: self.root.clone(),
            }),
            Err(e) => Err(DatasetError::io("read", path)(e)),
        }
    }

    /// Deletes the `groups` and all that pointshard keeps beside its state.
    fn clear(&self, groups: &[String]) -> Result<(), DatasetError> {
        for group in groups {
            let plain = Path::new(group).components().count() == 1 && group.ends_with(".zarr");
            if plain {
                self.remove_folder(group)?;
            }
        }
        self.remove_folder(RECEIPTS)
    }

    fn remove_folder(&self, path: &str) -> Result<(), DatasetError> {
        let full = self.root.join(path);
        match fs::remove_dir_all(&full) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(DatasetError::io("remove", full)(e)),
            _ => Ok(()),
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

/// Removes the dead temporary files right in `folder`. One that another process removes first is no error.
fn sweep_files(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        if temporary && File::open(entry.path()).is_ok_and(|f| f.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether the folder does not exist or holds nothing but what a run leaves that ends before its plan is written: a
/// private folder with nothing but temporary files.
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
        Ok(entries) => Ok(entries.flatten().all(|e| expected(&e.path()))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(DatasetError::io("read", folder)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::AxisOrder;

    fn layout() -> Layout {
        Layout::new(AxisOrder::Czyx, vec![("train".into(), 1)], vec![], None)
    }

    fn claim(root: &Path, plan: &str, force: bool) -> Result<Output, DatasetError> {
        Output::claim(root, blake3::hash(plan.as_bytes()), &layout(), force)
    }

    #[test]
    fn an_output_of_another_plan_is_refused_and_force_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/out");
        let output = claim(&root, "a", false).unwrap();
        output.write("train.zarr/img/c/0", b"x").unwrap();
        output.write(MANIFEST, b"{}").unwrap();
        claim(&root, "a", false).unwrap();
        assert!(root.join("train.zarr/img/c/0").exists());
        assert!(matches!(
            claim(&root, "b", false),
            Err(DatasetError::OtherPlan { .. })
        ));
        assert!(root.join(MANIFEST).exists());
        claim(&root, "b", true).unwrap();
        assert!(!root.join("train.zarr").exists() && !root.join(MANIFEST).exists());
    }

    #[test]
    fn a_folder_that_was_being_cleared_is_cleared_by_the_next_run() {
        let groups = ["train.zarr", "val.zarr", RECEIPTS];
        // Deleting comes to an end at each of them in turn, as if the program were killed there.
        for killed_at in groups {
            for force in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let layout = |splits: &[&str]| {
                    let splits = splits.iter().map(|s| (s.to_string(), 1)).collect();
                    Layout::new(AxisOrder::Czyx, splits, vec![], None)
                };
                let claim = |plan: &str, splits: &[&str], force| {
                    let digest = blake3::hash(plan.as_bytes());
                    Output::claim(dir.path(), digest, &layout(splits), force)
                };
                let old = claim("a", &["train", "val"], false).unwrap();
                for path in groups {
                    old.write(&format!("{path}/old"), b"x").unwrap();
                }
                old.write(MANIFEST, b"{}").unwrap();
                old.write("training/checkpoint", b"x").unwrap();
                let obstacle = dir.path().join(killed_at);
                fs::remove_dir_all(&obstacle).unwrap();
                fs::write(&obstacle, "no folder").unwrap();
                claim("b", &["train"], true).unwrap_err();
                fs::remove_file(&obstacle).unwrap();
                assert!(!dir.path().join(MANIFEST).exists());
                assert!(
                    matches!(
                        claim("a", &["train", "val"], false),
                        Err(DatasetError::OtherPlan { .. })
                    ),
                    "it is b's now"
                );
                claim("b", &["train"], force).unwrap();
                for path in groups {
                    assert!(!dir.path().join(path).join("old").exists(), "{path}");
                }
                assert!(dir.path().join("training/checkpoint").exists());
                // Nothing is left to clear.
                let new = claim("b", &["train"], false).unwrap();
                new.write("train.zarr/new", b"x").unwrap();
                claim("b", &["train"], false).unwrap();
                assert!(dir.path().join("train.zarr/new").exists());
            }
        }
    }

    #[test]
    fn a_folder_that_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        for force in [false, true] {
            assert!(matches!(
                claim(dir.path(), "a", force),
                Err(DatasetError::Foreign { .. })
            ));
        }
        assert!(dir.path().join("thesis.tex").exists());
    }

    #[test]
    fn a_folder_whose_run_was_killed_before_its_plan_stood_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let begun = dir.path().join(PRIVATE);
        fs::create_dir(&begun).unwrap();
        fs::write(begun.join(".writing-dead"), "half").unwrap();
        fs::write(begun.join("plan.txt"), "not ours").unwrap();
        assert!(matches!(
            claim(dir.path(), "a", false),
            Err(DatasetError::Foreign { .. })
        ));
        fs::remove_file(begun.join("plan.txt")).unwrap();
        claim(dir.path(), "a", false).unwrap();
        assert!(begun.join("plan.json").exists());
    }

    #[test]
    fn a_dead_writers_file_is_swept_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let output = claim(dir.path(), "a", false).unwrap();
        let alive = output.begin("train.zarr/img/c/1").unwrap();
        let dead = dir.path().join("train.zarr/img/c/.writing-dead");
        fs::write(&dead, "half").unwrap();
        claim(dir.path(), "a", false).unwrap();
        assert!(!dead.exists() && alive.path().exists());
        output.finish(alive, "train.zarr/img/c/1").unwrap();
        assert_eq!(output.size_bytes("train.zarr/img/c/1").unwrap(), Some(0));
    }
}

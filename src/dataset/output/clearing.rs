//! What `--force` deletes: the files that pointshard wrote, and nothing else.
//!
//! Every file below a group and among the receipts is examined before the first one is deleted. A file is pointshard's if its
//! name is one that pointshard uses, in an array or column that it wrote. Any other file stops the run.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{RECEIPTS, TEMPORARY};
use crate::dataset::{DatasetError, MANIFEST, Manifest};
use crate::storage::{MAX_DOCUMENT_BYTES, read_regular};

/// The files and folders of an earlier output.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    files: Vec<PathBuf>,
    /// Each after the folder that it is in.
    folders: Vec<PathBuf>,
    foreign: Vec<PathBuf>,
}

/// Arrays and columns in the folder `root` that pointshard wrote: those of an earlier state, of the manifest and of the
/// receipts.
pub(super) fn members(root: &Path, of_state: Vec<String>) -> Vec<String> {
    let mut all: BTreeSet<String> = of_state.into_iter().collect();
    let manifest = read_regular(&root.join(MANIFEST), MAX_DOCUMENT_BYTES).ok();
    if let Some((manifest, _)) = manifest.and_then(|json| Manifest::parse(&json).ok()) {
        let listed = manifest.files.iter().filter_map(|file| {
            let (folder, _) = file.path.strip_suffix("/zarr.json")?.split_once('/')?;
            file.path
                .get(folder.len() + 1..)?
                .strip_suffix("/zarr.json")
        });
        all.extend(listed.map(str::to_owned));
        all.extend(manifest.arrays.into_keys());
    }
    let folders = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    for split in folders(root.join(RECEIPTS)) {
        let arrays = folders(split.path()).filter_map(|array| array.file_name().into_string().ok());
        all.extend(arrays);
    }
    all.into_iter().collect()
}

impl Clearing {
    /// What is to be deleted in the folder `root`: the `groups` with these `members`, and the receipts.
    ///
    /// # Errors
    /// A file that pointshard did not write is among it.
    pub fn of(root: &Path, groups: &[String], members: &[String]) -> Result<Self, DatasetError> {
        let mut clearing = Self::default();
        for group in groups {
            let is_plain = Path::new(group).components().count() == 1 && group.ends_with(".zarr");
            if is_plain {
                clearing.examine(&root.join(group), &mut Vec::new(), &|path| {
                    in_group(path, members)
                })?;
            }
        }
        clearing.examine(&root.join(RECEIPTS), &mut Vec::new(), &in_receipts)?;
        clearing.foreign.sort();
        match clearing.foreign.split_first() {
            None => Ok(clearing),
            Some((first, others)) => Err(DatasetError::ForeignFiles {
                folder: root.to_owned(),
                file: first.clone(),
                others: others.len(),
            }),
        }
    }

    /// Examines everything below `at`. `below` are the names from the first folder down to `at`.
    fn examine(
        &mut self,
        at: &Path,
        below: &mut Vec<String>,
        is_ours: &dyn Fn(&[String]) -> bool,
    ) -> Result<(), DatasetError> {
        let failed = |e| DatasetError::io("read", at)(e);
        let found = match fs::symlink_metadata(at) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        if !found.is_dir() {
            let files = if found.is_file() && is_ours(below) {
                &mut self.files
            } else {
                &mut self.foreign
            };
            files.push(at.to_owned());
            return Ok(());
        }
        self.folders.push(at.to_owned());
        for entry in fs::read_dir(at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            below.push(entry.file_name().to_string_lossy().into_owned());
            self.examine(&entry.path(), below, is_ours)?;
            below.pop();
        }
        Ok(())
    }

    /// Deletes the files, and the folders that are then empty.
    pub fn delete(self) -> Result<(), DatasetError> {
        for file in self.files {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(DatasetError::io("remove", file)(e));
                }
                _ => {}
            }
        }
        for folder in self.folders.into_iter().rev() {
            match fs::remove_dir(&folder) {
                // Another program put something into it.
                Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => {}
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(DatasetError::io("remove", folder)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether pointshard writes a file with this path in a group.
fn in_group(path: &[String], members: &[String]) -> bool {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [.., last] if last.starts_with(TEMPORARY) => true,
        ["zarr.json"] => true,
        [name, rest @ ..] if is_column(name) || members.iter().any(|m| m == name) => match rest {
            ["zarr.json"] => true,
            ["c", numbers @ ..] => {
                (1..=5).contains(&numbers.len()) && numbers.iter().all(|n| is_number(n))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether only columns of pointshard have this name: the config does not accept it for arrays.
fn is_column(name: &str) -> bool {
    let names = [
        "annotation_id",
        "box",
        "center_nm",
        "start_voxel",
        "resolution_nm",
    ];
    let ends = [
        "_nonzero_fraction",
        "_inside_fraction",
        "_start_voxel",
        "_object_id",
    ];
    names.contains(&name)
        || name.starts_with("property_")
        || ends.iter().any(|end| name.ends_with(end))
}

/// Whether a file among the receipts is one of a split, an array and a number.
fn in_receipts(path: &[String]) -> bool {
    let number = |name: &str| name.strip_suffix(".json").is_some_and(is_number);
    match path {
        [.., last] if last.starts_with(TEMPORARY) => true,
        [_, _, last] => number(last),
        _ => false,
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_pointshard_are_distinguished_from_files_of_others() {
        let members = ["img".to_owned()];
        let ours = |path: &str| {
            let path: Vec<_> = path.split('/').map(str::to_owned).collect();
            in_group(&path, &members)
        };
        for path in [
            "zarr.json",
            "img/zarr.json",
            "img/c/12/0/0/0/0",
            "img/c/3/0/.writing-x",
            "box/c/0",
            "center_nm/c/0/0",
            "property_size/zarr.json",
            "cell_object_id/c/1",
        ] {
            assert!(ours(path), "{path}");
        }
        for path in [
            "notes.txt",
            "img/notes.txt",
            "img/c/notes.txt",
            "img/c",
            "img/c/0/0/0/0/0/0",
            "img/c/0/x/0/0/0",
            "mine/zarr.json",
            "mine/c/0/0/0/0/0",
            "img/zarr.json/x",
        ] {
            assert!(!ours(path), "{path}");
        }
        let receipt = |path: &str| {
            let path: Vec<_> = path.split('/').map(str::to_owned).collect();
            in_receipts(&path)
        };
        assert!(receipt("train/img/0.json") && receipt("train/img/.writing-x"));
        assert!(!receipt("train/img/notes.json") && !receipt("notes.txt"));
    }
}

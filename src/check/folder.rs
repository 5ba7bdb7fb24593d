//! The folder of a dataset: its files are compared with their sizes and digests, and no path leads out of it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::report::FindingKind;
use crate::dataset::Dataset;
use crate::storage::open_regular;

/// The folder of a dataset.
pub(super) struct DatasetFolder<'d> {
    root: &'d Path,
    /// The folder without symbolic links.
    real: PathBuf,
}

/// What is below a group.
pub(super) struct Listing {
    /// Paths of files, relative to the dataset.
    pub files: Vec<String>,
    /// Folders that cannot be listed, and why.
    pub unreadable: Vec<(String, String)>,
}

impl<'d> DatasetFolder<'d> {
    pub(super) fn of(dataset: &'d Dataset) -> Self {
        let root = dataset.root();
        Self {
            root,
            real: fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()),
        }
    }

    /// What is wrong with the file at `path`, which must have this size and digest.
    pub(super) fn problem(
        &self,
        path: &str,
        bytes: u64,
        blake3: &str,
    ) -> Option<(FindingKind, String)> {
        if !is_inside(path) {
            let message = "its path leads out of the dataset, so it is not read".to_owned();
            return Some((FindingKind::Manifest, message));
        }
        let full = self.root.join(path);
        match fs::canonicalize(&full) {
            Err(e) => return Some(unreadable(&e)),
            Ok(real) if !real.starts_with(&self.real) => {
                let message = format!(
                    "a symbolic link leads out of the dataset, to {}: replace it with the file itself",
                    real.display()
                );
                return Some((FindingKind::Unreadable, message));
            }
            Ok(_) => {}
        }
        compare(&full, bytes, blake3)
    }

    /// All that is below the folder `group`.
    pub(super) fn list(&self, group: &str) -> Listing {
        let mut listing = Listing {
            files: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut folders = vec![PathBuf::from(group)];
        while let Some(folder) = folders.pop() {
            if let Err(e) = self.list_one(&folder, &mut folders, &mut listing.files)
                && e.kind() != ErrorKind::NotFound
            {
                let message = format!("the folder cannot be listed: {e}");
                let folder = folder.to_string_lossy().into_owned();
                listing.unreadable.push((folder, message));
            }
        }
        listing.files.sort();
        listing
    }

    fn list_one(
        &self,
        folder: &Path,
        folders: &mut Vec<PathBuf>,
        files: &mut Vec<String>,
    ) -> std::io::Result<()> {
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            match entry.file_type() {
                Ok(t) if t.is_dir() => folders.push(path),
                _ => files.push(path.to_string_lossy().into_owned()),
            }
        }
        Ok(())
    }
}

/// Whether the path is relative and does not lead out of its folder.
pub(super) fn is_inside(path: &str) -> bool {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(is_plain)
}

/// What is wrong with the file at `path`, which must have this size and digest.
fn compare(path: &Path, bytes: u64, blake3: &str) -> Option<(FindingKind, String)> {
    let (file, found) = match open_regular(path) {
        Ok(opened) => opened,
        Err(e) => return Some(unreadable(&e)),
    };
    if found != bytes {
        return Some((
            FindingKind::Size,
            format!(
                "it has {found} bytes, expected {bytes}; run `pointshard preprocess` again to rewrite it"
            ),
        ));
    }
    let mut hasher = blake3::Hasher::new();
    if let Err(e) = hasher.update_reader(file) {
        return Some(unreadable(&e));
    }
    let found = hasher.finalize().to_string();
    (found != blake3).then(|| {
        (
            FindingKind::Digest,
            format!("its blake3 is {found}, expected {blake3}: its bytes have changed; delete this file and run `pointshard preprocess` again to rewrite it"),
        )
    })
}

fn unreadable(error: &std::io::Error) -> (FindingKind, String) {
    if error.kind() == ErrorKind::NotFound {
        (
            FindingKind::MissingFile,
            "the file is missing; run `pointshard preprocess` again to write it".into(),
        )
    } else {
        (
            FindingKind::Unreadable,
            format!("the file cannot be read: {error}"),
        )
    }
}

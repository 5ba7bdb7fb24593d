//! The files that are no shards: present, of the right size and bytes, and none besides.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Finding, FindingKind};
use crate::dataset::Dataset;
use crate::storage::open_regular;

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let folder = Folder::of(dataset);
    let about = |file: &str, (kind, message)| Finding {
        kind,
        file: file.to_owned(),
        split: None,
        samples: Vec::new(),
        message,
    };
    let mut findings = Vec::new();
    for f in &manifest.files {
        let wrong = folder.wrong(&f.path, f.bytes, &f.blake3);
        findings.extend(wrong.map(|w| about(&f.path, w)));
    }
    let files = manifest.files.iter().map(|f| &f.path);
    let known: HashSet<_> = files
        .chain(manifest.shards.iter().map(|s| &s.path))
        .collect();
    let groups: HashSet<_> = manifest.splits.values().map(|s| &s.path).collect();
    let mut groups: Vec<_> = groups.into_iter().filter(|g| is_inside(g)).collect();
    groups.sort();
    for group in groups {
        let Listing { files, unreadable } = folder.list(group);
        for (path, message) in unreadable {
            findings.push(about(&path, (FindingKind::Unreadable, message)));
        }
        for path in files {
            if !known.contains(&path) {
                let message =
                    "the manifest does not list it; a reader of the group may take it for data: delete it"
                        .into();
                findings.push(about(&path, (FindingKind::UnexpectedFile, message)));
            }
        }
    }
    findings
}

/// The dataset's folder, which none of its files may lead out of.
pub(super) struct Folder<'d> {
    root: &'d Path,
    /// The folder without symbolic links.
    real: PathBuf,
}

/// What is below a group.
struct Listing {
    /// Paths of files, relative to the dataset.
    files: Vec<String>,
    /// Folders that could not be listed, and why.
    unreadable: Vec<(String, String)>,
}

impl<'d> Folder<'d> {
    pub(super) fn of(dataset: &'d Dataset) -> Self {
        let root = dataset.root();
        Self {
            root,
            real: fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()),
        }
    }

    /// What is wrong with the file at `path`, of which size and digest are known.
    pub(super) fn wrong(
        &self,
        path: &str,
        bytes: u64,
        blake3: &str,
    ) -> Option<(FindingKind, String)> {
        if !is_inside(path) {
            let message = "its path leads out of the dataset: it is not read".to_owned();
            return Some((FindingKind::Manifest, message));
        }
        let full = self.root.join(path);
        match fs::canonicalize(&full) {
            Err(e) => return Some(unreadable(&e)),
            Ok(real) if !real.starts_with(&self.real) => {
                let message = format!(
                    "a symbolic link leads out of the dataset, to {}: put the file itself in its place",
                    real.display()
                );
                return Some((FindingKind::Unreadable, message));
            }
            Ok(_) => {}
        }
        whole(&full, bytes, blake3)
    }

    /// All that is below the folder `group`.
    fn list(&self, group: &str) -> Listing {
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

/// Whether the path is relative, and goes down only.
fn is_inside(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(plain)
}

/// What is wrong with the file at `path`, of which size and digest are known.
fn whole(path: &Path, bytes: u64, blake3: &str) -> Option<(FindingKind, String)> {
    let (file, found) = match open_regular(path) {
        Ok(opened) => opened,
        Err(e) => return Some(unreadable(&e)),
    };
    if found != bytes {
        return Some((
            FindingKind::Size,
            format!(
                "it has {found} bytes, expected {bytes}; `pointshard preprocess` again makes it anew"
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
            format!("its blake3 is {found}, expected {blake3}: its bytes have changed; delete this file, and `pointshard preprocess` again makes it anew"),
        )
    })
}

fn unreadable(error: &std::io::Error) -> (FindingKind, String) {
    match error.kind() {
        ErrorKind::NotFound => (
            FindingKind::MissingFile,
            "the file is missing; `pointshard preprocess` again makes it".into(),
        ),
        _ => (
            FindingKind::Unreadable,
            format!("the file cannot be read: {error}"),
        ),
    }
}

//! The files that are no shards: present, of the right size and bytes, and none besides.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Finding, FindingKind};
use crate::dataset::Dataset;

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let about = |file: &str, (kind, message)| Finding {
        kind,
        file: file.to_owned(),
        split: None,
        samples: Vec::new(),
        message,
    };
    let mut findings = Vec::new();
    for f in &manifest.files {
        let wrong = whole(&dataset.root().join(&f.path), f.bytes, &f.blake3);
        findings.extend(wrong.map(|w| about(&f.path, w)));
    }
    let files = manifest.files.iter().map(|f| &f.path);
    let known: HashSet<_> = files
        .chain(manifest.shards.iter().map(|s| &s.path))
        .collect();
    for split in manifest.splits.values() {
        for path in files_below(dataset.root(), &split.path) {
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

/// What is wrong with the file at `path`, of which size and digest are known.
pub(super) fn whole(path: &Path, bytes: u64, blake3: &str) -> Option<(FindingKind, String)> {
    let unreadable = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => (
            FindingKind::MissingFile,
            "the file is missing; `pointshard preprocess` again makes it".into(),
        ),
        _ => (
            FindingKind::Unreadable,
            format!("the file cannot be read: {e}"),
        ),
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) => return Some(unreadable(e)),
    };
    let found = match file.metadata() {
        Ok(m) => m.len(),
        Err(e) => return Some(unreadable(e)),
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
        return Some(unreadable(e));
    }
    let found = hasher.finalize().to_string();
    (found != blake3).then(|| {
        (
            FindingKind::Digest,
            format!("its blake3 is {found}, expected {blake3}: its bytes have changed; delete this file, and `pointshard preprocess` again makes it anew"),
        )
    })
}

/// Paths of all files below `folder`, relative to `root`.
fn files_below(root: &Path, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            match entry.file_type() {
                Ok(t) if t.is_dir() => folders.push(path),
                _ => found.push(path.to_string_lossy().into_owned()),
            }
        }
    }
    found.sort();
    found
}

//! The folder of the demo: new, empty, or one that already contains the same demo. Existing files are not changed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::DemoError;
use super::files::create_dir;
use crate::storage::read_regular;

/// Calls `write` with a new folder and renames it to `dir`, so that `dir` is complete or does not exist. If `dir` already
/// contains the same files, they stay; if it contains others, that is an error.
pub(super) fn fill<T>(
    dir: &Path,
    write: impl FnOnce(&Path) -> Result<T, DemoError>,
) -> Result<T, DemoError> {
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dir(parent)?;
    let beside = tempfile::Builder::new()
        .prefix(".demo-")
        .tempdir_in(parent)
        .map_err(|source| DemoError::CreateDir {
            path: parent.to_owned(),
            source,
        })?;
    // A folder inside the temporary one, which only its owner can read.
    let made = beside.path().join("made");
    let report = write(&made)?;
    match fs::rename(&made, dir) {
        Ok(()) => Ok(report),
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory
            ) =>
        {
            match first_difference(&made, dir, Path::new("")) {
                Ok(None) => Ok(report),
                Ok(Some(file)) => Err(DemoError::Foreign {
                    folder: dir.to_owned(),
                    file,
                }),
                Err(source) => Err(read_error(&made, source)),
            }
        }
        Err(source) => Err(DemoError::Write {
            path: dir.to_owned(),
            source,
        }),
    }
}

fn read_error(path: &Path, source: std::io::Error) -> DemoError {
    DemoError::Read {
        path: path.to_owned(),
        source,
    }
}

/// The first file below `made/below` that is missing or different in `found/below`.
fn first_difference(
    made: &Path,
    found: &Path,
    below: &Path,
) -> Result<Option<PathBuf>, std::io::Error> {
    let mut entries = fs::read_dir(made.join(below))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        let different = if entry.file_type()?.is_dir() {
            first_difference(made, found, &path)?
        } else {
            let is_same = read_regular(&found.join(&path), u64::MAX)
                .is_ok_and(|bytes| fs::read(entry.path()).is_ok_and(|expected| expected == bytes));
            (!is_same).then_some(path)
        };
        if different.is_some() {
            return Ok(different);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path) -> Result<(), DemoError> {
        create_dir(&dir.join("img"))?;
        super::super::files::write(&dir.join("config.json"), b"{}")?;
        super::super::files::write(&dir.join("img/info"), b"info")
    }

    #[test]
    fn a_new_or_empty_folder_is_filled_once() {
        let dir = tempfile::tempdir().unwrap();
        let (new, empty) = (dir.path().join("a/new"), dir.path().join("empty"));
        fs::create_dir(&empty).unwrap();
        for folder in [new, empty] {
            fill(&folder, write).unwrap();
            assert_eq!(fs::read(folder.join("img/info")).unwrap(), b"info");
            fs::write(folder.join("notes.txt"), "mine").unwrap();
            fill(&folder, write).unwrap();
            assert_eq!(fs::read(folder.join("notes.txt")).unwrap(), b"mine");
            assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), {
                if folder.ends_with("new") { 1 } else { 2 }
            });
        }
    }

    #[test]
    fn a_file_of_others_is_named_and_not_changed() {
        for (file, text) in [
            ("config.json", "{ }"),
            ("img/info", ""),
            ("thesis.tex", "x"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join("source");
            if file != "thesis.tex" {
                write(&folder).unwrap();
            }
            create_dir(&folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
            let e = fill(&folder, write).unwrap_err();
            let named = if file == "thesis.tex" {
                "config.json"
            } else {
                file
            };
            assert!(e.to_string().contains(named), "{e}");
            assert_eq!(fs::read_to_string(folder.join(file)).unwrap(), text);
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("source");
        fs::write(&file, "x").unwrap();
        assert!(matches!(fill(&file, write), Err(DemoError::Foreign { .. })));
    }
}

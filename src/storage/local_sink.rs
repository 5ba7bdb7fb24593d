//! Write access to a local folder.
//!
//! A file is written under a temporary name in its folder, flushed to the disk, and renamed. Its writer holds a lock on it:
//! a temporary file that can be locked was left by a dead process.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::local::path_below;
use super::sink::{Depth, PendingObject, Sink, WriterAccess, WriterGuard};
use super::{AtomicFile, Location, StorageError, open_regular, wait_in_parallel};

/// The beginning of the names of temporary files.
const TEMPORARY: &str = ".writing-";

/// The files below one folder.
#[derive(Debug)]
pub(super) struct LocalSink {
    root: PathBuf,
}

impl LocalSink {
    /// The files below `root`, which may not exist yet.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        path_below(&self.root, key)
    }

    /// The folder `folder`, relative to the root, which may be empty.
    fn folder(&self, folder: &str) -> Result<PathBuf, StorageError> {
        if folder.is_empty() {
            Ok(self.root.clone())
        } else {
            self.path(folder)
        }
    }

    /// A temporary file that will become `path`.
    fn create(&self, path: &Path) -> Result<AtomicFile, StorageError> {
        let folder = path.parent().unwrap_or(&self.root);
        match AtomicFile::create(folder, TEMPORARY) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.create_folders(folder)?;
                AtomicFile::create(folder, TEMPORARY).map_err(failed("create a file in", folder))
            }
            created => created.map_err(failed("create a file in", folder)),
        }
    }

    /// Creates `folder` and those above it, up to the root, which must exist.
    fn create_folders(&self, folder: &Path) -> Result<(), StorageError> {
        if !self.root.is_dir() {
            return Err(StorageError::RootRemoved {
                root: self.root.display().to_string(),
            });
        }
        let below = folder.strip_prefix(&self.root).unwrap_or(folder);
        let mut path = self.root.clone();
        for part in below.components() {
            path.push(part);
            match fs::create_dir(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                created => created.map_err(failed("create the folder", &path))?,
            }
        }
        Ok(())
    }

    fn written(&self, key: &str, bytes: &[u8]) -> Result<(PathBuf, AtomicFile), StorageError> {
        let (path, file) = self.written_unflushed(key, bytes)?;
        file.flush_to_disk().map_err(failed("write", &path))?;
        Ok((path, file))
    }

    fn written_unflushed(
        &self,
        key: &str,
        bytes: &[u8],
    ) -> Result<(PathBuf, AtomicFile), StorageError> {
        let path = self.path(key)?;
        let mut file = self.create(&path)?;
        let written = file.as_file_mut().write_all(bytes);
        written.map_err(failed("write", &path))?;
        Ok((path, file))
    }
}

impl Sink for LocalSink {
    fn create_root(&self) -> Result<bool, StorageError> {
        let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let new: Vec<&Path> = self.root.ancestors().take_while(missing).collect();
        let created = fs::create_dir_all(&self.root);
        created.map_err(failed("create the folder", &self.root))?;
        for folder in &new {
            let parent = folder.parent().unwrap_or(folder);
            flush_folder(parent).map_err(failed("flush the folder", parent))?;
        }
        Ok(!new.is_empty())
    }

    fn remove_empty_root(&self) {
        let _ = fs::remove_dir(&self.root);
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let (path, file) = self.written(key, bytes)?;
        file.rename(&path).map_err(failed("write", &path))
    }

    fn put_unflushed(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let (path, file) = self.written_unflushed(key, bytes)?;
        file.rename(&path).map_err(failed("write", &path))
    }

    fn create_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        let (path, file) = self.written(key, bytes)?;
        match file.rename_to_new(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            renamed => renamed.map_err(failed("write", &path)).map(|()| true),
        }
    }

    fn begin(&self, key: &str) -> Result<Box<dyn PendingObject>, StorageError> {
        let path = self.path(key)?;
        let file = self.create(&path)?;
        Ok(Box::new(PendingFile { path, file }))
    }

    fn copy_unread(&self, from: &Location, key: &str) -> Result<bool, StorageError> {
        let Location::Local(from) = from else {
            return Ok(false);
        };
        let (from, path) = (path_below(from, key)?, self.path(key)?);
        // The link would be one to a symbolic link.
        if !fs::symlink_metadata(&from).is_ok_and(|found| found.is_file()) {
            return Ok(false);
        }
        let folder = path.parent().unwrap_or(&self.root);
        self.create_folders(folder)?;
        let linked = link(&from, folder, &path);
        // Another file system, one without links, or a file of somebody else.
        linked.map_or(Ok(false), |renamed| {
            renamed.map_err(failed("write", &path)).map(|()| true)
        })
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Err(e) if !is_missing(&e) => return Err(failed("delete", &path)(e)),
            _ => {}
        }
        let folders = path.ancestors().skip(1);
        for folder in folders.take_while(|folder| *folder != self.root) {
            match fs::remove_dir(folder) {
                Ok(()) => {}
                // Files of others are in it.
                Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => break,
                Err(e) if is_missing(&e) => {}
                Err(e) => return Err(failed("delete", folder)(e)),
            }
        }
        Ok(())
    }

    fn flush_folders(&self, folders: &mut dyn Iterator<Item = &str>) -> Result<(), StorageError> {
        let paths: Vec<PathBuf> = folders
            .map(|folder| self.folder(folder))
            .collect::<Result<_, _>>()?;
        let flush = |path: &PathBuf| flush_folder(path).map_err(failed("flush the folder", path));
        wait_in_parallel(&paths, flush).map(drop)
    }

    fn remove_abandoned(&self, folder: &str, depth: Depth) -> Result<(), StorageError> {
        let mut folders = vec![self.folder(folder)?];
        while let Some(folder) = folders.pop() {
            let listed = failed("list", &folder);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if is_missing(&e) => continue,
                Err(e) => return Err(listed(e)),
            };
            for entry in entries {
                let entry = entry.map_err(failed("list", &folder))?;
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    if depth == Depth::All {
                        folders.push(entry.path());
                    }
                } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    remove_if_abandoned(&entry.path());
                }
            }
        }
        Ok(())
    }

    fn register_writer(
        &self,
        key: &str,
        access: WriterAccess,
    ) -> Result<Option<WriterGuard>, StorageError> {
        let path = self.path(key)?;
        loop {
            self.create_folders(path.parent().unwrap_or(&self.root))?;
            let opened = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(failed("open", &path))?;
            let locked = match access {
                WriterAccess::Shared => opened.try_lock_shared(),
                WriterAccess::Exclusive => opened.try_lock(),
            };
            match locked {
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                // The file system has no locks: the writer works without them.
                Err(fs::TryLockError::Error(_)) => return Ok(Some(WriterGuard::new(opened))),
                // A writer that gave up may have deleted the file before it was locked here.
                Ok(()) if !is_still_at(&opened, &path) => {}
                Ok(()) => return Ok(Some(WriterGuard::new(opened))),
            }
        }
    }
}

/// Gives the file `from` the name `path` in `folder`, too, and replaces an existing file there. The outer error is that of the
/// link, the inner one that of the renaming.
fn link(from: &Path, folder: &Path, path: &Path) -> std::io::Result<std::io::Result<()>> {
    loop {
        let link = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .make_in(folder, |temporary| fs::hard_link(from, temporary))?;
        let temporary = link.into_temp_path();
        // Where `path` is a name of this file already, nothing is renamed, and the temporary name stays until it is dropped.
        match fs::rename(&temporary, path) {
            // Another process may have taken it for what a dead writer left.
            Err(e) if e.kind() == ErrorKind::NotFound && !temporary.exists() => {}
            renamed => return Ok(renamed),
        }
    }
}

/// Whether `path` is still the name of the open file.
fn is_still_at(opened: &File, path: &Path) -> bool {
    let place = |found: fs::Metadata| (found.dev(), found.ino());
    let now = fs::metadata(path).map(place).ok();
    now.is_some() && opened.metadata().map(place).ok() == now
}

/// A file under its temporary name.
#[derive(Debug)]
struct PendingFile {
    path: PathBuf,
    file: AtomicFile,
}

impl PendingObject for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let written = self.file.as_file_mut().write_all(bytes);
        written.map_err(failed("write", &self.path))
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let flushed = self.file.flush_to_disk();
        flushed.map_err(failed("write", &self.path))?;
        let renamed = self.file.rename(&self.path);
        renamed.map_err(failed("write", &self.path))
    }
}

/// Whether a temporary file has this name.
pub(crate) fn is_temporary_name(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

/// Removes the temporary file unless its writer lives. It is no error if another process removes it first.
fn remove_if_abandoned(path: &Path) {
    if open_regular(path).is_ok_and(|(f, _)| f.try_lock().is_ok()) {
        let _ = fs::remove_file(path);
    }
}

/// Makes the names in `folder` durable, where the file system can.
fn flush_folder(folder: &Path) -> std::io::Result<()> {
    // The working directory has an empty path.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot flush folders.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        flushed => flushed,
    }
}

/// `a/b` is also missing if `a` is a file.
fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StorageError {
    let object = path.display().to_string();
    move |source| StorageError::Write {
        action,
        object,
        source,
    }
}

#[cfg(test)]
mod tests;

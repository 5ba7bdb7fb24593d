//! Write access to the objects below one location.
//!
//! The contract, which local folders and buckets fulfil alike (`sink/contract.rs` tests it):
//! - An object appears under its key with all its bytes, or not at all. An existing object is replaced in one step.
//! - When a method returns without an error, the object's bytes are durable. Its name in a local folder is durable after
//!   [`Sink::flush_folders`].
//! - A folder exists while an object is in it.
//! - Only [`Sink::create_root`] creates the root. If the root disappears later, writes fail.
//! - Any method may be called by several threads and processes at the same time.

use std::any::Any;
use std::fmt;

use super::{Location, StorageError};

/// Write access to the objects below one location. Keys are relative paths with `/`.
pub(crate) trait Sink: Send + Sync + fmt::Debug {
    /// Creates the root folder and the folders above it, if they do not exist.
    ///
    /// Returns whether the root was created.
    fn create_root(&self) -> Result<bool, StorageError>;

    /// Removes the root folder if it is empty. Errors are ignored: an empty folder does no harm.
    fn remove_empty_root(&self) {}

    /// Writes an object, and replaces an existing one.
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// As [`Sink::put`], but a crash of the machine may lose or damage the object, if that is faster.
    fn put_unflushed(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.put(key, bytes)
    }

    /// Writes an object unless it exists. Returns whether it was written. Of several writers at the same time, one gets
    /// `true`.
    fn create_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StorageError>;

    /// Begins an object that is written piece by piece, in bounded memory.
    fn begin(&self, key: &str) -> Result<Box<dyn PendingObject>, StorageError>;

    /// Copies the object `key` of another location, without reading it here: by a hard link, or inside the server. An existing
    /// object is replaced. Returns whether it was copied: `false` if that is not possible here, or there is no such object.
    fn copy_unread(&self, from: &Location, key: &str) -> Result<bool, StorageError>;

    /// Deletes an object, and the folders that are empty then. It is no error if the object does not exist.
    fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// Makes the names of the objects in these folders durable; a folder is a relative path, the root is empty.
    fn flush_folders(&self, folders: &mut dyn Iterator<Item = &str>) -> Result<(), StorageError>;

    /// Removes what writers that died before they committed left of the objects in `folder`; the root is empty. Objects of
    /// writers that live are not changed.
    fn remove_abandoned(&self, folder: &str, depth: Depth) -> Result<(), StorageError>;

    /// Registers a writer at `key` until the guard is dropped. Returns `None` if `access` excludes another registered
    /// writer. A writer that died is not registered any more, in a bucket after some minutes.
    fn register_writer(
        &self,
        key: &str,
        access: WriterAccess,
    ) -> Result<Option<WriterGuard>, StorageError>;
}

/// Which objects of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Those in the folder itself.
    Folder,
    /// Those in folders below it, too.
    All,
}

/// Which other writers a writer can work beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterAccess {
    /// Beside other shared writers.
    Shared,
    /// Alone.
    Exclusive,
}

/// Registers a writer while it exists.
pub(crate) struct WriterGuard(
    #[expect(dead_code, reason = "its drop ends the registration")] Box<dyn Any + Send + Sync>,
);

impl WriterGuard {
    /// A guard that keeps `registration` until it is dropped.
    pub(super) fn new(registration: impl Any + Send + Sync) -> Self {
        Self(Box::new(registration))
    }
}

impl fmt::Debug for WriterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriterGuard")
    }
}

/// An object that is being written. If it is dropped before [`PendingObject::commit`], nothing of it remains.
pub(crate) trait PendingObject: Send + fmt::Debug {
    /// Adds bytes at the end.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes the bytes durable, and gives the object its key. Waits for the disk or the server.
    fn commit(self: Box<Self>) -> Result<(), StorageError>;
}

#[cfg(test)]
pub(super) mod contract;

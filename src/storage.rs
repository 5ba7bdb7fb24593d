//! Access to local and remote files: [`Store`] reads, [`Sink`] writes.
//!
//! The input is a [`Location`] (a folder, parsed from a URL or path in a config or collection) and a key relative to
//! it. The output is the object's bytes, or the fact that the object is missing. A key cannot point outside its root,
//! and an object larger than the caller's limit is not read. A server's Content-Encoding is decoded.

mod access_denied;
mod atomic;
mod budget;
mod compression;
mod context;
mod current_stage;
mod document;
mod enough;
mod extent;
#[cfg(test)]
pub(crate) mod fault_points;
mod interrupt;
mod kept_files;
mod listing;
mod local;
mod local_sink;
#[cfg(test)]
pub(crate) mod loopback;
mod network;
mod network_file_system;
mod parallel_tasks;
mod redact;
mod regular_file;
mod remote;
mod retry;
mod shared_values;
mod sink;
mod stop_group;
mod stored_location;
mod streamed;
mod unique_keys;
mod url;
mod wait_in_parallel;
mod wait_reporter;
mod write_batches;

use std::fmt;
use std::io::ErrorKind;
use std::ops::{ControlFlow, Range};

use crate::fault::{Fault, FaultKind};
pub(crate) use access_denied::access_denied_is_missing;
pub(crate) use atomic::AtomicFile;
pub use atomic::{Existing, write_atomic};
pub(crate) use budget::{BASE_BYTES, Keeper, Lease, ReadError};
pub use budget::{MemoryBudget, OverBudget};
pub use compression::Compression;
pub(crate) use compression::{InflateError, gzip_note, looks_like_gzip};
pub use context::Storage;
pub(crate) use current_stage::StageStatus;
pub use document::{DocumentError, DocumentLimit, parse_document};
pub(crate) use document::{looks_like_html, parse_within, read_text};
pub(crate) use enough::enough;
pub(crate) use extent::{Extent, read_run, runs};
#[cfg(test)]
pub(crate) use local::LocalStore;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use local::witness;
pub(crate) use local_sink::is_temporary_name;
pub use network::Network;
pub(crate) use parallel_tasks::ParallelTasks;
pub use redact::redacted;
pub(crate) use redact::{has_userinfo, redact_json, redacted_source};
pub(crate) use regular_file::{open_regular, read_all, read_regular, refusal};
pub use remote::RemoteLocation;
pub use retry::RetryPolicy;
pub(crate) use sink::{Depth, PendingObject, Sink, WriterAccess, WriterGuard};
pub(crate) use stop_group::StoppableWork;
pub(crate) use streamed::{StreamedDocument, parse_stream};
pub(crate) use unique_keys::UniqueKeys;
pub(crate) use url::PASSWORD;
pub use url::{LayerInFile, Location, LocationError, SourceUrl};
pub(crate) use wait_in_parallel::{run_with_threads, wait_in_parallel};
pub(crate) use write_batches::WriteBatches;

/// Maximum size of layer metadata (info, Zarr metadata, N5 attributes) in bytes: 16 MiB.
pub const MAX_METADATA_BYTES: u64 = 16 << 20;

/// Maximum size of a collection's text in bytes. A collection is streamed, so it is never in memory as a whole.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 1 << 30;

/// Read access to the objects below one [`Location`].
pub trait Store: Send + Sync + fmt::Debug {
    /// Replaces the contents of `into` by the whole object at `key`, a relative path with `/`.
    ///
    /// Returns `false`, with `into` empty, if the object is missing. An object of more than `limit_bytes` is an error.
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError>;

    /// Like [`Store::read`], but does not decode a server's Content-Encoding. Returns the compressions for the caller to
    /// decode, in the order in which they were applied. `limit_bytes` counts the compressed bytes.
    fn read_encoded(
        &self,
        key: &str,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        Ok(self.read(key, limit_bytes, into)?.then(Vec::new))
    }

    /// Whether the objects are on a server that this program sends requests to.
    fn is_remote(&self) -> bool;

    /// Number of operations, one after the other, that wait for a server when an object is read: 1 on a server, several on a
    /// network file system, 0 on a local disk.
    fn round_trips(&self) -> usize {
        usize::from(self.is_remote())
    }

    /// Whether a read waits much longer than it computes, so that it pays to prefetch and to read many objects at a time.
    fn has_latency(&self) -> bool {
        self.round_trips() > 0
    }

    /// Whether file names may have a suffix for their compression, as CloudVolume writes them on disks. Buckets use
    /// Content-Encoding instead.
    fn has_files(&self) -> bool {
        true
    }

    /// Replaces the contents of `into` by the bytes `range` of the object at `key`.
    ///
    /// Returns `false`, with `into` empty, if the object is missing. An object that ends before the range does is an
    /// error. The caller has checked the range's length against a limit.
    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError>;

    /// Prefetches the bytes `range` of the object at `key`, or the whole object, without waiting. Returns `false` if
    /// nothing was prefetched, for example because the object is missing.
    fn prefetch(&self, _key: &str, _range: Option<Range<u64>>) -> bool {
        false
    }

    /// Size in bytes of the object at `key`; `None` if it is missing.
    fn size(&self, key: &str) -> Result<Option<u64>, StorageError>;

    /// Opens the object at `key` for many reads; `None` if it is missing.
    fn open_object(&self, key: &str) -> Result<Option<Box<dyn OpenObject>>, StorageError>;

    /// Calls `each` for every object below `folder` and the folders in it, in any order, until `each` breaks. `folder` is a
    /// relative path, empty for everything. Nothing is listed if the folder does not exist.
    ///
    /// # Errors
    /// A folder cannot be listed, or the server has no listings (http).
    fn list(
        &self,
        folder: &str,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// The object's name for messages: its path or URL.
    fn describe(&self, key: &str) -> String;
}

/// An object that is open for reading.
pub trait OpenObject: Send + Sync + fmt::Debug {
    /// Its size in bytes, when it was opened.
    fn size_bytes(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on. An object that ends before is an error.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StorageError>;
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key, relative to the store.
    pub key: String,
    /// Its size; `None` for what is neither a regular file nor a folder, such as a symbolic link or a pipe.
    pub size_bytes: Option<u64>,
    /// When it was written, in milliseconds since 1970 by the clock of the disk or the server; `None` if unknown.
    pub modified_ms: Option<i64>,
}

impl StorageError {
    /// The HTTP status of an error response.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Remote { status, .. } => *status,
            _ => None,
        }
    }

    /// The same error, with its advice replaced if it is the error of a server.
    pub(crate) fn with_advice(mut self, new: impl Into<String>) -> Self {
        if let Self::Remote { advice, .. } = &mut self {
            *advice = new.into();
        }
        self
    }

    /// Whether the system does not accept the name of the object.
    pub(crate) fn is_invalid_name(&self) -> bool {
        matches!(self, Self::Read { source, .. } | Self::Write { source, .. } if source.kind() == ErrorKind::InvalidFilename)
    }

    /// Whether the object ends before the requested range does.
    pub(crate) fn is_too_short(&self) -> bool {
        matches!(self, Self::TooShort { .. })
    }

    /// Whether a request was stopped because another part of the job failed.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }

    /// The minimum size of an object that exceeds its limit, in bytes; `None` for other errors.
    pub(crate) fn too_large(&self) -> Option<u64> {
        match self {
            Self::TooLarge { found_bytes, .. } => Some(*found_bytes),
            Self::Inflates { limit_bytes, .. } => Some(limit_bytes.saturating_add(1)),
            _ => None,
        }
    }
}

/// Why an object could not be read or written. Every message names the object.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system returned an error.
    #[error("cannot read {object}")]
    Read {
        /// Path or URL.
        object: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A folder cannot be listed.
    #[error("cannot list {folder}")]
    List {
        /// The folder.
        folder: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The operating system returned an error while something was written.
    #[error("cannot {action} {object}")]
    Write {
        /// What was tried: `write`, `delete`, ...
        action: &'static str,
        /// Path or URL.
        object: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder that is written to does not exist any more.
    #[error(
        "the folder {root} was removed or renamed while pointshard wrote to it; run the same command again to write the missing files"
    )]
    RootRemoved {
        /// The folder.
        root: String,
    },
    /// The object is larger than the limit.
    #[error("{object} has {found_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// Path or URL.
        object: String,
        /// Its size.
        found_bytes: u64,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// The server sent the object compressed, and it inflates to more than the limit.
    #[error("{object} is too large: {problem}")]
    Inflates {
        /// Path or URL.
        object: String,
        /// Its compression and the limit.
        problem: String,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// The request failed, or the response is an error.
    #[error("cannot {action} {url}: {problem}; {advice}")]
    Remote {
        /// What was tried: `read`, `list`, `write` or `delete`.
        action: &'static str,
        /// The object's URL.
        url: String,
        /// The HTTP status, if the response is an error.
        status: Option<u16>,
        /// What failed.
        problem: String,
        /// What to do.
        advice: String,
        /// Whether the cause is the environment (server, network) or the data.
        kind: FaultKind,
    },
    /// The response is an HTML page.
    #[error(
        "{object} is an HTML page: the server answered with an HTML page where data was expected; check the URL: it may require a \
         login, or a proxy or captive portal may have answered instead"
    )]
    Html {
        /// The object's URL.
        object: String,
    },
    /// The request was stopped because another part of the job failed. The error of that part is reported.
    #[error("the request for {object} was stopped, because another part of the job failed")]
    Stopped {
        /// The object's URL.
        object: String,
    },
    /// The object ends before the requested range does.
    #[error(
        "{object} has {found_bytes} bytes, but its bytes {start} to {end} are needed, so expected {end}: it is \
         truncated, or the index that refers to it is damaged"
    )]
    TooShort {
        /// Path or URL.
        object: String,
        /// Its size.
        found_bytes: u64,
        /// First byte of the range.
        start: u64,
        /// Byte after the last of the range.
        end: u64,
    },
    /// A symbolic link leads out of the folder that is read.
    #[error(
        "a symbolic link leads from {object} to {target}, which is outside of the folder: replace it with the file itself"
    )]
    LinkLeavesRoot {
        /// The path.
        object: String,
        /// Where it leads.
        target: String,
    },
    /// The key points outside the folder that it is relative to.
    #[error("the key {key:?} points outside {root}; expected a relative path without `..`")]
    KeyLeavesRoot {
        /// The key as found.
        key: String,
        /// The folder.
        root: String,
    },
}

impl Fault for StorageError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } | Self::List { source, .. } => FaultKind::of_read(source),
            Self::Write { source, .. } => FaultKind::of_write(source),
            Self::Remote { kind, .. } => *kind,
            Self::RootRemoved { .. } | Self::Stopped { .. } => FaultKind::Environment,
            Self::TooLarge { .. }
            | Self::Inflates { .. }
            | Self::Html { .. }
            | Self::TooShort { .. }
            | Self::LinkLeavesRoot { .. }
            | Self::KeyLeavesRoot { .. } => FaultKind::Data,
        }
    }
}

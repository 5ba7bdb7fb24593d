//! Bytes by URL: where a layer or a document lies, and how its objects are read.
//!
//! In goes a [`Location`] (a folder, parsed from what a config or a collection says) and a key below it;
//! out come the object's bytes, or the fact that it is not stored. Keys cannot leave their root, and no
//! object larger than the caller's limit is read. A server's Content-Encoding is undone on the way.

mod access_denied;
mod atomic;
mod budget;
mod compression;
mod context;
mod document;
mod extent;
mod listing;
mod local;
#[cfg(test)]
pub(crate) mod loopback;
mod network;
mod parallel_tasks;
mod redact;
mod regular_file;
mod remote;
mod retry;
mod stop_group;
mod streamed;
mod unique_keys;
mod url;
mod wait_reporter;

use std::fmt;
use std::ops::Range;

use crate::fault::{Fault, FaultKind};
pub(crate) use access_denied::access_denied_is_missing;
pub(crate) use atomic::{AtomicFile, Existing, write_atomic};
pub(crate) use budget::{BASE_BYTES, Keeper, Lease, ReadError};
pub use budget::{MemoryBudget, OverBudget};
pub use compression::Compression;
pub(crate) use compression::{InflateError, gzip_note, looks_like_gzip};
pub use context::Storage;
pub use document::{DocumentError, DocumentLimit, parse_document};
pub(crate) use document::{looks_like_html, parse_within, read_text};
pub(crate) use extent::{Extent, read_run, runs};
#[cfg(test)]
pub(crate) use local::LocalStore;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use local::witness;
pub use network::Network;
pub(crate) use parallel_tasks::ParallelTasks;
pub use redact::redacted;
pub(crate) use redact::{has_userinfo, redact_json, redacted_source};
pub(crate) use regular_file::{open_regular, read_all, read_regular, refusal};
pub use remote::RemoteLocation;
pub use retry::RetryPolicy;
pub(crate) use stop_group::StoppableWork;
pub(crate) use streamed::{StreamedDocument, parse_stream};
pub(crate) use unique_keys::UniqueKeys;
pub(crate) use url::PASSWORD;
pub use url::{Location, LocationError, SourceUrl};

/// Largest document that describes a layer (info, Zarr metadata, N5 attributes) that is read, in bytes: 16 MiB.
pub const MAX_METADATA_BYTES: u64 = 16 << 20;

/// Largest collection that is read, in bytes of text. It is never in memory as a whole.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 1 << 30;

/// Read access to the objects below one [`Location`].
pub trait Store: Send + Sync + fmt::Debug {
    /// Replaces the contents of `into` by the whole object at `key`, a relative path with `/`.
    ///
    /// Returns `false`, with `into` empty, where no such object is stored. An object of more than
    /// `limit_bytes` is an error.
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError>;

    /// As [`Store::read`], but leaves what a server's Content-Encoding says to be undone by the caller: the
    /// compressions, the one done first at the front. `limit_bytes` counts the bytes that come.
    fn read_encoded(
        &self,
        key: &str,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        Ok(self.read(key, limit_bytes, into)?.then(Vec::new))
    }

    /// Whether reads are slow compared with computing, so that it pays to prefetch.
    fn is_remote(&self) -> bool;

    /// Whether its objects may be files as they lie on a disk, whose names say how they are compressed: not in buckets.
    fn has_files(&self) -> bool {
        true
    }

    /// Replaces the contents of `into` by the bytes `range` of the object at `key`.
    ///
    /// Returns `false`, with `into` empty, where no such object is stored. An object that ends before the
    /// range does is an error. The caller has checked the range's length against a limit.
    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError>;

    /// Starts to read the bytes `range` of the object at `key`, or all of it, into the disk cache. Does not wait.
    /// `false` if no such object is known to exist.
    fn prefetch(&self, _key: &str, _range: Option<Range<u64>>) -> bool {
        false
    }

    /// Size in bytes of the object at `key`; `None` where no such object is stored.
    fn size(&self, key: &str) -> Result<Option<u64>, StorageError>;

    /// The object's name for messages: a path or URL that a person can open.
    fn describe(&self, key: &str) -> String;
}

impl StorageError {
    /// The HTTP status of an answer that is an error.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Remote { status, .. } => *status,
            _ => None,
        }
    }

    /// The same error, with other advice where it is an error of a server.
    pub(crate) fn with_advice(mut self, new: impl Into<String>) -> Self {
        if let Self::Remote { advice, .. } = &mut self {
            *advice = new.into();
        }
        self
    }

    /// Whether the object ends before the bytes that are needed do.
    pub(crate) fn is_too_short(&self) -> bool {
        matches!(self, Self::TooShort { .. })
    }

    /// Whether the read was given up because another part of the work failed.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }

    /// The least bytes that an object has which was refused because of its size.
    pub(crate) fn too_large(&self) -> Option<u64> {
        match self {
            Self::TooLarge { found_bytes, .. } => Some(*found_bytes),
            Self::Inflates { limit_bytes, .. } => Some(limit_bytes.saturating_add(1)),
            _ => None,
        }
    }
}

/// Why an object could not be read. Every message names the object.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system or the server said no.
    #[error("cannot read {object}")]
    Read {
        /// Path or URL.
        object: String,
        /// What it said.
        source: std::io::Error,
    },
    /// The object is larger than what can be right.
    #[error("{object} has {found_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// Path or URL.
        object: String,
        /// Its size.
        found_bytes: u64,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// The object is sent compressed, and is larger than what can be right.
    #[error("{object} is too large: {problem}")]
    Inflates {
        /// Path or URL.
        object: String,
        /// How it is compressed.
        problem: String,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// A request to a server failed, or its answer was not usable.
    #[error("cannot read {url}: {problem}; {advice}")]
    Remote {
        /// The object's URL.
        url: String,
        /// The HTTP status, where the server answered with an error.
        status: Option<u16>,
        /// What was tried and what came of it.
        problem: String,
        /// What to do.
        advice: String,
        /// Whether the server or the network is at fault, or what is stored there.
        kind: FaultKind,
    },
    /// A page for people came.
    #[error(
        "{object} is an HTML page: the server answered with an HTML page where data was expected; check the URL: it may be behind a \
         login, or a proxy or captive portal may answer in its place"
    )]
    Html {
        /// The object's URL.
        object: String,
    },
    /// It was not waited for any longer, because another part of the work failed: its error is the one to tell.
    #[error("{object} was not read, because another part of the job failed")]
    Stopped {
        /// The object's URL.
        object: String,
    },
    /// The object ends before the bytes that are needed do.
    #[error(
        "{object} has {found_bytes} bytes, but its bytes {start} to {end} are needed, so {end} expected: it is \
         truncated, or the index that refers to it is damaged"
    )]
    TooShort {
        /// Path or URL.
        object: String,
        /// Its size.
        found_bytes: u64,
        /// First byte that is needed.
        start: u64,
        /// Byte after the last that is needed.
        end: u64,
    },
    /// The key would leave the folder that it is relative to.
    #[error("the key {key:?} leaves {root}: a key is a relative path without `..`")]
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
            Self::Read { source, .. } => FaultKind::of_read(source),
            Self::Remote { kind, .. } => *kind,
            Self::Stopped { .. } => FaultKind::Environment,
            Self::TooLarge { .. }
            | Self::Inflates { .. }
            | Self::Html { .. }
            | Self::TooShort { .. }
            | Self::KeyLeavesRoot { .. } => FaultKind::Data,
        }
    }
}

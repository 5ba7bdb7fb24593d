//! The storage of the crate hdf5-reader, on top of our own.
//!
//! The crate keeps what it reads: headers, attributes, indexes of groups. So its memory is limited by what it may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdf5_reader::error::{Error, Result};
use hdf5_reader::{BlockCacheStorage, Storage, StorageBuffer};

use crate::storage::OpenObject;

/// Largest single read of a file's structure. Damaged files have lengths of any size.
pub(super) const MAX_READ_BYTES: u64 = 128 << 20;

/// The structure of a file is read in blocks of this size.
const BLOCK_BYTES: usize = 64 << 10;

/// Number of blocks of structure that are kept while a dataset is opened.
const KEPT_BLOCKS: usize = 256;

/// How many bytes of structure may be read.
#[derive(Debug)]
pub(super) struct ReadLimit {
    limit_bytes: AtomicU64,
    left_bytes: AtomicU64,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self {
            limit_bytes: AtomicU64::new(u64::MAX),
            left_bytes: AtomicU64::new(u64::MAX),
        }
    }
}

impl ReadLimit {
    /// Allows `bytes` from now on.
    pub fn set(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
        self.left_bytes.store(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> Result<()> {
        let left = self.left_bytes.load(Ordering::Relaxed);
        let left = left.checked_sub(bytes).ok_or_else(|| {
            Error::ResourceLimit(format!(
                "found more than {} bytes of attributes, headers and groups, expected at most that, which --memory limits",
                self.limit_bytes.load(Ordering::Relaxed)
            ))
        })?;
        self.left_bytes.store(left, Ordering::Relaxed);
        Ok(())
    }
}

/// The structure of an open file, of which a limited number of bytes may be read.
pub(super) struct StructureReader {
    blocks: BlockCacheStorage,
    limit: Arc<ReadLimit>,
}

impl StructureReader {
    /// The structure of `object`. A single read may have `max_read_bytes`.
    pub fn new(object: Box<dyn OpenObject>, max_read_bytes: u64, limit: Arc<ReadLimit>) -> Self {
        let object = ObjectReader {
            object,
            max_read_bytes,
        };
        Self {
            blocks: BlockCacheStorage::new(Arc::new(object), BLOCK_BYTES, KEPT_BLOCKS),
            limit,
        }
    }
}

impl Storage for StructureReader {
    fn len(&self) -> u64 {
        self.blocks.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
        self.limit.take(len as u64)?;
        self.blocks.read_range(offset, len)
    }
}

/// An open file, as hdf5-reader reads it.
#[derive(Debug)]
struct ObjectReader {
    object: Box<dyn OpenObject>,
    max_read_bytes: u64,
}

impl Storage for ObjectReader {
    fn len(&self) -> u64 {
        self.object.size_bytes()
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
        let total = self.len();
        if offset.checked_add(len as u64).is_none_or(|end| end > total) {
            return Err(Error::UnexpectedEof {
                offset,
                needed: len as u64,
                available: total.saturating_sub(offset),
            });
        }
        if len as u64 > self.max_read_bytes {
            return Err(Error::ResourceLimit(format!(
                "found a structure of {len} bytes, expected at most {}, which --memory limits",
                self.max_read_bytes
            )));
        }
        let mut bytes = vec![0; len];
        let read = self.object.read_at(offset, &mut bytes);
        read.map_err(|e| Error::Io(std::io::Error::other(e)))?;
        Ok(StorageBuffer::from_vec(bytes))
    }
}

//! The storage of the crate hdf5-reader, on top of our own.

use hdf5_reader::error::{Error, Result};
use hdf5_reader::{Storage, StorageBuffer};

use crate::storage::OpenObject;

/// Largest single read of a file's structure. Damaged files have lengths of any size.
const MAX_READ_BYTES: usize = 128 << 20;

/// An open file, as hdf5-reader reads it.
#[derive(Debug)]
pub(super) struct ObjectReader(pub Box<dyn OpenObject>);

impl Storage for ObjectReader {
    fn len(&self) -> u64 {
        self.0.size_bytes()
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
        if len > MAX_READ_BYTES {
            return Err(Error::ResourceLimit(format!(
                "found a structure of {len} bytes, expected at most {MAX_READ_BYTES}"
            )));
        }
        let mut bytes = vec![0; len];
        let read = self.0.read_at(offset, &mut bytes);
        read.map_err(|e| Error::Io(std::io::Error::other(e)))?;
        Ok(StorageBuffer::from_vec(bytes))
    }
}

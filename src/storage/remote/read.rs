//! Reads of one object or a range of it, retried as the program's policy defines.

use std::ops::Range;

use super::action::Action;
use super::attempt::{Decode, decompress};
use super::{RemoteStore, StorageError};
use crate::storage::Compression;

impl RemoteStore {
    /// Reads the object's bytes, or those in `range`. Returns `false` if the object does not exist.
    pub(super) fn read_decoded(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        let encoding = self.read_with(key, range, limit_bytes, into, decompress)?;
        Ok(encoding.is_some())
    }

    /// As [`RemoteStore::read_decoded`], with `decode` for the object's Content-Encoding. Returns the compressions
    /// that `decode` left.
    pub(super) fn read_with(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit_bytes: u64,
        into: &mut Vec<u8>,
        decode: Decode,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        into.clear();
        let (mut request, path) = self.request(Action::Read, "GET", key, range)?;
        request.limit_bytes = limit_bytes;
        let result = request.retry(async || request.attempt(&path, into, decode).await);
        if result.is_err() {
            into.clear();
        }
        result
    }

    /// The object's size; `None` if the object does not exist.
    pub(super) fn object_size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let (request, path) = self.request(Action::Read, "HEAD", key, None)?;
        if let Some(size) = request.retry(async || request.size_by_head(&path).await)? {
            return Ok(size);
        }
        let (request, path) = self.request(Action::Read, "GET", key, Some(0..1))?;
        request.retry(async || request.size_by_range(&path).await)
    }
}

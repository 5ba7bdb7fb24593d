//! The record of an output's plan. It is stored beside the output, which does not need it.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

use super::{DatasetError, Output};
use crate::storage::open_regular;

/// Largest record that is read, in bytes.
const MAX_RECORD_BYTES: u64 = 256 << 20;

const RECORD: &str = ".pointshard/record.json";

impl Output {
    /// Writes the record; the write is atomic.
    pub(crate) fn write_record<T: Serialize>(&self, record: &T) -> Result<(), DatasetError> {
        let bytes = serde_json::to_vec(record)
            .map_err(|e| DatasetError::io("write", self.root().join(RECORD))(e.into()))?;
        self.write(RECORD, &bytes)
    }

    /// The record of the output in `root`, if there is one that can be read.
    pub(crate) fn read_record(root: &Path) -> Option<Vec<u8>> {
        read(root, MAX_RECORD_BYTES)
    }

    /// Whether the record of the output in `root` begins with `start` and is complete.
    pub(crate) fn has_record(root: &Path, start: &[u8]) -> bool {
        let ends = || {
            let mut last = [0];
            let (mut file, _) = open_regular(&root.join(RECORD)).ok()?;
            file.seek(SeekFrom::End(-1)).ok()?;
            file.read_exact(&mut last).ok()?;
            Some(last == *b"}")
        };
        read(root, start.len() as u64).is_some_and(|bytes| bytes == start) && ends() == Some(true)
    }
}

/// At most `limit_bytes` of the record.
fn read(root: &Path, limit_bytes: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (file, _) = open_regular(&root.join(RECORD)).ok()?;
    file.take(limit_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

//! The stored bytes of a block.

use crate::storage::Compression;

/// The stored bytes of a block. The buffers are reused for the next block.
#[derive(Debug, Default)]
pub struct EncodedBlock {
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// How the bytes are compressed, in addition to the block's own encoding.
    pub compression: Compression,
    /// Buffer for the decompressed bytes, if the block's encoding needs another step.
    pub(super) inflated: Vec<u8>,
    /// Length in `bytes` of each part, if the block's channels are stored in several parts. `None` for a missing part.
    parts: Vec<Option<usize>>,
    /// Buffer for decoded values that need another step.
    pub(crate) decoded: Vec<u8>,
}

impl EncodedBlock {
    /// Reads `parts` parts with `read`, which gets the part's number. Returns `false` if all parts are missing.
    pub(super) fn read_parts<E>(
        &mut self,
        parts: u64,
        mut read: impl FnMut(u64, &mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        self.parts.clear();
        if parts == 1 {
            let stored = read(0, &mut self.bytes)?;
            self.parts.push(stored.then_some(self.bytes.len()));
            return Ok(stored);
        }
        self.bytes.clear();
        for part in 0..parts {
            let stored = read(part, &mut self.inflated)?;
            self.parts.push(stored.then_some(self.inflated.len()));
            if stored {
                self.bytes.extend_from_slice(&self.inflated);
            }
        }
        Ok(self.parts.iter().any(Option::is_some))
    }

    /// Marks the bytes as a block with a single part.
    pub(super) fn set_single_part(&mut self) {
        self.parts = vec![Some(self.bytes.len())];
    }

    /// The bytes of each part. `None` for a missing part.
    pub(super) fn parts(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = &self.bytes[..];
        self.parts.iter().map(move |length| {
            let (bytes, others) = rest.split_at((*length)?.min(rest.len()));
            rest = others;
            Some(bytes)
        })
    }
}

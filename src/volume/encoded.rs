//! A block as stored: its bytes, or those of the parts that its channels are spread over.

use crate::storage::Compression;

/// A block as stored: its bytes and how they are compressed. Kept and reused from block to block.
#[derive(Debug, Default)]
pub struct EncodedBlock {
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// What is to be undone before the block's own encoding.
    pub compression: Compression,
    /// What is left when it is undone, where decoding takes a second step.
    pub(super) inflated: Vec<u8>,
    /// Where a block is stored in several parts: the bytes of each, one after the other in `bytes`; `None`
    /// for a part that is not stored.
    parts: Vec<Option<usize>>,
    /// Decoded values that are still to become others.
    pub(crate) decoded: Vec<u8>,
}

impl EncodedBlock {
    /// Fills it with the parts that `read` reads, each by its number; `false` where none of them is stored.
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

    /// Says that its bytes are those of a block in one part.
    pub(super) fn set_single_part(&mut self) {
        self.parts = vec![Some(self.bytes.len())];
    }

    /// The bytes of the parts, one after the other; `None` for one that is not stored.
    pub(super) fn parts(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = &self.bytes[..];
        self.parts.iter().map(move |length| {
            let (bytes, others) = rest.split_at((*length)?.min(rest.len()));
            rest = others;
            Some(bytes)
        })
    }
}

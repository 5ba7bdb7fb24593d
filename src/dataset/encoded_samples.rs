//! Consecutive samples of a shard, encoded. Several threads encode those of one shard, each with a buffer of its own, and
//! [`ShardWriter::append`](super::ShardWriter::append) puts them one behind the other.

use super::encoder::{Encoding, SampleEncoder};
use super::{ArrayLayout, CodecChoice, DatasetError};

/// How the samples of an array are encoded. Threads share it.
#[derive(Debug)]
pub struct SampleEncoding {
    encoding: Encoding,
    choice: CodecChoice,
}

impl SampleEncoding {
    /// The encoding of an array.
    pub fn of(array: &ArrayLayout) -> Result<Self, DatasetError> {
        let encoding = Encoding::new(array.codec.codec, array.data_type.size_bytes())?;
        Ok(Self {
            encoding,
            choice: array.codec,
        })
    }
}

/// Offset and length of an inner chunk that is all fill value.
pub(super) const EMPTY: [u64; 2] = [u64::MAX; 2];

/// Encoded samples, one behind the other, as they are in a shard: each with its checksum.
#[derive(Debug, Default)]
pub struct EncodedSamples {
    /// Not zeroed between uses: only what is below `length` counts.
    buffer: Vec<u8>,
    length: usize,
    /// Offset and length of each sample.
    places: Vec<[u64; 2]>,
}

impl EncodedSamples {
    /// Forgets all samples, and keeps the memory.
    pub fn clear(&mut self) {
        self.length = 0;
        self.places.clear();
    }

    /// Adds a sample: its values in C order, little-endian, or `None` where all are the fill value.
    pub fn push(
        &mut self,
        values: Option<&[u8]>,
        encoding: &SampleEncoding,
        encoder: &mut SampleEncoder,
    ) -> Result<(), DatasetError> {
        let Some(values) = values else {
            self.places.push(EMPTY);
            return Ok(());
        };
        let start = self.pad(encoding.choice);
        let most = encoding.encoding.most_bytes(values.len()) + size_of::<u32>();
        let room = self.room(most);
        let encoded_bytes = encoder.encode(&encoding.encoding, values, room)?;
        let crc = crc32c::crc32c(&room[..encoded_bytes]).to_le_bytes();
        room[encoded_bytes..][..crc.len()].copy_from_slice(&crc);
        let length = encoded_bytes + crc.len();
        self.length += length;
        self.places.push([start as u64, length as u64]);
        Ok(())
    }

    /// Zeros up to where the next sample begins; returns where that is. The first sample of all begins at 0, so these places
    /// are also aligned in the shard if the first one is.
    fn pad(&mut self, choice: CodecChoice) -> usize {
        let start = choice.aligned(self.length as u64) as usize;
        let gap = start - self.length;
        self.room(gap).fill(0);
        self.length = start;
        start
    }

    /// The samples as they are in a shard.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Offset and length of each sample, or [`EMPTY`].
    pub(super) fn places(&self) -> &[[u64; 2]] {
        &self.places
    }

    /// Memory for `n` more bytes.
    fn room(&mut self, n: usize) -> &mut [u8] {
        let end = self.length + n;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.length..end]
    }
}

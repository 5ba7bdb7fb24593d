//! Shards: files of the Zarr v3 codec `sharding_indexed`, one inner chunk per sample.
//!
//! A shard is streamed to its file, some samples at a time, so it takes little memory. Format (Zarr v3 codec `sharding_indexed` 1.0): the encoded inner chunks one after the other, then the
//! index, two little-endian u64 (offset, length) per inner chunk in C order, both `u64::MAX` where the chunk is
//! all fill value, then the CRC-32C of the index. Where the config says so, zeros before an inner chunk let it begin at a
//! multiple of some bytes. An inner chunk is `bytes` (little-endian), the array's codec,
//! `crc32c`: its values in C order, compressed where the codec says so, then the CRC-32C of that, little-endian. The
//! metadata that says so is made by zarrs in `metadata`, and inner chunks are decoded by zarrs in `reader`.

use std::sync::Arc;

use crate::storage::{OpenObject, PendingObject, StorageError};

use super::encoded_samples::EMPTY;
use super::{CodecChoice, DatasetError, EncodedSamples, Layout, Output, ShardId};

/// A shard that is being written.
#[derive(Debug)]
pub struct ShardWriter<'o> {
    output: &'o Output,
    file: Box<dyn PendingObject>,
    hasher: blake3::Hasher,
    index: Vec<[u64; 2]>,
    capacity: usize,
    codec: CodecChoice,
    written_bytes: u64,
}

impl<'o> ShardWriter<'o> {
    /// Begins the shard `id`.
    pub fn begin(output: &'o Output, layout: &Layout, id: ShardId) -> Result<Self, DatasetError> {
        Ok(Self {
            output,
            file: output.begin(&layout.shard_path(id))?,
            hasher: blake3::Hasher::new(),
            index: Vec::new(),
            capacity: layout.splits[id.split].shard_samples as usize,
            codec: layout.arrays[id.array].codec,
            written_bytes: 0,
        })
    }

    /// Adds the next samples.
    pub fn append(&mut self, samples: &EncodedSamples) -> Result<(), DatasetError> {
        let end = self.written_bytes;
        let start = self.codec.aligned(end);
        let in_file = |place: &[u64; 2]| match *place {
            EMPTY => EMPTY,
            [offset, length] => [start + offset, length],
        };
        self.index.extend(samples.places().iter().map(in_file));
        assert!(
            self.index.len() <= self.capacity,
            "more samples than the shard has places"
        );
        match samples.bytes() {
            [] => Ok(()),
            bytes => {
                let gap = vec![0; (start - end) as usize];
                self.write(&gap)?;
                self.write(bytes)
            }
        }
    }

    /// Writes the index. [`WrittenShard::publish`] does the rest, which takes no computing.
    pub fn finish(mut self) -> Result<WrittenShard<'o>, DatasetError> {
        self.index.resize(self.capacity, EMPTY);
        let mut index: Vec<u8> = self
            .index
            .iter()
            .flatten()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        index.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        self.write(&index)?;
        Ok(WrittenShard {
            output: self.output,
            file: self.file,
            bytes: self.written_bytes,
            blake3: self.hasher.finalize(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DatasetError> {
        self.hasher.update(bytes);
        self.file.write(bytes)?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }
}

/// A shard whose bytes are all written, under a temporary name.
#[derive(Debug)]
pub struct WrittenShard<'o> {
    output: &'o Output,
    file: Box<dyn PendingObject>,
    /// Size of the file.
    pub bytes: u64,
    /// Digest of the file.
    pub blake3: blake3::Hash,
}

impl WrittenShard<'_> {
    /// Gives the shard its name, when its bytes are durable. Waits for the disk or the server, so call it in a thread that
    /// does nothing else.
    pub fn publish(self) -> Result<(), DatasetError> {
        self.output.require_own()?;
        Ok(self.file.commit()?)
    }
}

/// A shard that is open for reading, its index read and checked.
#[derive(Debug)]
pub struct ShardReader {
    object: Arc<dyn OpenObject>,
    index: ShardIndex,
}

/// Why an inner chunk cannot be read.
#[derive(Debug)]
pub(super) enum EncodedError {
    /// Its size in the index is not possible.
    Size(String),
    /// The storage reports an error.
    Read(StorageError),
}

impl ShardReader {
    /// Reads the index of the shard, which has places for `capacity` samples. `describe` returns the object's name.
    pub(super) fn open(
        object: Arc<dyn OpenObject>,
        describe: impl Fn() -> String,
        capacity: usize,
    ) -> Result<Self, DatasetError> {
        let index = ShardIndex::read(&*object, describe, capacity)?;
        Ok(Self { object, index })
    }

    /// The encoded inner chunk of the `i`th sample of the shard, which may have `most` bytes; `None` where all of it is
    /// the fill value.
    pub(super) fn encoded(&self, i: usize, most: u64) -> Result<Option<Vec<u8>>, EncodedError> {
        let Some([offset, n]) = self.index.place(i) else {
            return Ok(None);
        };
        if n > most {
            let problem = format!("its inner chunk has {n} bytes, expected {most} at most");
            return Err(EncodedError::Size(problem));
        }
        let mut bytes = vec![0; n as usize];
        let read = self.object.read_at(offset, &mut bytes);
        read.map_err(EncodedError::Read)?;
        Ok(Some(bytes))
    }
}

/// Where the inner chunks of a shard are in its file.
#[derive(Debug)]
pub(super) struct ShardIndex {
    entries: Vec<[u64; 2]>,
}

impl ShardIndex {
    /// Reads and checks the index of the shard `object`, which has places for `capacity` samples. `describe` returns the
    /// object's name.
    pub(super) fn read(
        object: &dyn OpenObject,
        describe: impl Fn() -> String,
        capacity: usize,
    ) -> Result<Self, DatasetError> {
        let size = object.size_bytes();
        let damaged = |problem| DatasetError::Damaged {
            path: describe(),
            problem,
        };
        let index_bytes = capacity.saturating_mul(16).saturating_add(4);
        let Some(index_start) = size.checked_sub(index_bytes as u64) else {
            return Err(damaged(format!(
                "it has {size} bytes, less than the {index_bytes} bytes of its index"
            )));
        };
        let mut bytes = vec![0; index_bytes];
        object.read_at(index_start, &mut bytes)?;
        let (entries, crc) = bytes.split_at(capacity * 16);
        if crc != crc32c::crc32c(entries).to_le_bytes() {
            return Err(damaged("the CRC-32C of its index is wrong".into()));
        }
        let words: Vec<u64> = entries
            .as_chunks()
            .0
            .iter()
            .map(|w| u64::from_le_bytes(*w))
            .collect();
        let entries = words.as_chunks::<2>().0.to_vec();
        let fits =
            |[offset, n]: &[u64; 2]| offset.checked_add(*n).is_some_and(|end| end <= index_start);
        if let Some(i) = entries.iter().position(|e| *e != EMPTY && !fits(e)) {
            return Err(damaged(format!(
                "its index has sample {i} outside of the file"
            )));
        }
        Ok(Self { entries })
    }

    /// Offset and length of the `i`th sample's inner chunk, inside of the file; `None` where all of it is the fill
    /// value.
    pub(super) fn place(&self, i: usize) -> Option<[u64; 2]> {
        self.entries.get(i).copied().filter(|e| *e != EMPTY)
    }

    /// Memory that it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        size_of_val(self.entries.as_slice()) as u64
    }
}

#[cfg(test)]
mod tests;

//! Reading samples fast, for trainers.
//!
//! The number of a sample comes in; its values go out, `[channel, z, y, x]` in C order, little-endian, for every axis order of
//! the array. Nothing is allocated per sample: bytes are read into a buffer, their CRC-32C is checked, and they are
//! decompressed into another buffer; both are reused. Values that are not compressed are read directly into the caller's
//! buffer. This holds for the codecs that [`InnerCodec`] knows, `zstd` and none. zarrs decodes all others, such as `blosc`.
//! [`SampleArray`] always uses zarrs: `check` checks the shards with that independent code.

mod codec;
mod files;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::decode::max_encoded_bytes;
use super::manifest::MAX_SAMPLE_BYTES;
use super::{DatasetError, SampleArray};
use crate::data_type::{DataType, Scalar};
use crate::geometry::AxisOrder;
use crate::storage::OpenObject;
use codec::InnerCodec;
pub use files::ShardFiles;

/// The samples of one array of a split. Threads share it; each has a [`SampleDecoder`] of its own.
#[derive(Debug)]
pub struct SampleReader {
    array: SampleArray,
    files: Arc<ShardFiles>,
    /// The number of the array in `files`.
    id: u32,
    codec: InnerCodec,
    axis_order: AxisOrder,
    shape: [usize; 4],
    data_type: DataType,
    fill_value: Scalar,
    sample_bytes: usize,
    /// Whether one read costs more than a copy of the values.
    has_latency: bool,
}

/// The shard of an inner chunk, and the chunk's offset and length in it.
type ChunkPlace = (Arc<dyn OpenObject>, u64, u64);

/// A thread's buffers, reused from sample to sample.
pub struct SampleDecoder {
    zstd: zstd::bulk::Decompressor<'static>,
    encoded: Vec<u8>,
    values: Vec<u8>,
}

impl std::fmt::Debug for SampleDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SampleDecoder")
    }
}

impl SampleDecoder {
    /// A decoder without buffers.
    pub fn new() -> Result<Self, DatasetError> {
        let zstd = zstd::bulk::Decompressor::new().map_err(|e| DatasetError::Zarr {
            object: "a decoder of samples".into(),
            problem: format!("zstd: {e}"),
        })?;
        Ok(Self {
            zstd,
            encoded: Vec::new(),
            values: Vec::new(),
        })
    }
}

impl SampleReader {
    pub(super) fn new(array: SampleArray, files: Arc<ShardFiles>) -> Result<Self, DatasetError> {
        let failed = |problem: String| super::metadata::zarr_error(array.path(), problem);
        let data_type = array.data_type();
        let chunk = array.inner_chunk();
        let axis_order = match array.dimensions().get(2) {
            Some(Some(name)) if name.starts_with('x') => AxisOrder::Cxyz,
            _ => AxisOrder::Czyx,
        };
        let sample = || -> Option<([usize; 4], usize)> {
            let [1, c, z, y, x] = *chunk.as_slice() else {
                return None;
            };
            let (z, x) = match axis_order {
                AxisOrder::Czyx => (z, x),
                AxisOrder::Cxyz => (x, z),
            };
            let bytes = [c, z, y, x].iter().try_fold(1u64, |n, k| n.checked_mul(*k));
            let bytes = bytes?.checked_mul(data_type.size_bytes() as u64)?;
            let bytes = usize::try_from(bytes)
                .ok()
                .filter(|n| *n as u64 <= MAX_SAMPLE_BYTES)?;
            Some(([c, z, y, x].map(|n| n as usize), bytes))
        };
        let (shape, sample_bytes) = sample().ok_or_else(|| {
            failed(format!(
                "its inner chunk is {chunk:?}, expected [1, channels, z, y, x] of at most {MAX_SAMPLE_BYTES} bytes"
            ))
        })?;
        let fill_value = Scalar::from_le_bytes(array.fill_value())
            .ok_or_else(|| failed("its fill value has more than 8 bytes".into()))?;
        Ok(Self {
            id: files.register(),
            files,
            codec: InnerCodec::of(array.inner_codecs(), data_type, axis_order),
            axis_order,
            shape,
            data_type,
            fill_value,
            sample_bytes,
            has_latency: array.store().has_latency(),
            array,
        })
    }

    /// Number of samples.
    pub fn samples(&self) -> u64 {
        self.array.shape().first().copied().unwrap_or(0)
    }

    /// Shape of a sample: channel, z, y, x.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Type of the values.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// The values of the sample `i`, in C order of [`SampleReader::shape`], little-endian.
    ///
    /// # Errors
    /// The sample's checksum, compression or size is wrong.
    pub fn read<'d>(
        &self,
        i: u64,
        decoder: &'d mut SampleDecoder,
    ) -> Result<&'d [u8], DatasetError> {
        // Taken out, because the decoder is borrowed as well.
        let mut values = std::mem::take(&mut decoder.values);
        let read = self.read_into(i, decoder, buffer(&mut values, self.sample_bytes));
        decoder.values = values;
        read.map(|()| &decoder.values[..self.sample_bytes])
    }

    /// As [`SampleReader::read`], directly into `values`, which must be as long as a sample. After an error, their contents are
    /// unspecified.
    pub fn read_into(
        &self,
        i: u64,
        decoder: &mut SampleDecoder,
        values: &mut [u8],
    ) -> Result<(), DatasetError> {
        let SampleDecoder { zstd, encoded, .. } = decoder;
        if values.len() != self.sample_bytes {
            let found = values.len();
            let problem = format!(
                "it has {} bytes, but the buffer has {found}",
                self.sample_bytes
            );
            return Err(self.array.sample_error(i, problem));
        }
        let Some((object, offset, n)) = self.place(i)? else {
            self.fill_value.fill(self.data_type.size_bytes(), values);
            return Ok(());
        };
        let read = |bytes: &mut [u8], offset| {
            let read = object.read_at(offset, bytes);
            read.map_err(|e| self.array.read_error(i, e))
        };
        match self.codec {
            InnerCodec::None => {
                let mut crc = [0; 4];
                let expected = (values.len() + crc.len()) as u64;
                if n != expected {
                    let problem = format!("its inner chunk has {n} bytes, expected {expected}");
                    return Err(self.array.sample_error(i, problem));
                }
                if self.has_latency {
                    let encoded = buffer(encoded, n as usize);
                    read(encoded, offset)?;
                    values.copy_from_slice(self.checked(i, encoded)?);
                    return Ok(());
                }
                read(values, offset)?;
                read(&mut crc, offset + values.len() as u64)?;
                self.check(i, values, crc)
            }
            InnerCodec::Zstd => {
                let encoded = buffer(encoded, n as usize);
                read(encoded, offset)?;
                self.decode_zstd(i, encoded, zstd, values)
            }
            InnerCodec::Other => {
                let encoded = buffer(encoded, n as usize);
                read(encoded, offset)?;
                self.decode_by_zarrs(i, encoded, values)
            }
        }
    }

    /// Shard, offset and length of the inner chunk of the sample `i`; `None` where all of it is the fill value.
    fn place(&self, i: u64) -> Result<Option<ChunkPlace>, DatasetError> {
        if i >= self.samples() {
            let problem = format!("there are {} samples", self.samples());
            return Err(self.array.sample_error(i, problem));
        }
        let capacity = self.array.shard_samples();
        let shard = i / capacity;
        let path = || self.array.shard_key(shard);
        let key = (self.id, shard);
        let (object, index) = self
            .files
            .open(key, capacity as usize, self.array.store(), path)?;
        let Some([offset, n]) = index.place((i % capacity) as usize) else {
            return Ok(None);
        };
        let max = max_encoded_bytes(self.sample_bytes as u64);
        if n > max {
            let problem = format!("its inner chunk has {n} bytes, expected {max} at most");
            return Err(self.array.sample_error(i, problem));
        }
        Ok(Some((object, offset, n)))
    }

    fn decode_zstd(
        &self,
        i: u64,
        encoded: &[u8],
        zstd: &mut zstd::bulk::Decompressor<'static>,
        values: &mut [u8],
    ) -> Result<(), DatasetError> {
        let frame = self.checked(i, encoded)?;
        let found = zstd
            .decompress_to_buffer(frame, values)
            .map_err(|e| self.array.sample_error(i, format!("zstd: {e}")))?;
        if found != self.sample_bytes {
            let problem = format!("it has {found} bytes, expected {}", self.sample_bytes);
            return Err(self.array.sample_error(i, problem));
        }
        Ok(())
    }

    /// The bytes before the CRC-32C at the end of an inner chunk, which is checked.
    fn checked<'b>(&self, i: u64, encoded: &'b [u8]) -> Result<&'b [u8], DatasetError> {
        match encoded.split_last_chunk::<4>() {
            Some((bytes, crc)) => self.check(i, bytes, *crc).map(|()| bytes),
            None => Err(self.wrong_crc(i)),
        }
    }

    /// Fails unless `crc` is the CRC-32C of `bytes`.
    fn check(&self, i: u64, bytes: &[u8], crc: [u8; 4]) -> Result<(), DatasetError> {
        if crc == crc32c::crc32c(bytes).to_le_bytes() {
            Ok(())
        } else {
            Err(self.wrong_crc(i))
        }
    }

    fn wrong_crc(&self, i: u64) -> DatasetError {
        self.array.sample_error(i, "its CRC-32C is wrong".into())
    }

    fn decode_by_zarrs(
        &self,
        i: u64,
        encoded: &[u8],
        values: &mut [u8],
    ) -> Result<(), DatasetError> {
        let decoded = self.array.decode(encoded.to_vec(), i)?;
        if decoded.len() != values.len() {
            let problem = format!("it has {} bytes, expected {}", decoded.len(), values.len());
            return Err(self.array.sample_error(i, problem));
        }
        match self.axis_order {
            AxisOrder::Czyx => values.copy_from_slice(&decoded),
            AxisOrder::Cxyz => transpose(self.shape, self.data_type.size_bytes(), &decoded, values),
        }
        Ok(())
    }
}

/// The first `n` bytes of `bytes`, which grows if it is too short.
fn buffer(bytes: &mut Vec<u8>, n: usize) -> &mut [u8] {
    if bytes.len() < n {
        bytes.resize(n, 0);
    }
    &mut bytes[..n]
}

/// Copies values `[c, x, y, z]` to `[c, z, y, x]`.
fn transpose([c, z, y, x]: [usize; 4], value_bytes: usize, from: &[u8], to: &mut [u8]) {
    let mut to = to.chunks_exact_mut(value_bytes);
    for c in 0..c {
        for z_ in 0..z {
            for y_ in 0..y {
                for (x_, value) in (0..x).zip(&mut to) {
                    let at = (((c * x + x_) * y + y_) * z + z_) * value_bytes;
                    value.copy_from_slice(&from[at..at + value_bytes]);
                }
            }
        }
    }
}

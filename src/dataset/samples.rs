//! Reading samples fast: what a trainer does all day.
//!
//! In goes the number of a sample, out come its values `[channel, z, y, x]` in C order, little-endian, whatever the
//! axis order of the array. Nothing is allocated per sample: bytes are read at their place into a buffer, their CRC-32C
//! is checked, and they are decompressed into another, both kept from sample to sample; values that are not compressed
//! are read straight to where they are wanted. That is so for codecs that [`InnerCodec`] knows, `zstd` and none; all
//! others, such as `blosc`, are left to zarrs. [`SampleArray`] goes through zarrs
//! always: an independent path, by which `check` proves the shards.

mod codec;
mod files;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::decode::most_encoded_bytes;
use super::manifest::MAX_SAMPLE_BYTES;
use super::{DatasetError, SampleArray};
use crate::data_type::{DataType, Scalar};
use crate::geometry::AxisOrder;
use codec::InnerCodec;
pub use files::ShardFiles;

/// The samples of one array of a split. Threads share it; each has a [`SampleDecoder`] of its own.
#[derive(Debug)]
pub struct SampleReader {
    array: SampleArray,
    files: Arc<ShardFiles>,
    /// What the array is called among `files`.
    id: u32,
    codec: InnerCodec,
    axis_order: AxisOrder,
    shape: [usize; 4],
    data_type: DataType,
    fill_value: Scalar,
    sample_bytes: usize,
}

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
    /// A decoder without memory yet.
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
        let odd = |problem: String| super::metadata::zarr_error(array.path(), problem);
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
            odd(format!(
                "its inner chunk is {chunk:?}, expected [1, channels, z, y, x] of at most {MAX_SAMPLE_BYTES} bytes"
            ))
        })?;
        let fill_value = Scalar::from_le_bytes(array.fill_value())
            .ok_or_else(|| odd("its fill value has more than 8 bytes".into()))?;
        Ok(Self {
            id: files.register(),
            files,
            codec: InnerCodec::of(array.inner_codecs(), data_type, axis_order),
            axis_order,
            shape,
            data_type,
            fill_value,
            sample_bytes,
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

    /// The values of the sample `i`, in C order of [`SampleReader::shape`], little-endian. Fails where the sample's
    /// checksum, compression or size is wrong.
    pub fn read<'d>(
        &self,
        i: u64,
        decoder: &'d mut SampleDecoder,
    ) -> Result<&'d [u8], DatasetError> {
        // Taken out, so that the decoder's other buffers can be lent beside it.
        let mut values = std::mem::take(&mut decoder.values);
        let read = self.read_into(i, decoder, buffer(&mut values, self.sample_bytes));
        decoder.values = values;
        read.map(|()| &decoder.values[..self.sample_bytes])
    }

    /// As [`SampleReader::read`], straight into `values`, which must be as long as a sample. After an error they
    /// are anything.
    pub fn read_into(
        &self,
        i: u64,
        decoder: &mut SampleDecoder,
        values: &mut [u8],
    ) -> Result<(), DatasetError> {
        let SampleDecoder { zstd, encoded, .. } = decoder;
        if values.len() != self.sample_bytes {
            let room = values.len();
            let problem = format!("it has {} bytes, room is for {room}", self.sample_bytes);
            return Err(self.array.sample_error(i, problem));
        }
        let Some((file, offset, n)) = self.place(i)? else {
            self.fill_value.fill(self.data_type.size_bytes(), values);
            return Ok(());
        };
        let read = |bytes: &mut [u8], offset| {
            file.read_exact_at(bytes, offset)
                .map_err(|e| self.array.sample_error(i, format!("cannot read it: {e}")))
        };
        match self.codec {
            InnerCodec::None => {
                let mut crc = [0; 4];
                let expected = (values.len() + crc.len()) as u64;
                if n != expected {
                    let problem = format!("its inner chunk has {n} bytes, expected {expected}");
                    return Err(self.array.sample_error(i, problem));
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

    /// File, offset and length of the inner chunk of the sample `i`; `None` where all of it is the fill value.
    fn place(&self, i: u64) -> Result<Option<(Arc<File>, u64, u64)>, DatasetError> {
        if i >= self.samples() {
            let problem = format!("there are {} samples", self.samples());
            return Err(self.array.sample_error(i, problem));
        }
        let capacity = self.array.shard_samples();
        let shard = i / capacity;
        let (file, index) = self.files.open((self.id, shard), capacity as usize, || {
            self.array.shard_path(shard)
        })?;
        let Some([offset, n]) = index.place((i % capacity) as usize) else {
            return Ok(None);
        };
        let most = most_encoded_bytes(self.sample_bytes as u64);
        if n > most {
            let problem = format!("its inner chunk has {n} bytes, expected {most} at most");
            return Err(self.array.sample_error(i, problem));
        }
        Ok(Some((file, offset, n)))
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

    /// What comes before the CRC-32C at the end of an inner chunk, which must be right.
    fn checked<'b>(&self, i: u64, encoded: &'b [u8]) -> Result<&'b [u8], DatasetError> {
        match encoded.split_last_chunk::<4>() {
            Some((bytes, crc)) => self.check(i, bytes, *crc).map(|()| bytes),
            None => Err(self.wrong_crc(i)),
        }
    }

    /// Whether `crc` is the CRC-32C of `bytes`.
    fn check(&self, i: u64, bytes: &[u8], crc: [u8; 4]) -> Result<(), DatasetError> {
        match crc == crc32c::crc32c(bytes).to_le_bytes() {
            true => Ok(()),
            false => Err(self.wrong_crc(i)),
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
            AxisOrder::Cxyz => turn(self.shape, self.data_type.size_bytes(), &decoded, values),
        }
        Ok(())
    }
}

/// The first `n` bytes of `bytes`, which grows where it is too short.
fn buffer(bytes: &mut Vec<u8>, n: usize) -> &mut [u8] {
    if bytes.len() < n {
        bytes.resize(n, 0);
    }
    &mut bytes[..n]
}

/// Copies values `[c, x, y, z]` to `[c, z, y, x]`.
fn turn([c, z, y, x]: [usize; 4], value_bytes: usize, from: &[u8], to: &mut [u8]) {
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

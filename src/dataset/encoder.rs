//! Encoding: a sample's values come in, the bytes of its inner chunk go out.

use std::borrow::Cow;

use zarrs::array::codec::BloscCodec;
use zarrs::array::{BytesToBytesCodecTraits, CodecOptions};

use super::codec::{ZSTD_LEVEL, blosc};
use super::metadata::zarr_error;
use super::{Codec, DatasetError};

/// Encodes samples of any number of arrays; one per thread, reused from sample to sample.
pub struct SampleEncoder {
    /// A context per level, because a context is large and most programs need one level.
    zstd: Vec<(i32, zstd::bulk::Compressor<'static>)>,
    compressed: Vec<u8>,
}

/// A codec, ready to encode.
#[derive(Debug)]
pub(super) enum Encoding {
    None,
    Zstd(i32),
    Blosc(BloscCodec),
}

/// An inner chunk.
pub(super) struct InnerChunk<'e> {
    /// The values, compressed or not.
    pub bytes: &'e [u8],
    /// The CRC-32C of `bytes`, which comes after them.
    pub crc: [u8; 4],
}

impl Encoding {
    /// Encodes values of `value_bytes` each with `codec`.
    pub(super) fn new(codec: Codec, value_bytes: usize) -> Result<Self, DatasetError> {
        Ok(match codec {
            Codec::None => Self::None,
            Codec::Zstd { level } => Self::Zstd(level),
            Codec::Blosc {
                cname,
                clevel,
                shuffle,
            } => Self::Blosc(blosc(cname, clevel, shuffle, value_bytes)?),
        })
    }
}

impl SampleEncoder {
    /// An encoder with a context for zstd, level 1. Other contexts are created at first use.
    pub fn new() -> Result<Self, DatasetError> {
        let mut encoder = Self {
            zstd: Vec::new(),
            compressed: Vec::new(),
        };
        encoder.compressor(ZSTD_LEVEL)?;
        Ok(encoder)
    }

    /// The inner chunk of `values`, which it borrows where they are not compressed.
    pub(super) fn encode<'e>(
        &'e mut self,
        encoding: &Encoding,
        values: &'e [u8],
    ) -> Result<InnerChunk<'e>, DatasetError> {
        let bytes = match encoding {
            Encoding::None => values,
            Encoding::Zstd(level) => {
                let mut compressed = std::mem::take(&mut self.compressed);
                compressed.clear();
                compressed.reserve(zstd::zstd_safe::compress_bound(values.len()));
                self.compressor(*level)?
                    .compress_to_buffer(values, &mut compressed)
                    .map_err(|e| zarr_error("a sample", format!("zstd: {e}")))?;
                self.compressed = compressed;
                &self.compressed
            }
            Encoding::Blosc(codec) => {
                let options = CodecOptions::default().with_concurrent_target(1);
                self.compressed = codec
                    .encode(Cow::Borrowed(values), &options)
                    .map_err(|e| zarr_error("a sample", format!("blosc: {e}")))?
                    .into_owned();
                &self.compressed
            }
        };
        let crc = crc32c::crc32c(bytes).to_le_bytes();
        Ok(InnerChunk { bytes, crc })
    }

    fn compressor(
        &mut self,
        level: i32,
    ) -> Result<&mut zstd::bulk::Compressor<'static>, DatasetError> {
        let at = match self.zstd.iter().position(|(of, _)| *of == level) {
            Some(at) => at,
            None => {
                let compressor = zstd::bulk::Compressor::new(level)
                    .map_err(|e| zarr_error("the encoder", format!("zstd: {e}")))?;
                self.zstd.push((level, compressor));
                self.zstd.len() - 1
            }
        };
        Ok(&mut self.zstd[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::codec::tests::ALL;

    #[test]
    fn an_encoder_that_changes_codecs_encodes_as_a_new_one() {
        let mut shared = SampleEncoder::new().unwrap();
        let samples = [vec![7; 5000], (0..=255).cycle().take(3000).collect()];
        for round in 0..3 {
            for codec in ALL.into_iter().rev().chain(ALL) {
                let encoding = Encoding::new(codec, 2).unwrap();
                let values = &samples[round % 2];
                let mut fresh = SampleEncoder::new().unwrap();
                let expected = fresh.encode(&encoding, values).unwrap();
                let found = shared.encode(&encoding, values).unwrap();
                assert!(
                    found.bytes == expected.bytes && found.crc == expected.crc,
                    "{codec:?}"
                );
            }
        }
        assert_eq!(shared.zstd.len(), 2, "one context per level");
    }

    #[test]
    fn values_that_are_not_compressed_are_not_copied() {
        let values = vec![3; 1000];
        let mut encoder = SampleEncoder::new().unwrap();
        let encoded = encoder.encode(&Encoding::None, &values).unwrap();
        assert!(std::ptr::eq(encoded.bytes, &values[..]));
        assert_eq!(encoder.compressed.capacity(), 0);
    }
}

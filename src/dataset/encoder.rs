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
}

/// A codec, ready to encode.
#[derive(Debug)]
pub(super) enum Encoding {
    None,
    Zstd(i32),
    Blosc(BloscCodec),
}

/// Most bytes that blosc adds to values (`BLOSC_MAX_OVERHEAD`).
const BLOSC_OVERHEAD_BYTES: usize = 16;

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

    /// Most bytes that `n` bytes of values become.
    pub(super) fn most_bytes(&self, n: usize) -> usize {
        match self {
            Self::None => n,
            Self::Zstd(_) => zstd::zstd_safe::compress_bound(n),
            Self::Blosc(_) => n + BLOSC_OVERHEAD_BYTES,
        }
    }
}

impl SampleEncoder {
    /// An encoder with a context for zstd, level 1. Other contexts are created at first use.
    pub fn new() -> Result<Self, DatasetError> {
        let mut encoder = Self { zstd: Vec::new() };
        encoder.compressor(ZSTD_LEVEL)?;
        Ok(encoder)
    }

    /// Encodes `values` into `into`, which has [`Encoding::most_bytes`] or more. Returns how many bytes they become.
    pub(super) fn encode(
        &mut self,
        encoding: &Encoding,
        values: &[u8],
        into: &mut [u8],
    ) -> Result<usize, DatasetError> {
        match encoding {
            Encoding::None => {
                into[..values.len()].copy_from_slice(values);
                Ok(values.len())
            }
            Encoding::Zstd(level) => self
                .compressor(*level)?
                .compress_to_buffer(values, into)
                .map_err(|e| zarr_error("a sample", format!("zstd: {e}"))),
            Encoding::Blosc(codec) => {
                let options = CodecOptions::default().with_concurrent_target(1);
                let encoded = codec
                    .encode(Cow::Borrowed(values), &options)
                    .map_err(|e| zarr_error("a sample", format!("blosc: {e}")))?;
                into[..encoded.len()].copy_from_slice(&encoded);
                Ok(encoded.len())
            }
        }
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

    /// The values, encoded.
    fn encoded(encoder: &mut SampleEncoder, encoding: &Encoding, values: &[u8]) -> Vec<u8> {
        let mut into = vec![0; encoding.most_bytes(values.len())];
        let n = encoder.encode(encoding, values, &mut into).unwrap();
        into.truncate(n);
        into
    }

    #[test]
    fn an_encoder_that_changes_codecs_encodes_as_a_new_one() {
        let mut shared = SampleEncoder::new().unwrap();
        let samples = [vec![7; 5000], (0..=255).cycle().take(3000).collect()];
        for round in 0..3 {
            for codec in ALL.into_iter().rev().chain(ALL) {
                let encoding = Encoding::new(codec, 2).unwrap();
                let values = &samples[round % 2];
                let mut fresh = SampleEncoder::new().unwrap();
                let expected = encoded(&mut fresh, &encoding, values);
                assert!(
                    encoded(&mut shared, &encoding, values) == expected,
                    "{codec:?}"
                );
            }
        }
        assert_eq!(shared.zstd.len(), 2, "one context per level");
    }

    #[test]
    fn values_that_do_not_shrink_fit_into_the_most_bytes() {
        for codec in ALL {
            let encoding = Encoding::new(codec, 1).unwrap();
            for n in [1, 15, 16, 255, 4096, 300_000] {
                let mut noise = vec![0; n];
                blake3::Hasher::new().finalize_xof().fill(&mut noise);
                let mut encoder = SampleEncoder::new().unwrap();
                let found = encoded(&mut encoder, &encoding, &noise);
                assert!(found.len() >= n.min(16), "{codec:?}");
            }
        }
    }
}

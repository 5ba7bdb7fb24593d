//! Decodes a chunk or an inner chunk, with bounded output.
//!
//! zarrs implements the codecs, but its gzip, zlib, zstd and bz2 decoders have no limit on the output. These streams are
//! decompressed here, limited to the size that the earlier codecs can produce. Blosc has its size in a header, which is
//! checked first. A wrong checksum is an error.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;

use zarrs::array::{
    ArrayToBytesCodecTraits, BytesRepresentation, BytesToBytesCodecTraits, CodecChain,
    CodecOptions, DataType, FillValue,
};
use zarrs::plugin::ExtensionName;

use crate::catch_panic::catch_library_panic;
use crate::storage::Compression;
use crate::volume::MAX_BLOCK_BYTES;

/// How chunks are decoded.
#[derive(Debug)]
pub(super) struct Codecs {
    to_array: CodecChain,
    /// In the order of decoding, each with the size of its output.
    steps: Vec<(Step, BytesRepresentation)>,
    shape: Vec<NonZeroU64>,
    data_type: DataType,
    fill_value: FillValue,
    decoded_bytes: usize,
    encoded: BytesRepresentation,
}

#[derive(Debug)]
enum Step {
    Inflate(Compression),
    Blosc(Arc<dyn BytesToBytesCodecTraits>),
    Other(Arc<dyn BytesToBytesCodecTraits>),
}

impl Codecs {
    /// The codecs of `chain` for chunks of `shape`. The error is a description for the user.
    pub(super) fn new(
        chain: &CodecChain,
        shape: Vec<NonZeroU64>,
        data_type: DataType,
        fill_value: FillValue,
    ) -> Result<Self, String> {
        let value_bytes = data_type
            .fixed_size()
            .ok_or("the values have no fixed size")?;
        let decoded_bytes = decoded_bytes(&shape, value_bytes)?;
        let to_array = CodecChain::new(
            chain.array_to_array_codecs().to_vec(),
            Arc::clone(chain.array_to_bytes_codec()),
            Vec::new(),
        );
        let mut representation = to_array
            .encoded_representation(&shape, &data_type, &fill_value)
            .map_err(|e| e.to_string())?;
        let mut steps = Vec::new();
        for codec in chain.bytes_to_bytes_codecs() {
            let step = match codec.name_v3().as_deref() {
                Some("gzip") => Step::Inflate(Compression::Gzip),
                Some("zlib" | "numcodecs.zlib") => Step::Inflate(Compression::Zlib),
                Some("zstd") => Step::Inflate(Compression::Zstd),
                Some("bz2" | "numcodecs.bz2") => Step::Inflate(Compression::Bzip2),
                Some("blosc") => Step::Blosc(Arc::clone(codec)),
                _ => Step::Other(Arc::clone(codec)),
            };
            steps.push((step, representation));
            representation = codec.encoded_representation(&representation);
        }
        steps.reverse();
        Ok(Self {
            to_array,
            steps,
            shape,
            data_type,
            fill_value,
            decoded_bytes,
            encoded: representation,
        })
    }

    /// Number of bytes of an encoded chunk, if it is always the same.
    pub(super) fn encoded_bytes(&self) -> Option<u64> {
        match self.encoded {
            BytesRepresentation::FixedSize(n) => Some(n),
            _ => None,
        }
    }

    /// Largest number of bytes of an encoded chunk. Includes a margin for inefficient compressors.
    pub(super) fn encoded_limit_bytes(&self) -> u64 {
        2 * self
            .encoded
            .size()
            .unwrap_or(MAX_BLOCK_BYTES)
            .min(MAX_BLOCK_BYTES)
            + (1 << 20)
    }

    /// Decodes a chunk to C order, little-endian. The error is a description for the user.
    pub(super) fn decode<'b>(&self, encoded: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        catch_library_panic("zarrs", || self.decode_steps(encoded), |panic| panic)
    }

    fn decode_steps<'b>(&self, encoded: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        let options = CodecOptions::default()
            .with_concurrent_target(1)
            .with_validate_checksums(true);
        let mut bytes = Cow::Borrowed(encoded);
        for (step, gives) in &self.steps {
            let limit_bytes = match gives {
                BytesRepresentation::FixedSize(n) => *n,
                // The output of a compressor, which may be larger than that of zarrs' own.
                other => 2 * other.size().unwrap_or(MAX_BLOCK_BYTES).min(MAX_BLOCK_BYTES),
            };
            bytes = match step {
                Step::Inflate(method) => {
                    let mut out = Vec::new();
                    method.inflate(&bytes, limit_bytes as usize, &mut out)?;
                    Cow::Owned(out)
                }
                Step::Blosc(codec) => {
                    let claimed = bytes.get(4..8).and_then(|n| n.first_chunk::<4>());
                    let claimed = u64::from(claimed.map_or(0, |n| u32::from_le_bytes(*n)));
                    if claimed > limit_bytes {
                        return Err(format!(
                            "its blosc header claims {claimed} bytes, expected at most {limit_bytes}"
                        ));
                    }
                    codec
                        .decode(bytes, gives, &options)
                        .map_err(|e| e.to_string())?
                }
                Step::Other(codec) => codec
                    .decode(bytes, gives, &options)
                    .map_err(|e| e.to_string())?,
            };
        }
        let found = bytes.len();
        let values = self
            .to_array
            .decode(
                bytes,
                &self.shape,
                &self.data_type,
                &self.fill_value,
                &options,
            )
            .and_then(|values| Ok(values.into_fixed()?))
            .map_err(|e| format!("{e} ({found} bytes after decompression)"))?;
        if values.len() != self.decoded_bytes {
            return Err(format!(
                "found {} bytes, expected {}",
                values.len(),
                self.decoded_bytes
            ));
        }
        Ok(values)
    }
}

/// Bytes of a decoded chunk, checked against the limit.
pub(super) fn decoded_bytes(shape: &[NonZeroU64], value_bytes: usize) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(value_bytes as u64, |n, d| n.checked_mul(d.get()))
        .filter(|n| *n <= MAX_BLOCK_BYTES)
        .map(|n| n as usize)
        .ok_or_else(|| {
            format!(
                "a chunk of {shape:?} values is larger than the limit of {MAX_BLOCK_BYTES} bytes"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zarrs::array::data_type;
    use zarrs::metadata::v3::MetadataV3;

    #[test]
    fn a_stream_inflates_to_at_most_the_size_of_its_chunk() {
        for name in ["gzip", "zstd", "numcodecs.zlib", "numcodecs.bz2"] {
            let compressor = match name {
                "zstd" => {
                    r#"{"name": "zstd", "configuration": {"level": 1, "checksum": false}}"#.into()
                }
                name => format!(r#"{{"name": "{name}", "configuration": {{"level": 1}}}}"#),
            };
            let metadata = [r#"{"name": "bytes"}"#, &compressor];
            let metadata = metadata.map(|m| MetadataV3::try_from(m).unwrap());
            let chain = CodecChain::from_metadata(&metadata).unwrap();
            let options = CodecOptions::default();
            let zeros = Cow::Owned(vec![0; 1 << 20]);
            let stream = chain.bytes_to_bytes_codecs()[0].encode(zeros, &options);
            let shape = vec![NonZeroU64::new(8).unwrap(); 3];
            let codecs = Codecs::new(&chain, shape, data_type::uint8(), FillValue::from(0u8));
            let codecs = codecs.unwrap();
            assert!(
                matches!(codecs.steps[0].0, Step::Inflate(_)),
                "{name} is not bounded"
            );
            let e = codecs.decode(&stream.unwrap()).unwrap_err();
            assert!(e.contains("512"), "{name}: {e}");
        }
    }
}

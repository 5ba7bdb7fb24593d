//! Decoding chunks within a bound, whatever size they claim.
//!
//! zarrs allocates the size that a compressed frame states, and a frame of a few bytes can state 2^63. So codecs that
//! compress are decoded here, into no more memory than the chunk's values take. zarrs does the rest: the order of bytes and
//! axes, and `blosc`, whose header is checked first. Other codecs are errors.

use std::borrow::Cow;
use std::num::NonZeroU64;

use zarrs::array::{
    ArrayToBytesCodecTraits, CodecChain, CodecOptions, DataType as ZarrType, FillValue,
};
use zarrs::metadata::v3::MetadataV3;

/// How the chunks of one array are decoded.
#[derive(Debug)]
pub(super) struct ChunkDecoder {
    /// Codecs after `inner`, in the order in which they encode.
    outer: Vec<OuterCodec>,
    /// The codec `bytes`, what comes before it, and `blosc` right behind it.
    inner: CodecChain,
    is_blosc: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OuterCodec {
    Crc32c,
    Gzip,
    Zstd,
}

/// The values that a chunk must decode to.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkSpec<'a> {
    pub shape: &'a [NonZeroU64],
    pub data_type: &'a ZarrType,
    pub fill_value: &'a FillValue,
    /// Bytes of its values.
    pub bytes: usize,
}

/// Most bytes that an encoded chunk of `bytes` may have: no codec makes a chunk much larger.
pub(super) fn max_encoded_bytes(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 2).saturating_add(4096)
}

/// Largest factor by which any of the codecs shrinks values.
const MAX_RATIO: u64 = 1 << 16;

impl ChunkDecoder {
    /// A decoder for these codecs.
    ///
    /// # Errors
    /// What is wrong with the codecs, or not supported.
    pub fn new(codecs: &[MetadataV3]) -> Result<Self, String> {
        let bytes = codecs.iter().position(|c| c.name() == "bytes");
        let bytes = bytes.ok_or("its codecs have no `bytes`")?;
        let is_blosc = codecs.get(bytes + 1).is_some_and(|c| c.name() == "blosc");
        let (inner, outer) = codecs.split_at(bytes + 1 + usize::from(is_blosc));
        if let Some(other) = inner[..bytes].iter().find(|c| c.name() != "transpose") {
            return Err(unsupported(other.name()));
        }
        let outer = outer.iter().map(|codec| match codec.name() {
            "crc32c" => Ok(OuterCodec::Crc32c),
            "gzip" => Ok(OuterCodec::Gzip),
            "zstd" => Ok(OuterCodec::Zstd),
            other => Err(unsupported(other)),
        });
        Ok(Self {
            outer: outer.collect::<Result<_, _>>()?,
            inner: CodecChain::from_metadata(inner).map_err(|e| e.to_string())?,
            is_blosc,
        })
    }

    /// The values of the chunk, in C order, in the byte order of the machine.
    pub fn decode(&self, encoded: Vec<u8>, chunk: ChunkSpec<'_>) -> Result<Vec<u8>, String> {
        let room = (encoded.len() as u64 + 64).saturating_mul(MAX_RATIO);
        if chunk.bytes as u64 > room {
            let found = encoded.len();
            let expected = chunk.bytes;
            return Err(format!(
                "it has {found} bytes, too few for {expected} bytes of values"
            ));
        }
        let mut bytes = encoded;
        for (i, codec) in self.outer.iter().enumerate().rev() {
            // Only the result of the last decoding step has a known size.
            let is_known =
                !self.is_blosc && self.outer[..i].iter().all(|c| *c == OuterCodec::Crc32c);
            let checksums = 4 * i;
            let max = if is_known {
                chunk.bytes.saturating_add(checksums)
            } else {
                max_encoded_bytes(chunk.bytes as u64) as usize
            };
            bytes = codec.decode(bytes, max)?;
        }
        if self.is_blosc {
            check_blosc(&bytes, chunk.bytes)?;
        } else if bytes.len() != chunk.bytes {
            let found = bytes.len();
            return Err(format!("it has {found} bytes, expected {}", chunk.bytes));
        }
        let options = CodecOptions::default().with_concurrent_target(1);
        let decoded = self.inner.decode(
            Cow::Owned(bytes),
            chunk.shape,
            chunk.data_type,
            chunk.fill_value,
            &options,
        );
        let values = decoded.and_then(|values| Ok(values.into_fixed()?.into_owned()));
        let values = values.map_err(|e| e.to_string())?;
        let found = values.len();
        if found == chunk.bytes {
            Ok(values)
        } else {
            Err(format!("it has {found} bytes, expected {}", chunk.bytes))
        }
    }
}

impl OuterCodec {
    /// What `bytes` were before this codec: at most `max` bytes.
    fn decode(self, mut bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, String> {
        match self {
            Self::Crc32c => match bytes.split_last_chunk::<4>() {
                Some((values, crc)) if *crc == crc32c::crc32c(values).to_le_bytes() => {
                    bytes.truncate(bytes.len() - 4);
                    Ok(bytes)
                }
                _ => Err("its CRC-32C is wrong".to_owned()),
            },
            Self::Gzip => {
                let mut values = zeros(max)?;
                let found = libdeflater::Decompressor::new().gzip_decompress(&bytes, &mut values);
                let found =
                    found.map_err(|e| format!("gzip: {e}; at most {max} bytes expected"))?;
                values.truncate(found);
                Ok(values)
            }
            Self::Zstd => {
                let mut values = zeros(max)?;
                let found = zstd::bulk::decompress_to_buffer(&bytes, &mut values[..]);
                let found =
                    found.map_err(|e| format!("zstd: {e}; at most {max} bytes expected"))?;
                values.truncate(found);
                Ok(values)
            }
        }
    }
}

/// This many zeros, or an error where there is no memory for them.
pub(super) fn zeros(bytes: usize) -> Result<Vec<u8>, String> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(bytes);
    reserved.map_err(|_| format!("there is no memory for its {bytes} bytes"))?;
    values.resize(bytes, 0);
    Ok(values)
}

/// Checks the sizes in the header of a Blosc frame, because zarrs allocates them.
fn check_blosc(frame: &[u8], expected_bytes: usize) -> Result<(), String> {
    let word = |at: usize| {
        let word = frame.get(at..at + 4)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*word) as usize)
    };
    let found = (word(4), word(12));
    if found == (Some(expected_bytes), Some(frame.len())) {
        Ok(())
    } else {
        Err(format!(
            "its Blosc header does not state {expected_bytes} bytes in a frame of {}",
            frame.len()
        ))
    }
}

fn unsupported(codec: &str) -> String {
    format!("its codec `{codec}` is not one that pointshard writes")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zarrs::array::data_type;

    use super::*;

    fn decoder(codecs: serde_json::Value) -> Result<ChunkDecoder, String> {
        let codecs: Vec<MetadataV3> = serde_json::from_value(codecs).unwrap();
        ChunkDecoder::new(&codecs)
    }

    fn decode(codecs: serde_json::Value, encoded: Vec<u8>) -> Result<Vec<u8>, String> {
        let chunk = ChunkSpec {
            shape: &[NonZeroU64::new(8).unwrap()],
            data_type: &data_type::uint8(),
            fill_value: &FillValue::from(0u8),
            bytes: 8,
        };
        decoder(codecs)?.decode(encoded, chunk)
    }

    fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn a_decompression_bomb_is_an_error_and_takes_no_memory() {
        let codecs = |name: &str, level: u8| {
            let options = match name {
                "zstd" => json!({"level": level, "checksum": false}),
                _ => json!({"level": level}),
            };
            json!([{"name": "bytes"}, {"name": name, "configuration": options}, {"name": "crc32c"}])
        };
        let good = [1, 2, 3, 4, 5, 6, 7, 8];
        let zstd = |values: &[u8]| with_crc(zstd::bulk::compress(values, 1).unwrap());
        assert_eq!(decode(codecs("zstd", 1), zstd(&good)).unwrap(), good);
        for bytes in [0, 7, 9, 1 << 30] {
            let error = decode(codecs("zstd", 1), zstd(&vec![0; bytes])).unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
        // A frame that states 2^62 bytes: magic number, a content size of 8 bytes, an empty last block.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
        frame.extend((1u64 << 62).to_le_bytes());
        frame.extend([1, 0, 0]);
        decode(codecs("zstd", 1), with_crc(frame)).unwrap_err();
        let gzip = |values: &[u8]| {
            let mut deflater = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
            let mut bytes = vec![0; deflater.gzip_compress_bound(values.len())];
            let n = deflater.gzip_compress(values, &mut bytes).unwrap();
            bytes.truncate(n);
            with_crc(bytes)
        };
        assert_eq!(decode(codecs("gzip", 1), gzip(&good)).unwrap(), good);
        for bytes in [0, 7, 9, 1 << 24] {
            let error = decode(codecs("gzip", 1), gzip(&vec![0; bytes])).unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn a_blosc_header_with_wrong_sizes_is_an_error() {
        let blosc = json!({"name": "blosc", "configuration":
            {"cname": "lz4", "clevel": 1, "shuffle": "noshuffle", "typesize": 1, "blocksize": 0}});
        let codecs = json!([{"name": "bytes"}, blosc, {"name": "crc32c"}]);
        for [bytes, frame] in [[8, 99], [u32::MAX, 24], [1 << 31, 24], [0, 24]] {
            let mut encoded = vec![2, 1, 0x33, 1];
            encoded.extend(bytes.to_le_bytes());
            encoded.extend(8u32.to_le_bytes());
            encoded.extend(frame.to_le_bytes());
            encoded.extend([7; 8]);
            let error = decode(codecs.clone(), with_crc(encoded)).unwrap_err();
            assert!(error.contains("Blosc header"), "{error}");
        }
        let error = decode(codecs, with_crc(vec![2, 1])).unwrap_err();
        assert!(error.contains("Blosc header"), "{error}");
    }

    #[test]
    fn no_memory_is_allocated_for_values_that_the_bytes_cannot_hold() {
        let chunk = ChunkSpec {
            shape: &[NonZeroU64::new(1 << 62).unwrap()],
            data_type: &data_type::uint8(),
            fill_value: &FillValue::from(0u8),
            bytes: 1 << 62,
        };
        let codecs = json!([{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1, "checksum": false}}]);
        let error = decoder(codecs).unwrap().decode(vec![0; 99], chunk);
        assert!(error.unwrap_err().contains("too few"));
    }

    #[test]
    fn codecs_that_pointshard_does_not_write_are_errors() {
        let pcodec = json!([{"name": "bytes"}, {"name": "pcodec"}]);
        for codecs in [
            json!([]),
            json!([{"name": "crc32c"}]),
            pcodec,
            json!([{"name": "bitround"}, {"name": "bytes"}]),
        ] {
            decoder(codecs).unwrap_err();
        }
    }
}

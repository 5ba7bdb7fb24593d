//! Compression of whole stored objects, outside the object's own encoding.
//!
//! The input is the stored bytes and a size limit; the output is the inflated bytes. The output never exceeds the
//! limit, whatever size the stream claims. A truncated stream is an error.

mod stream;

use std::cell::RefCell;
use std::io::Read;

use libdeflater::{DecompressionError, Decompressor};

/// How an object is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// zlib, which occurs only inside Zarr and N5 chunks and has no file suffix.
    Zlib,
}

/// Why compressed bytes could not be inflated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InflateError {
    /// They inflate to more than the limit.
    #[error("{0}")]
    TooLong(String),
    /// They are damaged or truncated.
    #[error("{0}")]
    Damaged(String),
}

impl From<InflateError> for String {
    fn from(error: InflateError) -> Self {
        error.to_string()
    }
}

/// One byte of a deflate stream inflates to at most 1,032 bytes.
const MAX_DEFLATE_RATIO: usize = 1032;

/// Memory limit of the xz decoder. The strongest preset needs 64 MiB.
const MAX_XZ_MEMORY_KIB: u32 = 128 << 10;

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Whether `bytes` begin like a gzip stream. Copies of buckets often contain objects that were served with
/// `Content-Encoding: gzip`, still compressed and without a suffix.
pub(crate) fn looks_like_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 0x08])
}

/// The hint for an error about bytes that cannot be decoded, if they begin like a gzip stream.
pub(crate) fn gzip_note(bytes: &[u8]) -> &'static str {
    if looks_like_gzip(bytes) {
        "; it begins as a gzip stream: unless its metadata names gzip, it is stored compressed and its server does not send \
         `Content-Encoding: gzip`"
    } else {
        ""
    }
}

impl Compression {
    /// All compressions that have a file suffix, in the order in which the suffixes are tried.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Gzip,
        Self::Brotli,
        Self::Zstd,
        Self::Xz,
        Self::Bzip2,
    ];

    /// The suffix that CloudVolume appends to a file's name; empty if there is none.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None | Self::Zlib => "",
            Self::Gzip => ".gz",
            Self::Brotli => ".br",
            Self::Zstd => ".zstd",
            Self::Xz => ".xz",
            Self::Bzip2 => ".bz2",
        }
    }

    /// The compression with this name in `Content-Encoding`.
    pub(super) fn from_content_encoding(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            "deflate" => Some(Self::Zlib),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Brotli => "brotli",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zlib => "zlib",
        }
    }

    /// Replaces the contents of `out` by the inflated `bytes`, at most `limit_bytes`. Uncompressed bytes are swapped into
    /// `out`, so that they are not copied.
    pub(crate) fn undo(
        self,
        bytes: &mut Vec<u8>,
        limit_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        match self {
            Self::None => {
                std::mem::swap(bytes, out);
                Ok(())
            }
            compressed => compressed.inflate(bytes, limit_bytes, out),
        }
    }

    /// Like [`Compression::undo`], for borrowed bytes. Uncompressed bytes are copied.
    pub(crate) fn inflate(
        self,
        bytes: &[u8],
        limit_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        match self {
            Self::None => self.drain(bytes, bytes.len(), limit_bytes, out),
            Self::Gzip | Self::Zlib => self.inflate_deflate(bytes, limit_bytes, out),
            Self::Brotli => {
                let stream = brotli_decompressor::Decompressor::new(bytes, 1 << 16);
                self.drain(stream, bytes.len(), limit_bytes, out)
            }
            Self::Zstd => match zstd::Decoder::with_buffer(bytes) {
                Ok(stream) => self.drain(stream, bytes.len(), limit_bytes, out),
                Err(e) => Err(self.damaged(bytes.len(), &e)),
            },
            Self::Xz => {
                let stream = lzma_rust2::XzReader::new_mem_limit(bytes, true, MAX_XZ_MEMORY_KIB);
                self.drain(stream, bytes.len(), limit_bytes, out)
            }
            Self::Bzip2 => {
                let stream = bzip2::bufread::MultiBzDecoder::new(bytes);
                self.drain(stream, bytes.len(), limit_bytes, out)
            }
        }
    }

    fn inflate_deflate(
        self,
        bytes: &[u8],
        limit_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        let possible = limit_bytes.min(bytes.len().saturating_mul(MAX_DEFLATE_RATIO));
        // The last four bytes of a gzip stream claim its inflated size. If they are wrong, a second attempt is made.
        let claimed = match (self, bytes.last_chunk::<4>()) {
            (Self::Gzip, Some(n)) => u32::from_le_bytes(*n) as usize,
            _ => possible,
        };
        let mut size = claimed.min(possible);
        loop {
            // Only new bytes are zeroed; those from the previous block are overwritten.
            out.resize(size, 0);
            let result = DECOMPRESSOR.with_borrow_mut(|d| match self {
                Self::Gzip => d.gzip_decompress(bytes, out),
                _ => d.zlib_decompress(bytes, out),
            });
            match result {
                Ok(n) => {
                    out.truncate(n);
                    return Ok(());
                }
                Err(DecompressionError::InsufficientSpace) if size < possible => size = possible,
                Err(DecompressionError::InsufficientSpace) => {
                    return Err(self.too_long(limit_bytes));
                }
                Err(e @ DecompressionError::BadData) => return Err(self.damaged(bytes.len(), &e)),
            }
        }
    }

    /// Reads the whole output of a decoder.
    fn drain(
        self,
        stream: impl Read,
        stored_bytes: usize,
        limit_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        out.clear();
        let more_than_limit = (limit_bytes as u64).saturating_add(1);
        match stream.take(more_than_limit).read_to_end(out) {
            Ok(n) if n > limit_bytes => Err(self.too_long(limit_bytes)),
            Ok(_) => Ok(()),
            Err(e) => Err(self.damaged(stored_bytes, &e)),
        }
    }

    fn too_long(self, limit_bytes: usize) -> InflateError {
        let name = self.name();
        InflateError::TooLong(format!(
            "its {name} stream inflates to more than {limit_bytes} bytes, its maximum size"
        ))
    }

    fn damaged(self, stored_bytes: usize, why: &dyn std::fmt::Display) -> InflateError {
        let name = self.name();
        InflateError::Damaged(format!(
            "its {name} stream of {stored_bytes} bytes is damaged or truncated ({why})"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use libdeflater::{CompressionLvl, Compressor};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut c = Compressor::new(CompressionLvl::new(1).unwrap());
        let mut out = vec![0; c.gzip_compress_bound(bytes.len())];
        let n = c.gzip_compress(bytes, &mut out).unwrap();
        out.truncate(n);
        out
    }

    /// `0..=255`, 40 times, compressed by Python's brotli 1.1.
    const BROTLI: &str = "1bff27e82f0eec58195843aa078e1a366eed400c6cdbde64b50ece0bb9ef1407e7959c471c840ac70879af2c431e4da4\
        2026d8c4b17b7f47d70300408409655c48a58d753ec4944b6d7dccb5cf7d1f00211841319c20299a61395e1025595135\
        dd302ddb713d3f08a33849b3bc28abba69bb7e18a77959b7fd38affb79bfdf1f4030826238415234c372bc204ab2a26a\
        ba615ab6e37a7e104671926679515675d376fd304ef3b26efb715ef7f37e3f800813cab8904a1beb7c10467192667951\
        5675d376fd304ef3b26efb715ef7f37e3f8845cd23ab67efa3";

    pub(super) fn sample() -> Vec<u8> {
        (0..40).flat_map(|_| 0..=255u8).collect()
    }

    /// [`sample`] in every compression.
    pub(super) fn streams() -> Vec<(Compression, Vec<u8>)> {
        let data = sample();
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(&data).unwrap();
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        xz.write_all(&data).unwrap();
        let brotli = BROTLI.as_bytes().chunks(2);
        let hex = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        vec![
            (Compression::Gzip, gzip(&data)),
            (Compression::Brotli, brotli.map(hex).collect()),
            (Compression::Zstd, zstd::encode_all(&data[..], 1).unwrap()),
            (Compression::Xz, xz.finish().unwrap()),
            (Compression::Bzip2, bz.finish().unwrap()),
        ]
    }

    #[test]
    fn every_compression_inflates_into_a_reused_buffer() {
        let data = sample();
        for (compression, mut packed) in streams() {
            let mut out = vec![7; 100_000];
            compression.undo(&mut packed, data.len(), &mut out).unwrap();
            assert!(out == data, "{compression:?}");
        }
    }

    #[test]
    fn a_stream_that_inflates_to_more_than_expected_stops_at_the_limit() {
        for (compression, mut packed) in streams() {
            let mut out = Vec::new();
            let e = compression.undo(&mut packed, 1000, &mut out).unwrap_err();
            assert!(matches!(e, InflateError::TooLong(_)));
            let e = e.to_string();
            assert!(e.contains("more than 1000 bytes"), "{compression:?}: {e}");
            assert!(out.capacity() < 10_000, "{compression:?}");
        }
    }

    #[test]
    fn a_stream_truncated_at_any_byte_is_an_error() {
        let data = sample();
        for (compression, packed) in streams() {
            for n in 0..packed.len() {
                let mut out = Vec::new();
                let result = compression.undo(&mut packed[..n].to_vec(), data.len(), &mut out);
                assert!(
                    result.is_err() || out != data && out.is_empty() && n == 0,
                    "{compression:?} truncated to {n} bytes"
                );
            }
        }
    }

    #[test]
    fn a_wrong_claimed_size_is_an_error() {
        let mut packed = gzip(&[1; 1000]);
        let n = packed.len();
        packed[n - 4..].copy_from_slice(&3u32.to_le_bytes());
        // libdeflate checks the claimed size, too.
        let result = Compression::Gzip.undo(&mut packed, 1000, &mut Vec::new());
        assert!(result.is_err());
    }

    #[test]
    fn a_claimed_size_of_gigabytes_allocates_only_what_the_stream_can_inflate_to() {
        let mut packed = gzip(b"little");
        let n = packed.len();
        packed[n - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut out = Vec::new();
        assert!(
            Compression::Gzip
                .undo(&mut packed, usize::MAX, &mut out)
                .is_err()
        );
        assert!(out.capacity() <= n * MAX_DEFLATE_RATIO);
    }
}

//! Compressed bytes undone piece by piece, for documents that are never in memory as a whole.

use std::io::{BufReader, Read};

use super::{Compression, MAX_XZ_MEMORY_KIB};

/// Bytes that a decoder takes or gives at a time.
const BUFFER_BYTES: usize = 1 << 16;

impl Compression {
    /// The bytes that were compressed to those of `stored`, as they are read. Memory does not grow with their number.
    pub(crate) fn reader<'r>(
        self,
        stored: Box<dyn Read + Send + 'r>,
    ) -> std::io::Result<Box<dyn Read + Send + 'r>> {
        let buffered = |stored| BufReader::with_capacity(BUFFER_BYTES, stored);
        Ok(match self {
            Self::None => stored,
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(stored))),
            Self::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(buffered(stored))),
            Self::Brotli => Box::new(brotli_decompressor::Decompressor::new(stored, BUFFER_BYTES)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(buffered(stored))?),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
                stored,
                true,
                MAX_XZ_MEMORY_KIB,
            )),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(stored))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sample, streams};
    use super::*;

    /// Gives a byte or two at a time, as a network may.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let rest = &self.0[self.1.min(self.0.len())..];
            let n = into.len().min(rest.len()).min(1 + self.1 % 2);
            into[..n].copy_from_slice(&rest[..n]);
            self.1 += n;
            Ok(n)
        }
    }

    fn read(compression: Compression, packed: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        compression
            .reader(Box::new(Slow(packed.to_vec(), 0)))?
            .read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_compression_is_undone_piece_by_piece() {
        for (compression, packed) in streams() {
            assert!(
                read(compression, &packed).unwrap() == sample(),
                "{compression:?}"
            );
        }
        let (_, gzip) = streams().remove(0);
        let twice = read(Compression::Gzip, &[&gzip[..], &gzip].concat()).unwrap();
        assert!(twice == [sample(), sample()].concat());
    }

    #[test]
    fn a_stream_that_is_cut_off_is_an_error() {
        for (compression, packed) in streams() {
            for n in 1..packed.len() {
                let found = read(compression, &packed[..n]);
                assert!(found.is_err(), "{compression:?} cut to {n} bytes");
            }
        }
    }
}

//! Streaming decompression, for documents that do not fit into memory.

use std::io::{BufReader, Read};

use super::{Compression, MAX_XZ_MEMORY_KIB};

/// Buffer size of a decoder in bytes.
const BUFFER_BYTES: usize = 1 << 16;

impl Compression {
    /// Inflates `stored` while it is read. Memory use does not depend on the size.
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

    /// Returns one or two bytes per read, as a network may.
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
    fn every_compression_is_inflated_as_a_stream() {
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
    fn a_truncated_stream_is_an_error() {
        for (compression, packed) in streams() {
            for n in 1..packed.len() {
                let found = read(compression, &packed[..n]);
                assert!(found.is_err(), "{compression:?} truncated to {n} bytes");
            }
        }
    }
}

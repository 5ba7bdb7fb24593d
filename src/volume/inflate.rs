//! Decompression inside a bound: whatever a stream claims, no more is written than may come out of it.

use std::cell::RefCell;
use std::io::Read;

use libdeflater::{DecompressionError, Decompressor};

/// How a chunk's bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Gzip,
    Zlib,
    Zstd,
    Bzip2,
}

thread_local! {
    static DEFLATE: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// What `bytes` hold, at most `limit_bytes`. Says what is wrong where they are damaged or hold more.
pub(super) fn inflate(method: Method, bytes: &[u8], limit_bytes: usize) -> Result<Vec<u8>, String> {
    let name = match method {
        Method::Gzip => "gzip",
        Method::Zlib => "zlib",
        Method::Zstd => "zstd",
        Method::Bzip2 => "bzip2",
    };
    let damaged = || {
        format!(
            "its {name} stream of {} bytes is damaged or cut off",
            bytes.len()
        )
    };
    let too_long = || {
        format!(
            "its {name} stream holds more than {limit_bytes} bytes, the most that this chunk can have"
        )
    };
    match method {
        Method::Gzip | Method::Zlib => {
            let mut out = vec![0; limit_bytes];
            let result = DEFLATE.with_borrow_mut(|d| match method {
                Method::Gzip => d.gzip_decompress(bytes, &mut out),
                _ => d.zlib_decompress(bytes, &mut out),
            });
            match result {
                Ok(n) => out.truncate(n),
                Err(DecompressionError::BadData) => return Err(damaged()),
                Err(DecompressionError::InsufficientSpace) => return Err(too_long()),
            }
            Ok(out)
        }
        Method::Zstd => read_bounded(
            zstd::Decoder::with_buffer(bytes).map_err(|_| damaged())?,
            limit_bytes,
            damaged,
            too_long,
        ),
        Method::Bzip2 => read_bounded(
            bzip2::bufread::MultiBzDecoder::new(bytes),
            limit_bytes,
            damaged,
            too_long,
        ),
    }
}

fn read_bounded(
    stream: impl Read,
    limit_bytes: usize,
    damaged: impl Fn() -> String,
    too_long: impl Fn() -> String,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(limit_bytes);
    // One byte more than may be, to see whether there is more.
    let found = stream.take(limit_bytes as u64 + 1).read_to_end(&mut out);
    match found {
        Ok(n) if n > limit_bytes => Err(too_long()),
        Ok(_) => Ok(out),
        Err(_) => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(method: Method, bytes: &[u8]) -> Vec<u8> {
        let mut c = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(1).unwrap());
        let mut out = vec![0; bytes.len() + 1000];
        let n = match method {
            Method::Gzip => c.gzip_compress(bytes, &mut out).unwrap(),
            Method::Zlib => c.zlib_compress(bytes, &mut out).unwrap(),
            Method::Zstd => return zstd::encode_all(bytes, 1).unwrap(),
            Method::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(bytes).unwrap();
                return encoder.finish().unwrap();
            }
        };
        out.truncate(n);
        out
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_a_cut_stream_is_an_error() {
        let data: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        for method in [Method::Gzip, Method::Zlib, Method::Zstd, Method::Bzip2] {
            let packed = packed(method, &data);
            assert_eq!(inflate(method, &packed, data.len()).unwrap(), data);
            assert_eq!(inflate(method, &packed, data.len() + 9).unwrap(), data);
            let e = inflate(method, &packed, data.len() - 1).unwrap_err();
            assert!(e.contains("more than 49999"), "{method:?}: {e}");
            for n in 1..packed.len() {
                assert!(
                    inflate(method, &packed[..n], data.len()).is_err(),
                    "{method:?} {n}"
                );
            }
        }
    }
}

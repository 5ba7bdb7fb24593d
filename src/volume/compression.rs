//! Compression of whole chunk files, beneath the chunk's own encoding.

use std::cell::RefCell;

use libdeflater::{DecompressionError, Decompressor};

/// How a chunk file is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip: `NAME.gz`, as CloudVolume writes on file systems.
    Gzip,
}

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Whether `bytes` begin as a gzip stream does: copies of buckets often hold what was served with
/// `Content-Encoding: gzip` under the plain name.
pub(super) fn looks_like_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 0x08])
}

/// Inflates the gzip stream `bytes` into `out`, which is replaced and never grows beyond `limit_bytes`.
/// Says what is wrong where it is damaged or holds more.
pub(super) fn gunzip(bytes: &[u8], limit_bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
    // The stream's last four bytes claim its length; a wrong claim costs a second try, no more.
    let claimed = bytes
        .last_chunk::<4>()
        .map_or(0, |n| u32::from_le_bytes(*n) as usize);
    let mut size = claimed.min(limit_bytes);
    loop {
        // Grows only: what is kept from the last block needs no zeroing.
        out.resize(size, 0);
        match DECOMPRESSOR.with_borrow_mut(|d| d.gzip_decompress(bytes, out)) {
            Ok(n) => {
                out.truncate(n);
                return Ok(());
            }
            Err(DecompressionError::InsufficientSpace) if size < limit_bytes => size = limit_bytes,
            Err(DecompressionError::InsufficientSpace) => {
                return Err(format!(
                    "its gzip stream inflates to more than {limit_bytes} bytes, the most that this chunk can have"
                ));
            }
            Err(DecompressionError::BadData) => {
                return Err(format!(
                    "its gzip stream of {} bytes is damaged or cut off",
                    bytes.len()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut c = Compressor::new(CompressionLvl::new(1).unwrap());
        let mut out = vec![0; c.gzip_compress_bound(bytes.len())];
        let n = c.gzip_compress(bytes, &mut out).unwrap();
        out.truncate(n);
        out
    }

    #[test]
    fn inflates_into_a_reused_buffer() {
        let data: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
        let mut out = vec![7; 100_000];
        gunzip(&gzip(&data), 10_000, &mut out).unwrap();
        assert_eq!(out, data);
    }

    #[test]
    fn a_wrong_length_claim_is_survived() {
        let mut packed = gzip(&[1; 1000]);
        let n = packed.len();
        packed[n - 4..].copy_from_slice(&3u32.to_le_bytes());
        // libdeflate checks the claim too: the stream is damaged, and says so without a panic.
        assert!(gunzip(&packed, 1000, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let e = gunzip(&gzip(&vec![0; 1 << 20]), 1000, &mut Vec::new()).unwrap_err();
        assert!(e.contains("more than 1000 bytes"), "{e}");
    }

    #[test]
    fn every_cut_of_a_stream_is_an_error() {
        let packed = gzip(&(0..500u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        for n in 0..packed.len() {
            assert!(gunzip(&packed[..n], 2000, &mut Vec::new()).is_err(), "{n}");
        }
    }
}

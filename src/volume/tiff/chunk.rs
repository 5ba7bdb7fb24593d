//! Decodes a chunk with the crate `tiff`, and JPEG as in precomputed volumes.
//!
//! The crate decodes files. A chunk becomes a file in memory with a single strip: a header and a directory of the same byte
//! order, followed by the stored bytes. So chunks are read with our own storage, and the crate sees no other sizes than
//! those that were checked.

use std::io::{Read, Seek, SeekFrom};

use tiff::decoder::{Decoder, Limits};

use super::compression::Compression;
use super::page::{ChunkFormat, Page};
use crate::catch_panic::catch_library_panic;
use crate::volume::precomputed::{ExpectedPicture, JpegColours, decode_jpeg};

/// Memory for the state of a decoder.
const STATE_BYTES: u64 = 256 << 10;

/// Memory that decoding a chunk of this page takes, beside its values.
pub(super) fn decoding_bytes(page: &Page, chunk_bytes: u64) -> u64 {
    let copies = match page.format.compression {
        // Coefficients of two bytes, and the components before they are interleaved.
        Compression::Jpeg => 4,
        // A window as large as the values.
        Compression::Zstd => 1,
        _ => 0,
    };
    STATE_BYTES + copies * chunk_bytes
}

/// Decodes the chunk `stored` of `size` pixels and replaces the contents of `values`: little-endian, channels of a pixel
/// together. The error is a description for the user.
pub(super) fn decode(
    page: &Page,
    size: [u64; 2],
    stored: &[u8],
    values: &mut Vec<u8>,
) -> Result<(), String> {
    let samples = page.samples_per_chunk();
    if page.format.compression == Compression::Jpeg {
        return decode_picture(page, size, stored, values);
    }
    values.clear();
    values.resize((size[0] * size[1] * page.pixel_bytes()) as usize, 0);
    let head = head(page, size, samples, stored.len());
    catch_library_panic(
        "tiff",
        || {
            let file = TwoParts {
                parts: [&head[..], stored],
                position: 0,
            };
            let decoder = Decoder::new(file).map_err(|e| e.to_string())?;
            // All sizes were checked.
            let mut decoder = decoder.with_limits(Limits::unlimited());
            let decoded = decoder.read_chunk_bytes(0, values);
            decoded.map_err(|e| damaged(page, stored.len(), &e))
        },
        |e| e,
    )?;
    if cfg!(target_endian = "big") {
        let bytes = page.data_type.size_bytes();
        values.chunks_exact_mut(bytes).for_each(<[u8]>::reverse);
    }
    Ok(())
}

fn damaged(page: &Page, bytes: usize, e: &tiff::TiffError) -> String {
    let name = match page.format.compression {
        Compression::None => "raw values",
        Compression::Lzw => "LZW",
        Compression::Deflate => "deflate",
        Compression::PackBits => "PackBits",
        Compression::Zstd => "zstd",
        Compression::Jpeg => "JPEG",
    };
    format!("its {bytes} bytes of {name} are damaged or truncated ({e})")
}

fn decode_picture(
    page: &Page,
    size: [u64; 2],
    stored: &[u8],
    values: &mut Vec<u8>,
) -> Result<(), String> {
    let expected = ExpectedPicture {
        voxels: [size[0], size[1], 1],
        channels: page.samples_per_chunk() as usize,
        data_type: page.data_type,
    };
    let colours = if page.format.is_ycbcr {
        JpegColours::Rgb
    } else {
        JpegColours::Stored
    };
    let tables = &page.format.jpeg_tables;
    // The tables are a JPEG without picture: everything but its end marker precedes the chunk without its start marker.
    let joined;
    let jpeg = match (tables.len().checked_sub(2), stored.get(2..)) {
        (Some(end), Some(rest)) => {
            joined = [&tables[..end], rest].concat();
            &joined[..]
        }
        _ => stored,
    };
    decode_jpeg(jpeg, expected, colours, values)
}

/// The header and the directory of a file with a single strip of `bytes` bytes, which follow.
fn head(page: &Page, size: [u64; 2], samples: u64, bytes: usize) -> Vec<u8> {
    let ChunkFormat {
        compression,
        predictor,
        is_big_endian,
        ..
    } = page.format;
    let format = if page.data_type.is_float() { 3 } else { 1 };
    const ENTRIES: u16 = 11;
    const HEAD_BYTES: u32 = 8 + 2 + 12 * ENTRIES as u32 + 4;
    // Tag, type (3: 16 bits, 4: 32 bits), value.
    let entries: [(u16, u16, u32); ENTRIES as usize] = [
        (256, 4, size[0] as u32),
        (257, 4, size[1] as u32),
        (258, 3, 8 * page.data_type.size_bytes() as u32),
        (259, 3, compression.number().into()),
        // BlackIsZero, so that values are not changed.
        (262, 3, 1),
        (273, 4, HEAD_BYTES),
        (277, 3, samples as u32),
        (278, 4, size[1] as u32),
        (279, 4, bytes as u32),
        (317, 3, predictor.into()),
        (339, 3, format),
    ];
    let mut head = Vec::with_capacity(HEAD_BYTES as usize);
    let short = |n: u16| {
        if is_big_endian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let long = |n: u32| {
        if is_big_endian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    head.extend(if is_big_endian { b"MM" } else { b"II" });
    head.extend(short(42));
    head.extend(long(8));
    head.extend(short(ENTRIES));
    for (tag, kind, value) in entries {
        head.extend(short(tag));
        head.extend(short(kind));
        head.extend(long(1));
        if kind == 3 {
            head.extend(short(value as u16));
            head.extend(short(0));
        } else {
            head.extend(long(value));
        }
    }
    head.extend(long(0));
    head
}

/// Two byte strings, read as one file.
struct TwoParts<'a> {
    parts: [&'a [u8]; 2],
    position: u64,
}

impl Read for TwoParts<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut skipped = usize::try_from(self.position).unwrap_or(usize::MAX);
        for part in self.parts {
            if let Some(mut rest) = part.get(skipped..).filter(|rest| !rest.is_empty()) {
                let read = rest.read(into)?;
                self.position += read as u64;
                return Ok(read);
            }
            skipped = skipped.saturating_sub(part.len());
        }
        Ok(0)
    }
}

impl Seek for TwoParts<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let length: usize = self.parts.iter().map(|part| part.len()).sum();
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => (length as u64).checked_add_signed(by),
        };
        self.position = position.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

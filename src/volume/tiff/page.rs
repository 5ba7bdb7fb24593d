//! A page: the size and type of its pixels, and where its chunks are.
//!
//! A page is stored in strips (whole rows) or in tiles, here both called chunks. The channels of a pixel are together in a
//! chunk, or each channel has chunks of its own (planar). Values are read as they are stored: neither WhiteIsZero nor a
//! palette changes them, as in tifffile and ImageJ, because labels are values, not colours.

use std::ops::Range;

use super::compression::Compression;
use super::directory::{Directory, TiffReader, tag};
use super::error::TiffError;
use crate::data_type::DataType;
use crate::volume::MAX_BLOCK_BYTES;

/// Most chunks of a page: their table has 16 bytes per chunk.
const MAX_CHUNKS: u64 = 1 << 20;

/// What a person can do about an unsupported form.
const REWRITE: &str =
    "rewrite the file, for example with `tiffcp -c lzw IN.tif OUT.tif` of libtiff";

/// Flags of the kind of a page: a smaller copy of another page, and a mask.
const REDUCED: u64 = 1;
const MASK: u64 = 4;

/// A page of a file.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The file and the page, for messages.
    pub name: String,
    /// The file's key in its store.
    pub key: String,
    pub width: u64,
    pub height: u64,
    pub samples: u64,
    pub data_type: DataType,
    pub format: ChunkFormat,
    /// Size of a chunk: of a tile, or of a strip.
    pub chunk: [u64; 2],
    pub is_tiled: bool,
    /// Whether each channel has chunks of its own.
    pub is_planar: bool,
    /// Positions and lengths in the file: rows of chunks, of all channels one after the other if planar. Length 0 is a
    /// missing chunk.
    chunks: Vec<Range<u64>>,
}

/// How values are stored in a chunk.
#[derive(Clone, Debug)]
pub(super) struct ChunkFormat {
    pub compression: Compression,
    /// 1: none; 2: horizontal differences; 3: of floating point numbers.
    pub predictor: u16,
    pub is_big_endian: bool,
    /// Whether a JPEG has to be converted from YCbCr to RGB.
    pub is_ycbcr: bool,
    /// Tables that all JPEGs of the page share.
    pub jpeg_tables: Vec<u8>,
}

/// Whether the page is a smaller copy of another one, or a mask for it.
pub(super) fn is_auxiliary(
    reader: &mut TiffReader,
    directory: &Directory,
) -> Result<bool, TiffError> {
    let kind = reader.first_number(directory, tag::NEW_SUBFILE_TYPE)?;
    Ok(kind.unwrap_or(0) & (REDUCED | MASK) != 0)
}

impl Page {
    /// Reads the page of `directory` in the file `key`. `name` is for messages.
    pub(super) fn read(
        reader: &mut TiffReader,
        directory: &Directory,
        key: &str,
        name: String,
    ) -> Result<Self, TiffError> {
        PageReader {
            reader,
            directory,
            key,
            name,
        }
        .read()
    }

    /// Number of chunks along x and y.
    pub(super) fn grid(&self) -> [u64; 2] {
        [
            self.width.div_ceil(self.chunk[0]),
            self.height.div_ceil(self.chunk[1]),
        ]
    }

    /// Number of channels in a chunk.
    pub(super) fn samples_per_chunk(&self) -> u64 {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Number of chunks, one for some of the channels each, that make up the pixels of a chunk.
    pub(super) fn planes(&self) -> u64 {
        if self.is_planar { self.samples } else { 1 }
    }

    /// Bytes of a pixel in a chunk.
    pub(super) fn pixel_bytes(&self) -> u64 {
        self.samples_per_chunk() * self.data_type.size_bytes() as u64
    }

    /// Bytes of a decoded chunk.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.chunk[0] * self.chunk[1] * self.pixel_bytes()
    }

    /// Whether any rows of a chunk can be read without the others.
    pub(super) fn has_raw_rows(&self) -> bool {
        !self.is_tiled && self.format.compression == Compression::None
    }

    /// The size of the chunk at `position` as it is stored: strips at the end are cut off, tiles are not.
    pub(super) fn stored_size(&self, position: [u64; 2]) -> [u64; 2] {
        if self.is_tiled {
            self.chunk
        } else {
            let first = position[1] * self.chunk[1];
            [self.width, self.chunk[1].min(self.height - first)]
        }
    }

    /// The bytes of the file with the chunk at `position` of the grid; empty for a missing chunk.
    pub(super) fn range(&self, plane: u64, position: [u64; 2]) -> Range<u64> {
        let [across, down] = self.grid();
        let number = (plane * down + position[1]) * across + position[0];
        self.chunks.get(number as usize).cloned().unwrap_or(0..0)
    }

    /// The position of the pixels of the first chunk, if all pixels of the page are one range of raw bytes from there on.
    pub(super) fn raw_start(&self) -> Option<u64> {
        let first = self.chunks.first()?.start;
        let mut end = first;
        for chunk in &self.chunks {
            if chunk.start != end {
                return None;
            }
            end = chunk.end;
        }
        (self.has_raw_rows() && end - first == self.page_bytes()).then_some(first)
    }

    /// Bytes of all pixels.
    pub(super) fn page_bytes(&self) -> u64 {
        self.width * self.height * self.samples * self.data_type.size_bytes() as u64
    }

    /// The same page with its raw pixels at another position.
    pub(super) fn moved(&self, name: String, start: u64) -> Self {
        let first = self.raw_start().unwrap_or(0);
        let moved = |chunk: &Range<u64>| chunk.start - first + start..chunk.end - first + start;
        Self {
            name,
            chunks: self.chunks.iter().map(moved).collect(),
            ..self.clone()
        }
    }

    /// The same page with another name.
    pub(super) fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// What all pages of a stack have in common, for messages.
    pub(super) fn describe_shape(&self) -> String {
        format!(
            "{} x {} pixels of {} with {} channel(s)",
            self.width, self.height, self.data_type, self.samples
        )
    }

    /// Memory of the page, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let texts = self.name.len() + self.key.len() + self.format.jpeg_tables.len();
        (size_of::<Self>() + texts + self.chunks.len() * size_of::<Range<u64>>()) as u64
    }
}

/// Reads and checks the tags of a page.
struct PageReader<'r> {
    reader: &'r mut TiffReader,
    directory: &'r Directory,
    key: &'r str,
    name: String,
}

impl PageReader<'_> {
    fn read(mut self) -> Result<Page, TiffError> {
        let width = self.required(tag::IMAGE_WIDTH, "ImageWidth")?;
        let height = self.required(tag::IMAGE_LENGTH, "ImageLength")?;
        let samples = self.number(tag::SAMPLES_PER_PIXEL, 1)?;
        let in_range = |n: u64, most| (1..=most).contains(&n);
        if !in_range(width, u64::from(u32::MAX))
            || !in_range(height, u64::from(u32::MAX))
            || !in_range(samples, u64::from(u16::MAX))
        {
            return Err(self.damaged(format!(
                "found {width} x {height} pixels with {samples} channel(s), expected at least one of each"
            )));
        }
        let data_type = self.data_type()?;
        let planar = self.number(tag::PLANAR_CONFIGURATION, 1)?;
        let is_tiled = self.directory.contains(tag::TILE_OFFSETS);
        let chunk = if is_tiled {
            let width = self.required(tag::TILE_WIDTH, "TileWidth")?;
            [width, self.required(tag::TILE_LENGTH, "TileLength")?]
        } else {
            let rows = self.number(tag::ROWS_PER_STRIP, height)?;
            [width, rows.min(height)]
        };
        let mut page = Page {
            format: self.format(data_type)?,
            name: self.name.clone(),
            key: self.key.to_owned(),
            width,
            height,
            samples,
            data_type,
            chunk,
            is_tiled,
            is_planar: planar == 2 && samples > 1,
            chunks: Vec::new(),
        };
        let size = data_type.size_bytes() as u64;
        let factors = [chunk[0], chunk[1], page.samples_per_chunk(), size];
        let bytes = factors.into_iter().try_fold(1, u64::checked_mul);
        let limit = if page.has_raw_rows() {
            u64::MAX
        } else {
            MAX_BLOCK_BYTES
        };
        if bytes.is_none_or(|n| n == 0 || n > limit) {
            return Err(self.unsupported(format!(
                "found {} of {} x {} pixels with {} channel(s) of {data_type}, expected at most {MAX_BLOCK_BYTES} bytes: {REWRITE}, which has smaller strips with `-r 64`",
                page.chunks_name(), chunk[0], chunk[1], page.samples_per_chunk()
            )));
        }
        let all = [width, height, samples, size];
        if { all.into_iter().try_fold(1, u64::checked_mul) }.is_none() {
            return Err(self.damaged(format!(
                "found {} x {} pixels, which is out of range",
                width, height
            )));
        }
        page.chunks = self.chunks(&page)?;
        Ok(page)
    }

    fn damaged(&self, problem: String) -> TiffError {
        TiffError::Damaged {
            object: self.name.clone(),
            problem,
        }
    }

    fn unsupported(&self, problem: String) -> TiffError {
        TiffError::Unsupported {
            object: self.name.clone(),
            problem,
        }
    }

    fn number(&mut self, tag: u16, default: u64) -> Result<u64, TiffError> {
        let found = self.reader.first_number(self.directory, tag)?;
        Ok(found.unwrap_or(default))
    }

    fn required(&mut self, tag: u16, name: &str) -> Result<u64, TiffError> {
        let found = self.reader.first_number(self.directory, tag)?;
        found.ok_or_else(|| self.damaged(format!("found no {name} (tag {tag})")))
    }

    /// The type of all channels.
    fn data_type(&mut self) -> Result<DataType, TiffError> {
        let bits = self.reader.numbers(self.directory, tag::BITS_PER_SAMPLE)?;
        let bits = bits.filter(|b| !b.is_empty()).unwrap_or(vec![1]);
        let formats = self.reader.numbers(self.directory, tag::SAMPLE_FORMAT)?;
        let formats = formats.filter(|f| !f.is_empty()).unwrap_or(vec![1]);
        let differ = |list: &[u64]| list.iter().any(|n| *n != list[0]);
        if differ(&bits) || differ(&formats) {
            return Err(self.unsupported(format!(
                "found channels of different types ({bits:?} bits, sample formats {formats:?}), expected one type: write each channel into a file of its own"
            )));
        }
        // Format 4 is undefined, which libtiff reads as unsigned.
        Ok(match (formats[0], bits[0]) {
            (1 | 4, 8) => DataType::UInt8,
            (1 | 4, 16) => DataType::UInt16,
            (1 | 4, 32) => DataType::UInt32,
            (1 | 4, 64) => DataType::UInt64,
            (2, 8) => DataType::Int8,
            (2, 16) => DataType::Int16,
            (2, 32) => DataType::Int32,
            (2, 64) => DataType::Int64,
            (3, 32) => DataType::Float32,
            (3, 64) => DataType::Float64,
            (format, bits) => {
                let kind = match format {
                    3 => "floating point",
                    5 | 6 => "complex",
                    2 => "signed",
                    _ => "unsigned",
                };
                return Err(self.unsupported(format!(
                    "found {kind} values of {bits} bit(s), expected integers of 8, 16, 32 or 64 bits or floating point numbers of 32 or 64: convert the file to one of these types"
                )));
            }
        })
    }

    fn format(&mut self, data_type: DataType) -> Result<ChunkFormat, TiffError> {
        let number = self.number(tag::COMPRESSION, 1)?;
        let compression = Compression::of(number).map_err(|name| {
            self.unsupported(format!(
                "found the compression {number} ({name}), expected none, LZW, deflate, PackBits, JPEG or zstd: {REWRITE}"
            ))
        })?;
        let is_jpeg = compression == Compression::Jpeg;
        let fill_order = self.number(tag::FILL_ORDER, 1)?;
        if fill_order != 1 {
            return Err(self.unsupported(format!(
                "found the order of bits (FillOrder) {fill_order}, expected 1: {REWRITE}"
            )));
        }
        let photometric = self.number(tag::PHOTOMETRIC, 1)?;
        match photometric {
            0..=3 | 5 => {}
            6 if is_jpeg => {}
            _ => {
                let name = match photometric {
                    4 => "a mask",
                    6 => "YCbCr",
                    8..=10 => "L*a*b*",
                    32803 => "a colour filter array",
                    _ => "unknown",
                };
                return Err(self.unsupported(format!(
                    "found colours of the kind {photometric} ({name}), expected grey levels, a palette, RGB, CMYK or YCbCr in JPEG: convert the file to grey levels or RGB"
                )));
            }
        }
        if is_jpeg && data_type != DataType::UInt8 {
            return Err(self.unsupported(format!(
                "found JPEG of {data_type}, expected uint8: {REWRITE}"
            )));
        }
        let predictor = match compression {
            Compression::Lzw | Compression::Deflate | Compression::Zstd => {
                self.number(tag::PREDICTOR, 1)?
            }
            _ => 1,
        };
        let fits = match predictor {
            1 | 2 => true,
            3 => data_type.is_float(),
            _ => false,
        };
        if !fits {
            return Err(self.unsupported(format!(
                "found the predictor {predictor} of {data_type}, expected none (1), horizontal (2) or floating point (3, of float32 or float64): {REWRITE}"
            )));
        }
        let tables = if is_jpeg {
            self.reader.bytes(self.directory, tag::JPEG_TABLES)?
        } else {
            None
        };
        Ok(ChunkFormat {
            compression,
            predictor: predictor as u16,
            is_big_endian: self.reader.is_big_endian(),
            is_ycbcr: photometric == 6,
            jpeg_tables: tables.unwrap_or_default(),
        })
    }

    /// The ranges of all chunks.
    fn chunks(&mut self, page: &Page) -> Result<Vec<Range<u64>>, TiffError> {
        let (offsets, counts) = if page.is_tiled {
            (tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS)
        } else {
            (tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS)
        };
        let [across, down] = page.grid();
        let expected = across.saturating_mul(down).saturating_mul(page.planes());
        if expected > MAX_CHUNKS {
            return Err(self.unsupported(format!(
                "found {expected} {}, expected at most {MAX_CHUNKS}: {REWRITE}, which has larger strips with `-r 64`",
                page.chunks_name()
            )));
        }
        let found = self.directory.count(offsets);
        if found < expected {
            return Err(self.damaged(format!(
                "found the positions of {found} {}, expected {expected}",
                page.chunks_name()
            )));
        }
        let offsets = self.reader.numbers(self.directory, offsets)?;
        let counts = self.reader.numbers(self.directory, counts)?;
        let offsets = offsets.unwrap_or_default();
        let mut chunks = Vec::with_capacity(expected as usize);
        for (number, offset) in offsets.into_iter().take(expected as usize).enumerate() {
            let row = number as u64 / across % down;
            let [width, height] = page.stored_size([0, row]);
            let bytes = width * height * page.pixel_bytes();
            let stored = match &counts {
                Some(counts) => counts.get(number).copied().unwrap_or(0),
                // Old writers leave out the lengths of raw strips.
                None if page.format.compression == Compression::None => bytes,
                None => {
                    return Err(
                        self.damaged(format!("found no lengths of its {}", page.chunks_name()))
                    );
                }
            };
            chunks.push(self.chunk(page, number, offset, stored, bytes)?);
        }
        Ok(chunks)
    }

    /// The checked range of a chunk that decodes to `bytes`.
    fn chunk(
        &self,
        page: &Page,
        number: usize,
        offset: u64,
        stored: u64,
        bytes: u64,
    ) -> Result<Range<u64>, TiffError> {
        // GDAL and libtiff leave out chunks of zeros.
        if stored == 0 {
            return Ok(0..0);
        }
        let name = page.chunks_name();
        let length = match page.format.compression {
            Compression::None if stored < bytes => {
                return Err(self.damaged(format!(
                    "found {stored} bytes for number {number} of its {name}, expected {bytes}"
                )));
            }
            Compression::None => bytes,
            // No compression makes values much larger than they are.
            _ if stored > 2 * bytes + (64 << 10) => {
                return Err(self.damaged(format!(
                    "found {stored} bytes for number {number} of its {name}, which decodes to {bytes} bytes"
                )));
            }
            _ => stored,
        };
        let size = self.reader.size_bytes();
        let end = offset.checked_add(length).filter(|end| *end <= size);
        let end = end.ok_or_else(|| {
            self.damaged(format!(
                "found number {number} of its {name} at byte {offset} with {length} bytes, but the file has {size} bytes: it is truncated"
            ))
        })?;
        Ok(offset..end)
    }
}

impl Page {
    fn chunks_name(&self) -> &'static str {
        if self.is_tiled { "tiles" } else { "strips" }
    }
}

//! The structure of a TIFF file: its header, and its directories of tags.
//!
//! Classic TIFF and BigTIFF, in either byte order. A directory describes one page and has the position of the next one.
//! Everything is read through a window of the file, so that directories that are near each other need one request. The
//! crate `tiff` decodes pixels (`chunk`), but it does not parse structure here: it needs a supported first page, limits
//! the tables of a page to 1 MiB, and reads tags one by one.

use super::error::TiffError;
use crate::storage::{OpenObject, Store};

/// Size of the window on a server, and on a disk.
const REMOTE_WINDOW_BYTES: usize = 64 << 10;
const LOCAL_WINDOW_BYTES: usize = 4 << 10;

/// Largest number of tags in a directory. Files have a few dozen.
const MAX_ENTRIES: u64 = 4096;

/// Largest value of a tag: a table of the chunks of a page, or the metadata of a file.
const MAX_VALUE_BYTES: u64 = 16 << 20;

/// Tags that are used here, by their names in the specification.
pub(super) mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const IMAGE_WIDTH: u16 = 256;
    pub const IMAGE_LENGTH: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const IMAGE_DESCRIPTION: u16 = 270;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const X_RESOLUTION: u16 = 282;
    pub const Y_RESOLUTION: u16 = 283;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    /// MetaMorph's planes, which are not pages.
    pub const UIC_2: u16 = 33629;
    /// Zeiss LSM.
    pub const CZ_LSM_INFO: u16 = 34412;
}

/// An open file.
#[derive(Debug)]
pub(super) struct TiffReader {
    object: Box<dyn OpenObject>,
    /// For messages.
    name: String,
    window: Vec<u8>,
    /// Position of the window in the file.
    window_start: u64,
    window_bytes: usize,
    is_big_endian: bool,
    is_big_tiff: bool,
    first_directory: u64,
}

/// The tags of a page.
#[derive(Debug)]
pub(super) struct Directory {
    entries: Vec<Entry>,
    /// Position of the next directory.
    pub next: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Position of the values in the file.
    position: u64,
}

impl Entry {
    fn value_bytes(&self) -> Option<u64> {
        Some(match self.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => return None,
        })
    }
}

impl TiffReader {
    /// Opens the file `key`; `None` if it is missing.
    pub(super) fn open(store: &dyn Store, key: &str) -> Result<Option<Self>, TiffError> {
        let Some(object) = store.open_object(key)? else {
            return Ok(None);
        };
        let window_bytes = if store.has_latency() {
            REMOTE_WINDOW_BYTES
        } else {
            LOCAL_WINDOW_BYTES
        };
        let mut reader = Self {
            object,
            name: store.describe(key),
            window: Vec::new(),
            window_start: 0,
            window_bytes,
            is_big_endian: false,
            is_big_tiff: false,
            first_directory: 0,
        };
        reader.read_header()?;
        Ok(Some(reader))
    }

    fn read_header(&mut self) -> Result<(), TiffError> {
        if self.object.size_bytes() < 8 {
            let size = self.object.size_bytes();
            return Err(self.damaged(format!(
                "found {size} bytes, which is less than a header; check that the file is complete"
            )));
        }
        let start = self.read(0, 8)?.to_vec();
        self.is_big_endian = match &start[..2] {
            b"II" => false,
            b"MM" => true,
            _ => return Err(self.no_signature()),
        };
        match self.number(&start[2..4]) {
            42 => self.first_directory = self.number(&start[4..8]),
            43 => {
                self.is_big_tiff = true;
                if self.number(&start[4..6]) != 8 {
                    return Err(self.no_signature());
                }
                let position = self.read(8, 8)?.to_vec();
                self.first_directory = self.number(&position);
            }
            _ => return Err(self.no_signature()),
        }
        Ok(())
    }

    fn no_signature(&self) -> TiffError {
        self.damaged(
            "found no TIFF signature; check the path, and that the file is complete".to_owned(),
        )
    }

    /// The file, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.object.size_bytes()
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.is_big_endian
    }

    pub(super) fn damaged(&self, problem: String) -> TiffError {
        TiffError::Damaged {
            object: self.name.clone(),
            problem,
        }
    }

    pub(super) fn first_directory(&mut self) -> Result<Directory, TiffError> {
        if self.first_directory == 0 {
            return Err(self.damaged(
                "found no page; check that the file is complete: some programs write the position of the pages last"
                    .to_owned(),
            ));
        }
        self.directory(self.first_directory)
    }

    /// Where the first directory is.
    pub(super) fn first_position(&self) -> u64 {
        self.first_directory
    }

    /// Reads the directory at `position`.
    pub(super) fn directory(&mut self, position: u64) -> Result<Directory, TiffError> {
        let (count_bytes, entry_bytes, offset_bytes) = if self.is_big_tiff {
            (8, 20, 8)
        } else {
            (2, 12, 4)
        };
        let count = self.number_at(position, count_bytes)?;
        if count == 0 || count > MAX_ENTRIES {
            return Err(self.damaged(format!(
                "found a directory of {count} tags at byte {position}, expected 1 to {MAX_ENTRIES}"
            )));
        }
        let start = position + count_bytes;
        let length = count * entry_bytes + offset_bytes;
        let bytes = self.read(start, length)?.to_vec();
        let (listed, next) = bytes.split_at((count * entry_bytes) as usize);
        let mut entries = Vec::with_capacity(count as usize);
        for (i, bytes) in listed.chunks_exact(entry_bytes as usize).enumerate() {
            let (head, value) = bytes.split_at(bytes.len() - offset_bytes as usize);
            let mut entry = Entry {
                tag: self.number(&head[..2]) as u16,
                kind: self.number(&head[2..4]) as u16,
                count: self.number(&head[4..]),
                position: start + i as u64 * entry_bytes + head.len() as u64,
            };
            let total = entry.value_bytes().map(|n| entry.count.saturating_mul(n));
            if total.is_some_and(|n| n > offset_bytes) {
                entry.position = self.number(value);
            }
            entries.push(entry);
        }
        let next = self.number(next);
        Ok(Directory {
            entries,
            next: (next != 0).then_some(next),
        })
    }

    fn number_at(&mut self, position: u64, length: u64) -> Result<u64, TiffError> {
        let bytes = self.read(position, length)?.to_vec();
        Ok(self.number(&bytes))
    }

    /// The unsigned number in `bytes`, at most 8.
    fn number(&self, bytes: &[u8]) -> u64 {
        let append = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        if self.is_big_endian {
            bytes.iter().fold(0, append)
        } else {
            bytes.iter().rev().fold(0, append)
        }
    }

    /// Bytes of the file.
    fn read(&mut self, position: u64, length: u64) -> Result<&[u8], TiffError> {
        let size = self.size_bytes();
        let end = position.checked_add(length).filter(|end| *end <= size);
        let Some(end) = end else {
            return Err(self.damaged(format!(
                "found a reference to {length} bytes at byte {position}, but the file has {size} bytes: it is truncated or damaged"
            )));
        };
        let window_end = self.window_start + self.window.len() as u64;
        if position < self.window_start || end > window_end {
            let wanted = length.max(self.window_bytes as u64).min(size - position);
            self.window.resize(wanted as usize, 0);
            self.window_start = position;
            let read = self.object.read_at(position, &mut self.window);
            if let Err(e) = read {
                self.window.clear();
                return Err(e.into());
            }
        }
        let from = (position - self.window_start) as usize;
        Ok(&self.window[from..from + length as usize])
    }

    /// The bytes of a tag's values; `None` without the tag.
    pub(super) fn bytes(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<Vec<u8>>, TiffError> {
        let Some(entry) = directory.find(tag) else {
            return Ok(None);
        };
        let total = { entry.value_bytes() }.and_then(|n| entry.count.checked_mul(n));
        let Some(total) = total.filter(|n| *n <= MAX_VALUE_BYTES) else {
            return Err(self.damaged(format!(
                "found {} values of the type {} in tag {tag}, expected at most {MAX_VALUE_BYTES} bytes",
                entry.count, entry.kind
            )));
        };
        Ok(Some(self.read(entry.position, total)?.to_vec()))
    }

    /// A tag's values, which are whole numbers from 0 on; `None` without the tag.
    pub(super) fn numbers(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<Vec<u64>>, TiffError> {
        let Some(bytes) = self.bytes(directory, tag)? else {
            return Ok(None);
        };
        let kind = directory.find(tag).map(|entry| entry.kind);
        let value_bytes = match kind {
            Some(1 | 7) => 1,
            Some(3) => 2,
            Some(4 | 13) => 4,
            Some(16 | 18) => 8,
            _ => {
                return Err(self.damaged(format!(
                    "found values of the type {} in tag {tag}, expected whole numbers",
                    kind.unwrap_or_default()
                )));
            }
        };
        let values = bytes.chunks_exact(value_bytes).map(|b| self.number(b));
        Ok(Some(values.collect()))
    }

    /// A tag's first value.
    pub(super) fn first_number(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<u64>, TiffError> {
        let numbers = self.numbers(directory, tag)?;
        Ok(numbers.and_then(|n| n.first().copied()))
    }

    /// A tag's value, which is a fraction; `None` without the tag, and where it is no number greater than 0.
    pub(super) fn fraction(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<f64>, TiffError> {
        if directory.find(tag).is_none_or(|entry| entry.kind != 5) {
            return Ok(None);
        }
        let bytes = self.bytes(directory, tag)?.unwrap_or_default();
        let (Some(above), Some(below)) = (bytes.get(..4), bytes.get(4..8)) else {
            return Ok(None);
        };
        let (above, below) = (self.number(above), self.number(below));
        Ok((above > 0 && below > 0).then_some(above as f64 / below as f64))
    }

    /// A tag's text, up to the first NUL: UTF-8, or else Latin-1, as ImageJ writes `µ`.
    pub(super) fn text(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<String>, TiffError> {
        let bytes = self.bytes(directory, tag)?;
        Ok(bytes.map(|bytes| {
            let end = memchr::memchr(0, &bytes).unwrap_or(bytes.len());
            match str::from_utf8(&bytes[..end]) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes[..end].iter().map(|b| char::from(*b)).collect(),
            }
        }))
    }
}

impl Directory {
    fn find(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.tag == tag).copied()
    }

    pub(super) fn contains(&self, tag: u16) -> bool {
        self.find(tag).is_some()
    }

    /// Number of values of a tag.
    pub(super) fn count(&self, tag: u16) -> u64 {
        self.find(tag).map_or(0, |entry| entry.count)
    }
}

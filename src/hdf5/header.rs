//! The messages of a dataset's header that say how its values are stored.

use hdf5_reader::Storage;
use hdf5_reader::error::{Error, Result};
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::filter_pipeline::FilterDescription;
use hdf5_reader::messages::layout::DataLayout;

/// Numbers of messages.
const DATA_LAYOUT: u16 = 0x08;
const CONTINUATION: u16 = 0x10;

/// The flag of a layout message: chunks that extend past the dataset are stored without filters
/// (`H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS`).
const UNFILTERED_EDGES: u8 = 1;

/// Most blocks of a header that are searched. Damaged headers may continue in circles.
const MAX_BLOCKS: usize = 1000;

/// Bytes of the first block's prefix at most: signature, version, flags, times, limits of attributes and size.
const MAX_PREFIX_BYTES: u64 = 34;

/// What a header says about values.
#[derive(Default)]
pub(super) struct DatasetHeader {
    pub layout: Option<DataLayout>,
    pub filters: Vec<FilterDescription>,
    /// The bytes of the fill value.
    pub fill: Option<Vec<u8>>,
    /// Whether the values are in other files.
    pub is_external: bool,
    /// Whether chunks that extend past the dataset are stored without filters.
    pub has_unfiltered_edges: bool,
}

impl DatasetHeader {
    /// Reads the header at `address`.
    pub fn read(file: &hdf5_reader::Hdf5File, address: u64) -> Result<Self> {
        let mut header = Self::default();
        for message in &file.get_or_parse_header(address)?.messages {
            match message {
                HdfMessage::DataLayout(layout) => header.layout = Some(layout.layout.clone()),
                HdfMessage::FilterPipeline(found) => header.filters = found.filters.clone(),
                // A file may have the old and the new message. The new one comes last and has the value.
                HdfMessage::FillValue(fill) if fill.value.is_some() => {
                    header.fill = fill.value.clone();
                }
                HdfMessage::ExternalFiles(_) => header.is_external = true,
                _ => {}
            }
        }
        // Layouts of the first kind of B-tree have no flags.
        let has_flags = matches!(
            &header.layout,
            Some(DataLayout::Chunked {
                chunk_indexing: Some(_),
                ..
            })
        );
        if has_flags && !header.filters.is_empty() {
            let superblock = file.superblock();
            let sizes = (superblock.offset_size, superblock.length_size);
            let flags = chunk_flags(file.storage(), address, sizes)?;
            header.has_unfiltered_edges = flags & UNFILTERED_EDGES != 0;
        }
        Ok(header)
    }
}

/// The flags in the layout message of the chunked dataset whose header is at `address`. The library does not keep them.
/// `sizes` are those of offsets and lengths in the file.
fn chunk_flags(storage: &dyn Storage, address: u64, sizes: (u8, u8)) -> Result<u8> {
    let (is_second_version, mut blocks) = first_block(storage, address)?;
    let mut next = 0;
    while let Some((start, length, has_creation_order)) = blocks.get(next).copied() {
        next += 1;
        let length =
            usize::try_from(length).map_err(|_| damaged("a block of its header is too long"))?;
        let block = storage.read_range(start, length)?;
        let messages = Messages {
            rest: block.as_ref(),
            is_second_version,
            has_creation_order,
        };
        for (kind, body) in messages {
            match (kind, body) {
                // Version, class, flags: the class of chunked layouts is 2.
                (DATA_LAYOUT, [4 | 5, 2, flags, ..]) => return Ok(*flags),
                (CONTINUATION, body) if blocks.len() < MAX_BLOCKS => {
                    let at = number(body, 0, sizes.0)?;
                    let length = number(body, sizes.0.into(), sizes.1)?;
                    // Blocks of the second version have a signature before and a checksum behind their messages.
                    let (before, behind) = if is_second_version { (4, 4) } else { (0, 0) };
                    blocks.push((
                        at.checked_add(before).ok_or(Error::OffsetOutOfBounds(at))?,
                        length.saturating_sub(before + behind),
                        has_creation_order,
                    ));
                }
                _ => {}
            }
        }
    }
    Err(damaged("found no layout message in its header"))
}

/// Start and length of the messages in a block of a header, and whether they have a creation order.
type Block = (u64, u64, bool);

/// Whether the header at `address` is of the second version, and its first block.
fn first_block(storage: &dyn Storage, address: u64) -> Result<(bool, Vec<Block>)> {
    let available = storage.len().saturating_sub(address).min(MAX_PREFIX_BYTES);
    let prefix = storage.read_range(address, available as usize)?;
    let prefix = prefix.as_ref();
    let (is_second_version, at, width) = match prefix {
        [b'O', b'H', b'D', b'R', 2, flags, ..] => {
            let times = if flags & 0x20 != 0 { 16 } else { 0 };
            let limits = if flags & 0x10 != 0 { 4 } else { 0 };
            (true, 6 + times + limits, 1 << (flags & 3))
        }
        [1, ..] => (false, 8, 4),
        _ => return Err(Error::InvalidObjectHeaderSignature),
    };
    let length = number(prefix, at, width)?;
    // Messages of the first version are aligned to 8 bytes.
    let before = if is_second_version {
        at + usize::from(width)
    } else {
        16
    };
    let start = address
        .checked_add(before as u64)
        .ok_or(Error::OffsetOutOfBounds(address))?;
    let has_creation_order = is_second_version && prefix.get(5).is_some_and(|f| f & 4 != 0);
    Ok((is_second_version, vec![(start, length, has_creation_order)]))
}

/// The messages in a block: their number and contents.
struct Messages<'b> {
    rest: &'b [u8],
    is_second_version: bool,
    has_creation_order: bool,
}

impl<'b> Iterator for Messages<'b> {
    type Item = (u16, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, size, before) = if self.is_second_version {
            let [kind, a, b, _, ..] = *self.rest else {
                return None;
            };
            let before = if self.has_creation_order { 6 } else { 4 };
            (kind.into(), u16::from_le_bytes([a, b]), before)
        } else {
            let [kind, more, a, b, ..] = *self.rest else {
                return None;
            };
            let kind = u16::from_le_bytes([kind, more]);
            (kind, u16::from_le_bytes([a, b]), 8)
        };
        let body = self.rest.get(before..before + usize::from(size))?;
        self.rest = &self.rest[before + usize::from(size)..];
        Some((kind, body))
    }
}

/// The little-endian number of `width` bytes at `at`.
fn number(bytes: &[u8], at: usize, width: u8) -> Result<u64> {
    let found = bytes.get(at..at + usize::from(width));
    let mut number = [0; 8];
    match (found, number.get_mut(..width.into())) {
        (Some(found), Some(into)) => into.copy_from_slice(found),
        _ => return Err(damaged("its header is truncated")),
    }
    Ok(u64::from_le_bytes(number))
}

fn damaged(problem: &str) -> Error {
    Error::InvalidData(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use hdf5_reader::StorageBuffer;

    use super::*;

    /// A file in memory.
    struct Bytes(Vec<u8>);

    impl Storage for Bytes {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
            let start = offset as usize;
            let range = self.0.get(start..start.saturating_add(len));
            let range = range.ok_or(Error::OffsetOutOfBounds(offset))?;
            Ok(StorageBuffer::from_vec(range.to_vec()))
        }
    }

    /// A layout of chunks with these flags.
    fn layout(flags: u8) -> Vec<u8> {
        vec![4, 2, flags, 2, 1, 9, 9, 1]
    }

    fn continuation(at: u64, length: u64) -> Vec<u8> {
        [at.to_le_bytes(), length.to_le_bytes()].concat()
    }

    /// A message of the first version.
    fn first(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 0, body.len() as u8, 0, 0, 0, 0, 0], body].concat()
    }

    /// A message of the second version, with a creation order.
    fn second(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, body.len() as u8, 0, 0, 7, 0], body].concat()
    }

    #[test]
    fn flags_are_found_in_headers_of_both_versions_and_in_their_continuations() {
        for flags in [0, 1, 3] {
            let messages = [first(1, &[0; 16]), first(8, &layout(flags))].concat();
            let prefix = [
                1,
                0,
                2,
                0,
                1,
                0,
                0,
                0,
                messages.len() as u8,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ];
            let file = Bytes([&[0xee; 24][..], &prefix, &messages].concat());
            assert_eq!(chunk_flags(&file, 24, (8, 8)).unwrap(), flags);

            let behind = second(8, &layout(flags));
            let block = [b"OCHK", &behind[..], &[0; 4]].concat();
            let messages = [
                second(1, &[0; 9]),
                second(16, &continuation(200, block.len() as u64)),
            ];
            let messages = messages.concat();
            // With times, limits of attributes, a creation order and a size of two bytes.
            let prefix = [
                &b"OHDR"[..],
                &[2, 0x35],
                &[0; 20],
                &[messages.len() as u8, 0],
            ]
            .concat();
            let mut file = [prefix, messages].concat();
            file.resize(200, 0xee);
            file.extend(block);
            assert_eq!(chunk_flags(&Bytes(file), 0, (8, 8)).unwrap(), flags);
        }
    }

    #[test]
    fn a_header_without_an_end_is_an_error() {
        // It continues with itself.
        let block = first(16, &continuation(16, 24));
        let file = [
            &[1, 0, 1, 0, 1, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0],
            &block[..],
        ]
        .concat();
        assert!(chunk_flags(&Bytes(file.clone()), 0, (8, 8)).is_err());
        for length in 0..file.len() {
            assert!(chunk_flags(&Bytes(file[..length].to_vec()), 0, (8, 8)).is_err());
        }
    }
}

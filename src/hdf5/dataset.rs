//! A dataset of numbers: its shape, and where and how its values are stored.
//!
//! Values are read in blocks. A block of a chunked dataset is a chunk. A dataset that is stored as one piece has no chunks:
//! its blocks are whole rows of some planes, each one range of bytes. A small dataset may be in its own header: that is one
//! block.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::filter_pipeline::FilterDescription;
use hdf5_reader::messages::layout::DataLayout;
use serde_json::{Map, Value, json};

use super::attributes;
use super::chunk_index::{ChunkIndex, IndexSource};
use super::error::Hdf5Error;
use super::file::{Hdf5File, call};
use super::filters::ChunkFilters;
use super::stored_type::{StoredType, check_encoding};
use crate::data_type::{DataType, Scalar};
use crate::storage::{Extent, Store};

/// Size of the blocks of a dataset that is stored as one piece. A window of 64 rows reads a few of them, and a server needs
/// about as long for this many bytes as for one.
const BLOCK_BYTES: u64 = 256 << 10;

/// Largest number of dimensions.
const MAX_RANK: usize = 16;

/// Largest chunk. Damaged files have chunks of any size.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// Memory for the index of a dataset's chunks: 5.6 million chunks.
const MAX_INDEX_BYTES: u64 = 128 << 20;

/// Memory of a chunk in the index.
const INDEX_BYTES_PER_CHUNK: u64 = 24;

/// An open dataset.
#[derive(Debug)]
pub(crate) struct Hdf5Dataset {
    /// The file and the dataset, for messages.
    object: String,
    store: Arc<dyn Store>,
    key: String,
    shape: Vec<u64>,
    block: Vec<u64>,
    stored_type: StoredType,
    fill_value: Scalar,
    blocks: StoredBlocks,
    filters: ChunkFilters,
    attributes: Map<String, Value>,
}

/// Where the values are.
#[derive(Debug)]
enum StoredBlocks {
    /// In the header.
    Compact(Vec<u8>),
    /// In one range of the file; `None` if nothing was written.
    Contiguous(Option<Range<u64>>),
    /// In chunks.
    Chunked(ChunkIndex),
}

/// Where a stored block is.
pub(crate) enum StoredRange<'d> {
    /// In the file.
    File(Extent),
    /// In memory.
    Memory(&'d [u8]),
}

/// The messages of a dataset's header.
#[derive(Default)]
struct Header {
    layout: Option<DataLayout>,
    filters: Vec<FilterDescription>,
    fill: Option<Vec<u8>>,
    is_external: bool,
}

impl Header {
    fn of(messages: &[HdfMessage]) -> Self {
        let mut header = Self::default();
        for message in messages {
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
        header
    }
}

impl Hdf5Dataset {
    /// The dataset `found` at `path` of `file`.
    pub(super) fn new(
        file: &Hdf5File,
        path: &str,
        found: &hdf5_reader::Dataset,
    ) -> Result<Self, Hdf5Error> {
        let object = file.describe(path);
        let unsupported = |problem: String| Hdf5Error::Unsupported {
            object: object.clone(),
            problem,
        };
        let damaged = |problem: String| Hdf5Error::Damaged {
            object: object.clone(),
            problem,
        };
        let header = call(&object, || file.parsed.get_or_parse_header(found.address()))?;
        let header = Header::of(&header.messages);
        if header.is_external {
            return Err(unsupported(
                "its values are in external files, which are not supported: copy its values into a new dataset (`f[\"copy\"] = f[\"external\"][...]` in h5py)".to_owned(),
            ));
        }
        let stored_type = StoredType::of(found.dtype()).ok_or_else(|| {
            unsupported(format!(
                "found values of the type {}, expected one of {}",
                describe_type(found.dtype()),
                DataType::ALL.map(DataType::name).join(", ")
            ))
        })?;
        let encoding = call(&object, || found.raw_datatype())?;
        check_encoding(&encoding).map_err(unsupported)?;
        let shape = found.shape().to_vec();
        if shape.is_empty() || shape.len() > MAX_RANK {
            return Err(unsupported(format!(
                "found {} dimensions, expected 1 to {MAX_RANK}",
                shape.len()
            )));
        }
        let value_bytes = stored_type.data_type.size_bytes();
        let layout = header
            .layout
            .ok_or_else(|| damaged("found no layout of its values".to_owned()))?;
        let filters = ChunkFilters::new(header.filters, value_bytes).map_err(unsupported)?;
        let (block, blocks) = match &layout {
            DataLayout::Compact { data } => {
                let expected = bytes_of(&shape, value_bytes);
                if expected != Some(data.len() as u64) {
                    return Err(damaged(format!(
                        "found {} bytes in its header for the shape {shape:?}",
                        data.len()
                    )));
                }
                (shape.clone(), StoredBlocks::Compact(data.clone()))
            }
            DataLayout::Contiguous { address, .. } => {
                let range = contiguous_range(file, *address, &shape, value_bytes);
                let range = range.map_err(damaged)?;
                (
                    contiguous_block(&shape, value_bytes),
                    StoredBlocks::Contiguous(range),
                )
            }
            DataLayout::Chunked {
                address,
                chunk_indexing,
                ..
            } => {
                // Without the size of a value, which newer files list as one more dimension.
                let dims = &found.chunks().unwrap_or_default();
                let source = IndexSource {
                    file: &file.parsed,
                    address: *address,
                    kind: chunk_indexing.as_ref(),
                    shape: &shape,
                    max_shape: found.max_dims(),
                    chunk: dims,
                    value_bytes,
                };
                let block: Vec<u64> = dims.iter().map(|n| u64::from(*n)).collect();
                if bytes_of(&block, value_bytes).is_none_or(|n| n > MAX_CHUNK_BYTES) {
                    return Err(unsupported(format!(
                        "found chunks of {block:?} values, expected at most {MAX_CHUNK_BYTES} bytes"
                    )));
                }
                let index = read_index(file, &object, &source)?;
                (block, StoredBlocks::Chunked(index))
            }
        };
        if !filters.is_empty() && !matches!(blocks, StoredBlocks::Chunked(_)) {
            return Err(damaged("found filters on values without chunks".to_owned()));
        }
        let attributes = call(&object, || Ok(attributes::as_json(found.attributes())))?;
        Ok(Self {
            fill_value: fill_value(header.fill, stored_type).map_err(damaged)?,
            object,
            store: Arc::clone(&file.store),
            key: file.key.clone(),
            shape,
            block,
            stored_type,
            blocks,
            filters,
            attributes,
        })
    }

    /// The file and the dataset, for messages, in the form of a source.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The store of its file.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Length of each dimension, the slowest first.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Length of each dimension of a block.
    pub fn block_shape(&self) -> &[u64] {
        &self.block
    }

    /// The type of its values, which are decoded to little-endian.
    pub fn data_type(&self) -> DataType {
        self.stored_type.data_type
    }

    /// The value of missing blocks.
    pub fn fill_value(&self) -> Scalar {
        self.fill_value
    }

    /// Attributes that are numbers or text, or lists of them.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// Digest of everything about it except its values and their places in the file.
    pub fn digest(&self) -> blake3::Hash {
        let blocks = match &self.blocks {
            StoredBlocks::Compact(_) => "compact",
            StoredBlocks::Contiguous(_) => "contiguous",
            StoredBlocks::Chunked(_) => "chunked",
        };
        let parts = json!([
            self.shape,
            self.block,
            self.stored_type.data_type.name(),
            self.stored_type.is_big_endian,
            self.fill_value.bytes(8),
            blocks,
            self.filters.describe(),
            self.attributes,
        ]);
        blake3::hash(parts.to_string().as_bytes())
    }

    /// Where the block with these indices is; `None` if it is missing.
    ///
    /// # Errors
    /// The stored block is much larger than its values.
    pub fn find(&self, block: &[u64]) -> Result<Option<StoredRange<'_>>, String> {
        let bytes = match &self.blocks {
            StoredBlocks::Compact(data) => return Ok(Some(StoredRange::Memory(data))),
            StoredBlocks::Contiguous(None) => return Ok(None),
            StoredBlocks::Contiguous(Some(all)) => {
                let (start, length) = self.range_in_values(block);
                all.start + start..all.start + start + length
            }
            StoredBlocks::Chunked(index) => match index.find(block) {
                None => return Ok(None),
                Some((bytes, _)) => {
                    let (found, decoded) = (bytes.end - bytes.start, self.block_bytes(block));
                    let limit = 2 * decoded as u64 + (1 << 20);
                    if found > limit {
                        return Err(format!(
                            "found a stored chunk of {found} bytes for {decoded} bytes of values, expected at most {limit}"
                        ));
                    }
                    bytes
                }
            },
        };
        let key = self.key.clone();
        Ok(Some(StoredRange::File(Extent { key, bytes })))
    }

    /// Decodes the stored bytes of a block: an array with the shape of a block, in the byte order of the file. At the end of a
    /// dataset without chunks, its slowest dimensions are clipped. The error is a description for the user.
    pub fn decode<'b>(&self, block: &[u64], stored: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        let expected = self.block_bytes(block);
        let skipped = match &self.blocks {
            StoredBlocks::Chunked(index) => index.find(block).map_or(0, |(_, skipped)| skipped),
            _ => 0,
        };
        if self.filters.is_empty() {
            if stored.len() != expected {
                return Err(format!("found {} bytes, expected {expected}", stored.len()));
            }
            return Ok(Cow::Borrowed(stored));
        }
        let decoded = self.filters.decode(stored, skipped, expected)?;
        Ok(Cow::Owned(decoded))
    }

    /// Changes values from the byte order of the file to little-endian.
    pub fn swap_bytes(&self, values: &mut [u8]) {
        let value_bytes = self.stored_type.data_type.size_bytes();
        if self.stored_type.is_big_endian && value_bytes > 1 {
            for value in values.chunks_exact_mut(value_bytes) {
                value.reverse();
            }
        }
    }

    /// Reads all values: little-endian, in C order. They must have at most `limit_bytes` bytes.
    pub fn read_all(&self, limit_bytes: u64) -> Result<Vec<u8>, Hdf5Error> {
        let damaged = |problem| Hdf5Error::Damaged {
            object: self.object.clone(),
            problem,
        };
        let value_bytes = self.stored_type.data_type.size_bytes();
        let total = bytes_of(&self.shape, value_bytes).filter(|n| *n <= limit_bytes);
        let total = total.ok_or_else(|| {
            damaged(format!(
                "found the shape {:?}, expected at most {limit_bytes} bytes of values, which --memory limits",
                self.shape
            ))
        })?;
        let mut values = vec![0; total as usize];
        if total == 0 {
            return Ok(values);
        }
        let grid: Vec<u64> = self
            .shape
            .iter()
            .zip(&self.block)
            .map(|(n, b)| n.div_ceil(*b))
            .collect();
        let blocks: u64 = grid.iter().product();
        let mut stored = Vec::new();
        for number in 0..blocks {
            let index = index_of(number, &grid);
            let decoded = match self.find(&index).map_err(damaged)? {
                None => None,
                Some(StoredRange::Memory(bytes)) => Some(Cow::Borrowed(bytes)),
                Some(StoredRange::File(extent)) => {
                    if !self
                        .store
                        .read_range(&extent.key, extent.bytes, &mut stored)?
                    {
                        return Err(Hdf5Error::Missing {
                            object: self.store.describe(&self.key),
                        });
                    }
                    Some(self.decode(&index, &stored).map_err(damaged)?)
                }
            };
            self.place(&index, decoded.as_deref(), &mut values);
        }
        Ok(values)
    }

    /// Copies the values of a block, or its fill value, to their places among all `values`.
    fn place(&self, block: &[u64], decoded: Option<&[u8]>, values: &mut [u8]) {
        let value_bytes = self.stored_type.data_type.size_bytes();
        let rank = self.shape.len();
        let start: Vec<u64> = block.iter().zip(&self.block).map(|(i, b)| i * b).collect();
        let extent: Vec<u64> = (0..rank)
            .map(|d| self.block[d].min(self.shape[d] - start[d]))
            .collect();
        let row = extent[rank - 1] as usize * value_bytes;
        let rows: u64 = extent[..rank - 1].iter().product();
        for number in 0..rows {
            let mut within = index_of(number, &extent[..rank - 1]);
            within.push(0);
            let linear = |shape: &[u64], offset: &dyn Fn(usize) -> u64| {
                (0..rank).fold(0, |at, d| at * shape[d] + offset(d)) as usize * value_bytes
            };
            let to = linear(&self.shape, &|d| start[d] + within[d]);
            let from = linear(&self.block, &|d| within[d]);
            let Some(to) = values.get_mut(to..to + row) else {
                continue;
            };
            match decoded.and_then(|decoded| decoded.get(from..from + row)) {
                Some(from) => {
                    to.copy_from_slice(from);
                    self.swap_bytes(to);
                }
                None => self.fill_value.fill(value_bytes, to),
            }
        }
    }

    /// Bytes of a decoded block.
    fn block_bytes(&self, block: &[u64]) -> usize {
        match &self.blocks {
            StoredBlocks::Compact(data) => data.len(),
            StoredBlocks::Contiguous(_) => self.range_in_values(block).1 as usize,
            StoredBlocks::Chunked(_) => {
                let values: u64 = self.block.iter().product();
                values as usize * self.stored_type.data_type.size_bytes()
            }
        }
    }

    /// Start and length in bytes of a block of a dataset without chunks.
    fn range_in_values(&self, block: &[u64]) -> (u64, u64) {
        let (mut start, mut length) = (0, 1);
        for (d, n) in self.shape.iter().enumerate() {
            let first = block[d] * self.block[d];
            start = start * n + first;
            length *= self.block[d].min(n - first);
        }
        let value_bytes = self.stored_type.data_type.size_bytes() as u64;
        (start * value_bytes, length * value_bytes)
    }
}

/// The indices of item `number` of an array of this shape, the last dimension fastest.
fn index_of(mut number: u64, shape: &[u64]) -> Vec<u64> {
    let mut index = vec![0; shape.len()];
    for (i, n) in index.iter_mut().zip(shape).rev() {
        *i = number % n;
        number /= n;
    }
    index
}

fn describe_type(found: &hdf5_reader::Datatype) -> String {
    use hdf5_reader::Datatype;
    match found {
        Datatype::FixedPoint { size, .. } => format!("integer of {size} bytes"),
        Datatype::FloatingPoint { size, .. } => format!("float of {size} bytes"),
        Datatype::String { .. } | Datatype::VarLen { .. } => "text or lists".to_owned(),
        Datatype::Compound { .. } => "compound".to_owned(),
        Datatype::Array { .. } => "array".to_owned(),
        Datatype::Enum { .. } => "enumeration".to_owned(),
        Datatype::Opaque { .. } => "opaque".to_owned(),
        Datatype::Reference { .. } => "reference".to_owned(),
        Datatype::Bitfield { .. } => "bit field".to_owned(),
    }
}

fn bytes_of(shape: &[u64], value_bytes: usize) -> Option<u64> {
    let mut factors = shape.iter();
    factors.try_fold(value_bytes as u64, |n, d| n.checked_mul(*d))
}

/// The range of the file with all values; `None` if nothing was written.
fn contiguous_range(
    file: &Hdf5File,
    address: u64,
    shape: &[u64],
    value_bytes: usize,
) -> Result<Option<Range<u64>>, String> {
    let superblock = file.parsed.superblock();
    if is_undefined(address, superblock.offset_size) {
        return Ok(None);
    }
    let start = superblock.base_address.checked_add(address);
    let range = start.and_then(|start| {
        let end = start.checked_add(bytes_of(shape, value_bytes)?)?;
        Some(start..end)
    });
    let range = range.ok_or_else(|| {
        format!("found values at {address} for the shape {shape:?}, which is out of range")
    })?;
    Ok(Some(range))
}

/// Whether an address means that there is nothing: all its bits are set.
fn is_undefined(address: u64, offset_size: u8) -> bool {
    address == u64::MAX >> (64 - 8 * u32::from(offset_size.clamp(1, 8)))
}

/// The shape of the blocks of a dataset without chunks: whole rows, as many as fit into [`BLOCK_BYTES`].
fn contiguous_block(shape: &[u64], value_bytes: usize) -> Vec<u64> {
    let mut block = vec![1; shape.len()];
    let mut bytes = value_bytes as u64;
    for d in (0..shape.len()).rev() {
        block[d] = (BLOCK_BYTES / bytes).clamp(1, shape[d].max(1));
        bytes *= block[d];
        if block[d] < shape[d] {
            break;
        }
    }
    block
}

/// Reads the index of a dataset's chunks, within the memory limits.
fn read_index(
    file: &Hdf5File,
    object: &str,
    source: &IndexSource<'_>,
) -> Result<ChunkIndex, Hdf5Error> {
    let damaged = |problem| Hdf5Error::Damaged {
        object: object.to_owned(),
        problem,
    };
    if source.chunk.len() != source.shape.len() || source.chunk.contains(&0) {
        return Err(damaged(format!(
            "found chunks of the shape {:?} for the shape {:?}",
            source.chunk, source.shape
        )));
    }
    let offset_size = file.parsed.superblock().offset_size;
    if is_undefined(source.address, offset_size) || source.shape.contains(&0) {
        return Ok(ChunkIndex::default());
    }
    let in_grid = source.grid_chunks().ok_or_else(|| {
        damaged(format!(
            "found the shape {:?} in chunks of {:?}, which is more than 2^64 chunks",
            source.shape, source.chunk
        ))
    })?;
    // An index has at least an address of each stored chunk.
    let in_file = file.parsed.storage().len() / u64::from(offset_size.max(1));
    let chunks = in_grid.min(in_file);
    let too_many = |needed_bytes, limit| Hdf5Error::TooManyChunks {
        object: object.to_owned(),
        chunks,
        needed_bytes,
        limit,
    };
    if chunks > MAX_INDEX_BYTES / INDEX_BYTES_PER_CHUNK {
        let needed = chunks.saturating_mul(INDEX_BYTES_PER_CHUNK);
        return Err(too_many(
            needed,
            format!("the limit of {MAX_INDEX_BYTES} bytes"),
        ));
    }
    let needed = source.reading_bytes(chunks);
    let kept = file.budget.keep(needed);
    kept.map_err(|over| too_many(needed, over.to_string()))?;
    let index = call(object, || source.read());
    file.budget.give_back(needed);
    index
}

/// The value of missing blocks, from the bytes in the file.
fn fill_value(stored: Option<Vec<u8>>, stored_type: StoredType) -> Result<Scalar, String> {
    let Some(mut bytes) = stored else {
        return Ok(Scalar::ZERO);
    };
    let expected = stored_type.data_type.size_bytes();
    if bytes.len() != expected {
        return Err(format!(
            "found a fill value of {} bytes, expected {expected}",
            bytes.len()
        ));
    }
    if stored_type.is_big_endian {
        bytes.reverse();
    }
    Scalar::from_le_bytes(&bytes)
        .ok_or_else(|| "found a fill value of more than 8 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_of_a_dataset_without_chunks_are_whole_rows() {
        assert_eq!(contiguous_block(&[125, 1250, 1250], 1), [1, 209, 1250]);
        assert_eq!(contiguous_block(&[125, 1250, 1250], 8), [1, 26, 1250]);
        assert_eq!(contiguous_block(&[3, 40, 50], 2), [3, 40, 50]);
        assert_eq!(contiguous_block(&[9, 2, 1 << 40], 4), [1, 1, 1 << 16]);
        assert_eq!(contiguous_block(&[0, 4, 5], 1), [1, 4, 5]);
    }

    proptest! {
        #[test]
        fn blocks_of_a_dataset_without_chunks_are_ranges_that_cover_it_once(
            shape in prop::collection::vec(1u64..30, 1..5), scale in 1u64..2000,
        ) {
            let mut shape = shape;
            if let Some(last) = shape.last_mut() {
                *last *= scale;
            }
            let block = contiguous_block(&shape, 8);
            let dataset = Hdf5Dataset {
                object: String::new(),
                store: Arc::new(crate::storage::LocalStore::new(Default::default())),
                key: String::new(),
                block: block.clone(),
                stored_type: StoredType { data_type: DataType::UInt64, is_big_endian: false },
                fill_value: Scalar::ZERO,
                blocks: StoredBlocks::Contiguous(Some(0..0)),
                filters: ChunkFilters::new(Vec::new(), 8).unwrap(),
                attributes: Map::new(),
                shape: shape.clone(),
            };
            let grid: Vec<u64> = shape.iter().zip(&block).map(|(n, b)| n.div_ceil(*b)).collect();
            let mut end = 0;
            for number in 0..grid.iter().product() {
                let (start, length) = dataset.range_in_values(&index_of(number, &grid));
                prop_assert!(start == end && length <= BLOCK_BYTES);
                end = start + length;
            }
            prop_assert_eq!(Some(end), bytes_of(&shape, 8));
        }
    }
}

//! An array of values of one size: where its blocks are, and how they are decoded.
//!
//! Values are read in blocks. A block of a chunked dataset is a chunk. A dataset that is stored as one piece has no chunks:
//! its blocks are ranges ([`contiguous`]). A small dataset may be in its own header: that is one block. Values are bytes in the
//! order of the file here.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use hdf5_reader::messages::layout::DataLayout;

use super::chunk_index::{ChunkIndex, IndexSource};
use super::contiguous::{self, bytes_of, index_of};
use super::error::Hdf5Error;
use super::file::{Hdf5File, call};
use super::filters::ChunkFilters;
use super::header::DatasetHeader;
use crate::storage::{Extent, Store};

/// Largest number of dimensions.
const MAX_RANK: usize = 16;

/// Largest chunk. Damaged files have chunks of any size.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// An array in a file.
#[derive(Debug)]
pub(super) struct StoredArray {
    /// The file and the dataset, for messages.
    pub object: String,
    store: Arc<dyn Store>,
    key: String,
    pub shape: Vec<u64>,
    /// The shape of a block.
    pub block: Vec<u64>,
    value_bytes: usize,
    /// The bytes of the value of missing blocks; `None` if all are 0.
    pub fill: Option<Vec<u8>>,
    blocks: StoredBlocks,
    filters: ChunkFilters,
    /// Whether chunks that extend past the array are stored without filters.
    has_unfiltered_edges: bool,
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

impl StoredArray {
    /// The values of `found` at `path` of `file`, of `value_bytes` bytes each.
    pub fn new(
        file: &Hdf5File,
        path: &str,
        found: &hdf5_reader::Dataset,
        value_bytes: usize,
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
        let header = call(&object, || {
            DatasetHeader::read(&file.parsed, found.address())
        })?;
        if header.is_external {
            return Err(unsupported(
                "its values are in external files, which are not supported: copy its values into a new dataset (`f[\"copy\"] = f[\"external\"][...]` in h5py)".to_owned(),
            ));
        }
        let shape = found.shape().to_vec();
        if shape.is_empty() || shape.len() > MAX_RANK {
            return Err(unsupported(format!(
                "found {} dimensions, expected 1 to {MAX_RANK}",
                shape.len()
            )));
        }
        if value_bytes == 0 {
            return Err(damaged("found values of 0 bytes".to_owned()));
        }
        if let Some(fill) = header.fill.as_ref().filter(|f| f.len() != value_bytes) {
            return Err(damaged(format!(
                "found a fill value of {} bytes, expected {value_bytes}",
                fill.len()
            )));
        }
        let layout = header
            .layout
            .ok_or_else(|| damaged("found no layout of its values".to_owned()))?;
        let filters = ChunkFilters::new(header.filters, value_bytes).map_err(unsupported)?;
        let (block, blocks) = match layout {
            DataLayout::Compact { data } => {
                if bytes_of(&shape, value_bytes) != Some(data.len() as u64) {
                    return Err(damaged(format!(
                        "found {} bytes in its header for the shape {shape:?}",
                        data.len()
                    )));
                }
                (shape.clone(), StoredBlocks::Compact(data))
            }
            DataLayout::Contiguous { address, .. } => {
                let range = contiguous::stored_range(&file.parsed, address, &shape, value_bytes);
                (
                    contiguous::block_shape(&shape, value_bytes),
                    StoredBlocks::Contiguous(range.map_err(damaged)?),
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
                    address,
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
                let index = ChunkIndex::read(&source, &object, &file.budget)?;
                (block, StoredBlocks::Chunked(index))
            }
        };
        if !filters.is_empty() && !matches!(blocks, StoredBlocks::Chunked(_)) {
            return Err(damaged("found filters on values without chunks".to_owned()));
        }
        Ok(Self {
            store: Arc::clone(&file.store),
            key: file.key.clone(),
            object,
            shape,
            block,
            value_bytes,
            fill: header.fill,
            blocks,
            filters,
            has_unfiltered_edges: header.has_unfiltered_edges,
        })
    }

    /// The store of its file.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// How values are stored and the filters, as text.
    pub fn describe_storage(&self) -> (&'static str, String) {
        let blocks = match &self.blocks {
            StoredBlocks::Compact(_) => "compact",
            StoredBlocks::Contiguous(_) => "contiguous",
            StoredBlocks::Chunked(_) => "chunked",
        };
        (blocks, self.filters.describe())
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
                let (start, length) = self.range_of_block(block);
                all.start + start..all.start + start + length
            }
            StoredBlocks::Chunked(index) => match index.find(block) {
                None => return Ok(None),
                Some((bytes, _)) => {
                    let (found, limit) = (bytes.end - bytes.start, self.stored_limit_bytes());
                    if found > limit {
                        return Err(format!(
                            "found a stored chunk of {found} bytes for {} bytes of values, expected at most {limit}",
                            self.block_bytes(block)
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
        let skipped = match &self.blocks {
            StoredBlocks::Chunked(_) if self.is_unfiltered_edge(block) => u32::MAX,
            StoredBlocks::Chunked(index) => index.find(block).map_or(0, |(_, skipped)| skipped),
            _ => 0,
        };
        self.filters
            .decode(stored, skipped, self.block_bytes(block))
    }

    /// Whether a chunk has no filters because it extends past the array.
    fn is_unfiltered_edge(&self, block: &[u64]) -> bool {
        let mut along = block.iter().zip(&self.block).zip(&self.shape);
        self.has_unfiltered_edges && along.any(|((i, n), length)| (i + 1) * n > *length)
    }

    /// Bytes of the largest decoded block.
    pub fn largest_block_bytes(&self) -> u64 {
        let values: u64 = self.block.iter().product();
        values * self.value_bytes as u64
    }

    /// Most bytes of a stored block.
    pub fn stored_limit_bytes(&self) -> u64 {
        self.filters.stored_limit_bytes(self.largest_block_bytes())
    }

    /// Most bytes that decoding a block takes beside the stored block: its decoded values too, unless they are stored as they
    /// are.
    pub fn decoding_bytes(&self) -> u64 {
        self.filters.decoding_bytes(self.largest_block_bytes())
    }

    /// Reads all values, in C order. With what reading them takes, they must have at most `limit_bytes` bytes.
    pub fn read_all(&self, limit_bytes: u64) -> Result<Vec<u8>, Hdf5Error> {
        let damaged = |problem| Hdf5Error::Damaged {
            object: self.object.clone(),
            problem,
        };
        let total = bytes_of(&self.shape, self.value_bytes).filter(|n| *n <= limit_bytes);
        let total = total.ok_or_else(|| {
            damaged(format!(
                "found the shape {:?}, expected at most {limit_bytes} bytes of values, which --memory limits",
                self.shape
            ))
        })?;
        if total == 0 {
            return Ok(Vec::new());
        }
        let of_block = self
            .stored_limit_bytes()
            .saturating_add(self.decoding_bytes());
        if !matches!(self.blocks, StoredBlocks::Compact(_)) && of_block > 4 * limit_bytes {
            return Err(damaged(format!(
                "found chunks of {:?} values, which need {of_block} bytes; expected at most {}, which --memory limits: write smaller chunks",
                self.block,
                4 * limit_bytes
            )));
        }
        let mut values = vec![0; total as usize];
        let along = self.shape.iter().zip(&self.block);
        let grid: Vec<u64> = along.map(|(n, b)| n.div_ceil(*b)).collect();
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
        let value_bytes = self.value_bytes;
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
            let from = decoded.and_then(|decoded| decoded.get(from..from + row));
            match (from, &self.fill) {
                (Some(from), _) => to.copy_from_slice(from),
                (None, Some(fill)) => {
                    for value in to.chunks_exact_mut(value_bytes) {
                        value.copy_from_slice(fill);
                    }
                }
                (None, None) => to.fill(0),
            }
        }
    }

    /// Bytes of a decoded block.
    fn block_bytes(&self, block: &[u64]) -> usize {
        match &self.blocks {
            StoredBlocks::Compact(data) => data.len(),
            StoredBlocks::Contiguous(_) => self.range_of_block(block).1 as usize,
            StoredBlocks::Chunked(_) => self.largest_block_bytes() as usize,
        }
    }

    /// Start and length in bytes of a block of a dataset without chunks.
    fn range_of_block(&self, block: &[u64]) -> (u64, u64) {
        contiguous::range_of_block(&self.shape, &self.block, block, self.value_bytes)
    }
}

//! Where the chunks of a dataset are: HDF5's six kinds of index, as one sorted list.

use std::ops::Range;

use hdf5_reader::btree_v1::{BTreeV1Key, collect_btree_v1_leaves_storage};
use hdf5_reader::chunk_index::{
    ChunkEntry, collect_implicit_chunk_entries, collect_v2_chunk_entries_storage,
    single_chunk_entry,
};
use hdf5_reader::error::{Error, Result};
use hdf5_reader::extensible_array::collect_extensible_array_chunk_entries_storage;
use hdf5_reader::fixed_array::collect_fixed_array_chunk_entries_storage;
use hdf5_reader::messages::layout::ChunkIndexing;

use super::contiguous::is_undefined;
use super::error::Hdf5Error;
use super::file::call;
use crate::storage::MemoryBudget;

/// Memory for the index of a dataset's chunks: 5.6 million chunks.
const MAX_INDEX_BYTES: u64 = 128 << 20;

/// Memory of a chunk in the index.
const INDEX_BYTES_PER_CHUNK: u64 = 24;

/// The maximum length of a dimension without a limit.
const UNLIMITED: u64 = u64::MAX;

/// The index in a file.
pub(super) struct IndexSource<'a> {
    pub file: &'a hdf5_reader::Hdf5File,
    pub address: u64,
    /// `None` for the first kind of B-tree.
    pub kind: Option<&'a ChunkIndexing>,
    pub shape: &'a [u64],
    /// The largest shape that the dataset may grow to; `None` if it is `shape`.
    pub max_shape: Option<&'a [u64]>,
    pub chunk: &'a [u32],
    pub value_bytes: usize,
}

/// The stored chunks of a dataset.
#[derive(Debug, Default)]
pub(super) struct ChunkIndex {
    /// Chunks along each dimension.
    grid: Vec<u64>,
    /// By ascending number.
    chunks: Vec<StoredChunk>,
}

/// A stored chunk.
#[derive(Clone, Copy, Debug)]
struct StoredChunk {
    /// Its number in the grid, the last dimension fastest.
    number: u64,
    offset: u64,
    bytes: u32,
    /// A bit for each filter that was not applied.
    skipped_filters: u32,
}

impl IndexSource<'_> {
    /// The number of chunks that the index may have; `None` if it does not fit into 64 bits.
    fn most_chunks(&self, numbered: &[u64]) -> Option<u64> {
        let mut along = numbered.iter().zip(self.chunk);
        along.try_fold(1u64, |all, (n, chunk)| {
            all.checked_mul(n.div_ceil(u64::from(*chunk)))
        })
    }

    /// The shape whose chunks the index numbers, the last dimension fastest. An implicit index and a fixed array number all
    /// chunks of the largest shape (HDF5 File Format Specification, "Appendix C: Types of Indexes for Dataset Chunks");
    /// all others store or compute the place of each chunk. The error is a description for the user.
    fn numbered_shape(&self) -> std::result::Result<&[u64], String> {
        let numbers_all = matches!(
            self.kind,
            Some(ChunkIndexing::Implicit | ChunkIndexing::FixedArray { .. })
        );
        match self.max_shape {
            Some(largest) if numbers_all => {
                let mut along = largest.iter().zip(self.shape);
                let is_valid = largest.len() == self.shape.len()
                    && along.all(|(most, n)| most >= n && *most != UNLIMITED);
                is_valid.then_some(largest).ok_or_else(|| {
                    format!(
                        "found the largest shape {largest:?} for the shape {:?} with an index of all chunks, expected no smaller and no unlimited dimension",
                        self.shape
                    )
                })
            }
            _ => Ok(self.shape),
        }
    }

    /// Memory while the index of `chunks` chunks is read.
    fn reading_bytes(&self, chunks: u64) -> u64 {
        let entry = size_of::<ChunkEntry>() + size_of::<BTreeV1Key>() + 8 * (self.shape.len() + 1);
        chunks.saturating_mul((2 * entry + size_of::<StoredChunk>()) as u64)
    }

    /// Reads the index of the chunks of the shape `numbered`. Chunks outside of the dataset, which HDF5 keeps when a dataset
    /// shrinks or reserves for its growth, are left out.
    fn read(&self, numbered: &[u64]) -> Result<ChunkIndex> {
        let chunk_bytes = self
            .chunk
            .iter()
            .try_fold(self.value_bytes as u64, |n, d| n.checked_mul(u64::from(*d)))
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| Error::InvalidData("a chunk has more than 4 GiB".to_owned()))?;
        let mut grid = Vec::new();
        for (n, chunk) in self.shape.iter().zip(self.chunk) {
            grid.push(n.div_ceil(u64::from(*chunk)));
        }
        let superblock = self.file.superblock();
        let undefined = u64::MAX >> (64 - 8 * u32::from(superblock.offset_size.clamp(1, 8)));
        let mut chunks = Vec::new();
        for entry in self.entries(numbered)? {
            if entry.address == u64::MAX || entry.address == undefined {
                continue;
            }
            let Some(number) = self.number(&entry, &grid)? else {
                continue;
            };
            let too_large = || Error::InvalidData("a chunk has more than 4 GiB".to_owned());
            let bytes = match entry.size {
                0 => chunk_bytes,
                bytes => u32::try_from(bytes).map_err(|_| too_large())?,
            };
            let offset = superblock.base_address.checked_add(entry.address);
            chunks.push(StoredChunk {
                number,
                offset: offset.ok_or(Error::OffsetOutOfBounds(entry.address))?,
                bytes,
                skipped_filters: entry.filter_mask,
            });
        }
        chunks.sort_unstable_by_key(|c| c.number);
        if chunks
            .windows(2)
            .any(|pair| pair[0].number == pair[1].number)
        {
            let problem = "two chunks in the index have the same place";
            return Err(Error::InvalidData(problem.to_owned()));
        }
        chunks.shrink_to_fit();
        Ok(ChunkIndex { grid, chunks })
    }

    /// The number of a chunk in the grid; `None` if it is outside of the dataset.
    fn number(&self, entry: &ChunkEntry, grid: &[u64]) -> Result<Option<u64>> {
        let mut number = 0u64;
        for (d, n) in grid.iter().enumerate() {
            let chunk = u64::from(self.chunk[d]);
            let offset = entry.offsets.get(d).copied().unwrap_or(u64::MAX);
            if !offset.is_multiple_of(chunk) {
                let problem = format!(
                    "a chunk begins at {:?}, expected a multiple of the chunk's shape {:?}",
                    entry.offsets, self.chunk
                );
                return Err(Error::InvalidData(problem));
            }
            if offset / chunk >= *n {
                return Ok(None);
            }
            // The caller has checked that the grid has at most 2^64 chunks.
            number = number.wrapping_mul(*n).wrapping_add(offset / chunk);
        }
        Ok(Some(number))
    }

    fn entries(&self, numbered: &[u64]) -> Result<Vec<ChunkEntry>> {
        let Self {
            address,
            shape,
            chunk,
            ..
        } = *self;
        let storage = self.file.storage();
        let superblock = self.file.superblock();
        let (offset_size, length_size) = (superblock.offset_size, superblock.length_size);
        let rank = shape.len();
        match self.kind {
            None => {
                let leaves = collect_btree_v1_leaves_storage(
                    storage,
                    address,
                    offset_size,
                    length_size,
                    Some(rank as u32),
                    chunk,
                    None,
                )?;
                leaves.into_iter().map(entry_of_leaf).collect()
            }
            Some(ChunkIndexing::SingleChunk {
                filtered_size,
                filters,
            }) => Ok(vec![single_chunk_entry(
                address,
                *filtered_size,
                *filters,
                rank,
            )]),
            Some(ChunkIndexing::Implicit) => collect_implicit_chunk_entries(
                address,
                numbered,
                chunk,
                self.value_bytes,
                None,
                storage.len(),
            ),
            Some(ChunkIndexing::FixedArray { .. }) => collect_fixed_array_chunk_entries_storage(
                storage,
                address,
                offset_size,
                length_size,
                numbered,
                chunk,
                None,
            ),
            Some(ChunkIndexing::ExtensibleArray { .. }) => {
                collect_extensible_array_chunk_entries_storage(
                    storage,
                    address,
                    offset_size,
                    length_size,
                    shape,
                    self.max_shape,
                    chunk,
                    None,
                )
            }
            Some(ChunkIndexing::BTreeV2) => collect_v2_chunk_entries_storage(
                storage,
                address,
                offset_size,
                length_size,
                rank as u32,
                chunk,
                None,
            ),
        }
    }
}

fn entry_of_leaf((key, address): (BTreeV1Key, u64)) -> Result<ChunkEntry> {
    match key {
        BTreeV1Key::RawData {
            chunk_size,
            filter_mask,
            offsets,
        } => Ok(ChunkEntry {
            address,
            size: chunk_size.into(),
            filter_mask,
            offsets,
        }),
        BTreeV1Key::Group { .. } => {
            let problem = "the index of chunks has a node of a group";
            Err(Error::InvalidData(problem.to_owned()))
        }
    }
}

impl ChunkIndex {
    /// Reads the index of the dataset `object`, within the memory limits.
    pub fn read(
        source: &IndexSource<'_>,
        object: &str,
        budget: &MemoryBudget,
    ) -> std::result::Result<Self, Hdf5Error> {
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
        let offset_size = source.file.superblock().offset_size;
        if is_undefined(source.address, offset_size) || source.shape.contains(&0) {
            return Ok(Self::default());
        }
        let numbered = source.numbered_shape().map_err(damaged)?;
        let most = source.most_chunks(numbered).ok_or_else(|| {
            damaged(format!(
                "found the shape {numbered:?} in chunks of {:?}, which is more than 2^64 chunks",
                source.chunk
            ))
        })?;
        // An index has at least an address of each stored chunk.
        let in_file = source.file.storage().len() / u64::from(offset_size.max(1));
        let chunks = most.min(in_file);
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
        let kept = budget.keep(needed);
        kept.map_err(|over| too_many(needed, over.to_string()))?;
        let index = call(object, || source.read(numbered));
        budget.give_back(needed);
        index
    }

    /// The bytes of the chunk with these indices, and a bit for each filter that was not applied. `None` if it is missing.
    pub fn find(&self, indices: &[u64]) -> Option<(Range<u64>, u32)> {
        let number = indices.iter().zip(&self.grid).fold(0u64, |number, (i, n)| {
            number.wrapping_mul(*n).wrapping_add(*i)
        });
        let at = self
            .chunks
            .binary_search_by_key(&number, |c| c.number)
            .ok()?;
        let chunk = self.chunks.get(at)?;
        let end = chunk.offset.saturating_add(chunk.bytes.into());
        Some((chunk.offset..end, chunk.skipped_filters))
    }
}

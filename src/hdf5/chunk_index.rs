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

/// The index in a file.
pub(super) struct IndexSource<'a> {
    pub file: &'a hdf5_reader::Hdf5File,
    pub address: u64,
    /// `None` for the first kind of B-tree.
    pub kind: Option<&'a ChunkIndexing>,
    pub shape: &'a [u64],
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
    /// The number of chunks in the grid; `None` if it does not fit into 64 bits.
    pub fn grid_chunks(&self) -> Option<u64> {
        let mut along = self.shape.iter().zip(self.chunk);
        along.try_fold(1u64, |all, (n, chunk)| {
            all.checked_mul(n.div_ceil(u64::from(*chunk)))
        })
    }

    /// Memory while the index of `chunks` chunks is read.
    pub fn reading_bytes(&self, chunks: u64) -> u64 {
        let entry = size_of::<ChunkEntry>() + size_of::<BTreeV1Key>() + 8 * (self.shape.len() + 1);
        chunks.saturating_mul((2 * entry + size_of::<StoredChunk>()) as u64)
    }

    /// Reads the index. Chunks outside of the dataset, which HDF5 keeps when a dataset shrinks, are left out.
    pub fn read(&self) -> Result<ChunkIndex> {
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
        for entry in self.entries()? {
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

    fn entries(&self) -> Result<Vec<ChunkEntry>> {
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
                shape,
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
                shape,
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

//! The stored cells of a level: each in its own file, or many in a shard. The levels of a layer may differ in this.

use std::fmt;
use std::sync::Arc;

use crate::neuroglancer::{MortonGrid, ShardError, ShardingSpec, Shards};
use crate::points::error::PointsError;
use crate::storage::{
    Compression, DocumentError, InflateError, Lease, MemoryBudget, ReadError, StorageError, Store,
    looks_like_gzip,
};

/// The stored cells of one level.
pub(super) trait CellStore: fmt::Debug + Send + Sync {
    /// Reads the list of annotations in `cell`, of at most `limit_bytes`, into `into`, replacing its contents. Returns
    /// whether the cell is stored.
    fn read(&self, cell: &[u64], limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, ListError>;

    /// Bytes of memory per byte of a cell that is read.
    fn memory_of_byte(&self) -> u64;

    /// The location of a cell, for messages.
    fn describe(&self, cell: &[u64]) -> String;

    /// A possible cause of a damaged cell, for messages; often empty.
    fn hint(&self) -> &'static str {
        ""
    }
}

/// The cells of a level with the `sharding` of its info.
pub(super) fn cell_store(
    store: Arc<dyn Store>,
    sharding: Option<(ShardingSpec, MortonGrid)>,
) -> Box<dyn CellStore> {
    match sharding {
        None => Box::new(CellFiles(store)),
        Some((spec, ids)) => Box::new(ShardedCells {
            shards: Shards::new(store, spec),
            ids,
        }),
    }
}

/// A file per cell, named by its coordinates.
#[derive(Debug)]
struct CellFiles(Arc<dyn Store>);

fn file_name(cell: &[u64]) -> String {
    let parts: Vec<String> = cell.iter().map(u64::to_string).collect();
    parts.join("_")
}

impl CellStore for CellFiles {
    fn read(&self, cell: &[u64], limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, ListError> {
        let stored = self.0.read(&file_name(cell), limit_bytes, into)?;
        // A list starts with its length, which a gzip stream does not match.
        let count = into.first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
        if looks_like_gzip(into) && count > into.len() as u64 {
            return Err(ListError::Other(PointsError::Cell {
                object: self.describe(cell),
                found: "a gzip stream".to_owned(),
                expected: "a list of annotations: the file is compressed, but the server does not send `Content-Encoding: gzip`"
                    .to_owned(),
            }));
        }
        Ok(stored)
    }

    fn memory_of_byte(&self) -> u64 {
        memory_of_file_byte(self.0.as_ref())
    }

    fn describe(&self, cell: &[u64]) -> String {
        self.0.describe(&file_name(cell))
    }
}

/// Cells in shards: the id of a cell is its compressed Morton code over the level's `grid_shape`.
#[derive(Debug)]
struct ShardedCells {
    shards: Shards,
    ids: MortonGrid,
}

impl CellStore for ShardedCells {
    fn read(&self, cell: &[u64], limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, ListError> {
        into.clear();
        let Some(id) = self.ids.code(cell) else {
            return Ok(false);
        };
        read_from_shard(&self.shards, id, limit_bytes, &|| self.describe(cell), into)
    }

    fn memory_of_byte(&self) -> u64 {
        memory_of_chunk_byte(&self.shards)
    }

    fn describe(&self, cell: &[u64]) -> String {
        let id = self.ids.code(cell).unwrap_or_default();
        format!("cell {} in {}", file_name(cell), self.shards.describe(id))
    }

    fn hint(&self) -> &'static str {
        self.shards.hint()
    }
}

/// Bytes of memory per byte of a file. A server may send it compressed, so that it is in memory twice.
pub(super) fn memory_of_file_byte(store: &dyn Store) -> u64 {
    if store.is_remote() { 2 } else { 1 }
}

/// Bytes of memory per byte of a chunk in a shard.
pub(super) fn memory_of_chunk_byte(shards: &Shards) -> u64 {
    match shards.data_encoding() {
        Compression::None => 1,
        _ => 2,
    }
}

/// Reads the list of annotations with this `id` into `into`, replacing its contents. Returns whether it is stored.
pub(super) fn read_from_shard(
    shards: &Shards,
    id: u64,
    limit_bytes: u64,
    describe: &dyn Fn() -> String,
    into: &mut Vec<u8>,
) -> Result<bool, ListError> {
    if !shards.read(id, limit_bytes, into)? {
        return Ok(false);
    }
    undo_encoding(shards, limit_bytes, describe, into)?;
    Ok(true)
}

/// Decodes the bytes of a chunk of `shards` in place.
pub(super) fn undo_encoding(
    shards: &Shards,
    limit_bytes: u64,
    describe: &dyn Fn() -> String,
    into: &mut Vec<u8>,
) -> Result<(), ListError> {
    let encoding = shards.data_encoding();
    if encoding != Compression::None {
        let mut stored = std::mem::take(into);
        match encoding.undo(&mut stored, limit_bytes as usize, into) {
            Ok(()) => {}
            Err(InflateError::TooLong(_)) => {
                return Err(ListError::TooLarge(limit_bytes.saturating_add(1)));
            }
            Err(InflateError::Damaged(found)) => {
                return Err(ListError::Other(PointsError::Cell {
                    object: describe(),
                    found,
                    expected: "data with the `data_encoding` in the info".to_owned()
                        + shards.hint(),
                }));
            }
        }
    }
    Ok(())
}

/// Why a list of annotations cannot be read.
#[derive(Debug)]
pub(super) enum ListError {
    /// It has at least this many bytes, which is more than the limit.
    TooLarge(u64),
    /// Another error.
    Other(PointsError),
}

impl From<StorageError> for ListError {
    fn from(error: StorageError) -> Self {
        match error.too_large() {
            Some(found) => Self::TooLarge(found),
            None => Self::Other(error.into()),
        }
    }
}

impl From<ShardError> for ListError {
    fn from(error: ShardError) -> Self {
        match error.too_large() {
            Some(found) => Self::TooLarge(found),
            None => Self::Other(error.into()),
        }
    }
}

/// Size limit of the buffer that a thread keeps for the next list.
const MAX_BUFFER_BYTES: usize = 4 << 20;

/// Frees a large buffer, before its lease ends.
pub(super) fn free_if_large(buffer: &mut Vec<u8>) {
    if buffer.capacity() > MAX_BUFFER_BYTES {
        *buffer = Vec::new();
    }
}

/// Reads a list of annotations within `budget`; `None` if none is stored.
pub(super) fn read_list(
    budget: &MemoryBudget,
    memory_of_byte: u64,
    mut read: impl FnMut(u64) -> Result<bool, ListError>,
    object: impl Fn() -> String,
) -> Result<Option<Lease>, PointsError> {
    let mut known = 0;
    let read = |limit_bytes| {
        let found = read(limit_bytes);
        if let Err(ListError::TooLarge(bytes)) = found {
            known = known.max(bytes);
        }
        found
    };
    let too_large = |e: &ListError| match e {
        ListError::TooLarge(found) => Some(*found),
        ListError::Other(_) => None,
    };
    match budget.read_growing(memory_of_byte, read, too_large) {
        Ok(lease) => Ok(lease),
        Err(ReadError::Other(ListError::Other(e))) => Err(e),
        Err(ReadError::Over(_) | ReadError::Other(ListError::TooLarge(_))) => {
            let over = budget.over();
            let twice = match memory_of_byte {
                1 => "",
                _ => " (twice, as stored and as read)",
            };
            Err(PointsError::Document(DocumentError::TooLarge {
                object: object(),
                expected: "a list of annotations",
                problem: format!(
                    "it has at least {known} bytes, which do not fit{twice} into {over}"
                ),
                advice: "allow more with --memory, or write the layer with smaller cells; the file may also be damaged",
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::LocalStore;

    #[test]
    fn a_cell_that_is_unexpectedly_compressed_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03 and so on";
        std::fs::write(dir.path().join("0_0_0"), packed).unwrap();
        let cells = cell_store(Arc::new(LocalStore::new(dir.path().to_owned())), None);
        let read = cells.read(&[0, 0, 0], 1 << 20, &mut Vec::new());
        let Err(ListError::Other(e)) = read else {
            panic!("{read:?}")
        };
        let e = e.to_string();
        assert!(e.contains("0_0_0") && e.contains("a gzip stream"), "{e}");
    }
}

//! Where the cells of a level are stored: each in a file of its own, or many in a shard. Levels of one
//! layer may differ in this.

use std::fmt;
use std::sync::Arc;

use crate::neuroglancer::{MortonGrid, ShardingSpec, Shards};
use crate::points::PointsError;
use crate::storage::{Compression, Store, looks_like_gzip};

/// Largest cell that is read, in bytes.
pub(super) const MAX_CELL_BYTES: u64 = 4 << 30;

/// The stored cells of one level.
pub(super) trait Cells: fmt::Debug + Send + Sync {
    /// Replaces the contents of `into` by the list of annotations in `cell`; `false` if none is stored.
    fn read(&self, cell: &[u64], into: &mut Vec<u8>) -> Result<bool, PointsError>;

    /// The place of a cell, for messages.
    fn describe(&self, cell: &[u64]) -> String;

    /// What may be behind a damaged cell, for messages; often nothing.
    fn hint(&self) -> &'static str {
        ""
    }
}

/// The cells of a level: `sharding` as its info says.
pub(super) fn cells(
    store: Arc<dyn Store>,
    sharding: Option<(ShardingSpec, MortonGrid)>,
) -> Box<dyn Cells> {
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

impl Cells for CellFiles {
    fn read(&self, cell: &[u64], into: &mut Vec<u8>) -> Result<bool, PointsError> {
        let stored = self.0.read(&file_name(cell), MAX_CELL_BYTES, into)?;
        // A list begins with its length, which no gzip stream fits by chance.
        let count = into.first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
        if looks_like_gzip(into) && count > into.len() as u64 {
            return Err(PointsError::Cell {
                object: self.describe(cell),
                found: "a gzip stream".to_owned(),
                expected: "a list of annotations: it is stored compressed, and its server leaves out `Content-Encoding: gzip`"
                    .to_owned(),
            });
        }
        Ok(stored)
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

impl Cells for ShardedCells {
    fn read(&self, cell: &[u64], into: &mut Vec<u8>) -> Result<bool, PointsError> {
        into.clear();
        let Some(id) = self.ids.code(cell) else {
            return Ok(false);
        };
        read_from_shard(&self.shards, id, &|| self.describe(cell), into)
    }

    fn describe(&self, cell: &[u64]) -> String {
        let id = self.ids.code(cell).unwrap_or_default();
        format!("cell {} in {}", file_name(cell), self.shards.describe(id))
    }

    fn hint(&self) -> &'static str {
        self.shards.hint()
    }
}

/// Replaces the contents of `into` by the list of annotations under `id`; `false` if none is stored.
pub(super) fn read_from_shard(
    shards: &Shards,
    id: u64,
    describe: &dyn Fn() -> String,
    into: &mut Vec<u8>,
) -> Result<bool, PointsError> {
    if !shards.read(id, MAX_CELL_BYTES, into)? {
        return Ok(false);
    }
    let encoding = shards.data_encoding();
    if encoding != Compression::None {
        let mut stored = std::mem::take(into);
        encoding
            .undo(&mut stored, MAX_CELL_BYTES as usize, into)
            .map_err(|found| PointsError::Cell {
                object: describe(),
                found,
                expected: "what its `data_encoding` says".to_owned() + shards.hint(),
            })?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::LocalStore;

    #[test]
    fn a_cell_that_is_packed_without_a_word_is_named_so() {
        let dir = tempfile::tempdir().unwrap();
        let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03 and so on";
        std::fs::write(dir.path().join("0_0_0"), packed).unwrap();
        let cells = cells(Arc::new(LocalStore::new(dir.path().to_owned())), None);
        let e = cells
            .read(&[0, 0, 0], &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert!(e.contains("0_0_0") && e.contains("a gzip stream"), "{e}");
    }
}

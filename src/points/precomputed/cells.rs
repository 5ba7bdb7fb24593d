//! Where the cells of a level are stored. Today each is a file of its own; sharded levels come in here.

use std::fmt;
use std::sync::Arc;

use crate::storage::{StorageError, Store};

/// Largest cell that is read, in bytes.
const MAX_CELL_BYTES: u64 = 4 << 30;

/// The stored cells of one level.
pub(super) trait Cells: fmt::Debug + Send + Sync {
    /// Replaces the contents of `into` by the list of annotations in `cell`; `false` if none is stored.
    fn read(&self, cell: &[u64], into: &mut Vec<u8>) -> Result<bool, StorageError>;

    /// The place of a cell, for messages.
    fn describe(&self, cell: &[u64]) -> String;
}

/// A file per cell, named by its coordinates.
#[derive(Debug)]
pub(super) struct CellFiles(pub(super) Arc<dyn Store>);

fn file_name(cell: &[u64]) -> String {
    let parts: Vec<String> = cell.iter().map(u64::to_string).collect();
    parts.join("_")
}

impl Cells for CellFiles {
    fn read(&self, cell: &[u64], into: &mut Vec<u8>) -> Result<bool, StorageError> {
        self.0.read(&file_name(cell), MAX_CELL_BYTES, into)
    }

    fn describe(&self, cell: &[u64]) -> String {
        self.0.describe(&file_name(cell))
    }
}

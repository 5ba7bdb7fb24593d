//! Tables of the roots of supervoxels.

use std::sync::Arc;

use rayon::prelude::*;

use super::cells::{RowCells, RowCollector};
use super::file::TableFile;
use super::id::NOT_ROUNDED;
use crate::config::RootsConfig;
use crate::points::error::PointsError;
use crate::storage::{DocumentError, Location, MemoryBudget, Storage};
use crate::volume::{RootMap, SupervoxelRoot};

const EXPECTED: &str = "a table of supervoxels and their roots (CSV, Parquet, Arrow or JSON)";

const ADVICE: &str =
    "allow more with --memory, or write a table of the supervoxels that occur in the boxes";

/// Rows for which memory is reserved at once, at least.
const STEP_ROWS: usize = 1 << 20;

/// The positions of the columns in the list that the file is opened with.
const SUPERVOXEL: usize = 0;
const ROOT: usize = 1;

/// The roots in the table `file`. A job reads a table once, and keeps it.
///
/// # Errors
/// The table cannot be read, does not fit into the memory of `storage`, or has two roots for a supervoxel.
pub(crate) fn read_roots(
    file: &Location,
    config: &RootsConfig,
    storage: &Storage,
) -> Result<Arc<RootMap>, PointsError> {
    let RootsConfig {
        supervoxel,
        root,
        delimiter,
        ..
    } = config;
    let key = format!("{} {supervoxel:?} {root:?} {delimiter:?}", file.identity());
    if let Some(roots) = storage.shared(&key) {
        return Ok(roots);
    }
    let names = [supervoxel.clone(), root.clone()];
    let table = TableFile::open(file, &names, *delimiter, EXPECTED, storage)?;
    let object = table.object().to_owned();
    let mut pairs = RootPairs::new(storage.budget());
    table.collect(None, &RootRows, &mut |rows: Vec<SupervoxelRoot>, _| {
        pairs.extend(&rows).map_err(|problem| {
            DocumentError::TooLarge {
                object: object.clone(),
                expected: EXPECTED,
                problem,
                advice: ADVICE,
            }
            .into()
        })
    })?;
    let pairs = pairs.finish().map_err(|problem| PointsError::Table {
        object: object.clone(),
        problem,
    })?;
    let roots = Arc::new(RootMap::new(pairs, object));
    storage.share(key, roots.clone());
    Ok(roots)
}

/// Warnings about supervoxels without a root in all chunks that the job read.
pub(crate) fn supervoxels_without_root(storage: &Storage) -> Vec<String> {
    let tables = storage.all_shared::<RootMap>();
    tables.iter().flat_map(|roots| roots.warnings()).collect()
}

/// Collects supervoxels and their roots.
struct RootRows;

impl RowCollector for RootRows {
    type Block = Vec<SupervoxelRoot>;

    fn add(&self, cells: &impl RowCells, block: &mut Self::Block) -> Result<(), PointsError> {
        let id = |column| {
            let id = cells.whole_number(column)?;
            if id.may_be_rounded {
                return Err(cells.wrong(column, NOT_ROUNDED));
            }
            Ok(id.value)
        };
        block.push([id(SUPERVOXEL)?, id(ROOT)?]);
        Ok(())
    }
}

/// Supervoxels and their roots, whose memory is counted.
struct RootPairs<'b> {
    budget: &'b MemoryBudget,
    pairs: Vec<SupervoxelRoot>,
    kept_bytes: u64,
}

impl<'b> RootPairs<'b> {
    fn new(budget: &'b MemoryBudget) -> Self {
        Self {
            budget,
            pairs: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Adds rows. The error describes the problem.
    fn extend(&mut self, rows: &[SupervoxelRoot]) -> Result<(), String> {
        let needed = self.pairs.len() + rows.len();
        if needed > self.pairs.capacity() {
            let generous = needed.max(STEP_ROWS + needed / 8 * 9);
            let reserved = [generous, needed].into_iter().find(|capacity| {
                let bytes = bytes_of(*capacity) - self.kept_bytes;
                let is_kept = self.budget.keep(bytes).is_ok();
                self.kept_bytes += if is_kept { bytes } else { 0 };
                is_kept
            });
            let capacity = reserved.ok_or_else(|| {
                format!(
                    "its first {needed} rows take {} bytes, more than {}",
                    bytes_of(needed),
                    self.budget.over()
                )
            })?;
            self.pairs.reserve_exact(capacity - self.pairs.len());
        }
        self.pairs.extend_from_slice(rows);
        Ok(())
    }

    /// The pairs, sorted, each once. The error describes a supervoxel with two roots.
    fn finish(mut self) -> Result<Vec<SupervoxelRoot>, String> {
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.par_sort_unstable();
        pairs.dedup();
        let conflict = pairs.windows(2).find(|two| two[0][0] == two[1][0]);
        if let Some([[supervoxel, first], [_, second]]) = conflict {
            return Err(format!(
                "the supervoxel {supervoxel} has the roots {first} and {second}, expected one: write the roots that the supervoxels have at the same time"
            ));
        }
        pairs.shrink_to_fit();
        // What the roots take is kept until the end of the job.
        self.kept_bytes -= bytes_of(pairs.capacity()).min(self.kept_bytes);
        Ok(pairs)
    }
}

fn bytes_of(rows: usize) -> u64 {
    (rows * size_of::<SupervoxelRoot>()) as u64
}

impl Drop for RootPairs<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.kept_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, memory_bytes: u64) -> Result<Arc<RootMap>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.csv");
        std::fs::write(&file, text).unwrap();
        let storage = Storage::default().for_job(memory_bytes);
        let config = serde_json::from_value(serde_json::json!({"file": ""})).unwrap();
        let roots = read_roots(&Location::Local(file), &config, &storage);
        roots.map_err(|e| e.to_string())
    }

    #[test]
    fn a_supervoxel_with_two_roots_is_an_error_and_a_repeated_row_is_none() {
        let text = "root_id,supervoxel_id\n7,18446744073709551615\n8,5\n7,18446744073709551615\n";
        assert!(read(text, 1 << 30).is_ok());
        let e = read(&format!("{text}9,18446744073709551615\n"), 1 << 30).unwrap_err();
        assert!(
            e.contains("roots.csv") && e.contains("18446744073709551615 has the roots 7 and 9"),
            "{e}"
        );
    }

    #[test]
    fn ids_that_may_be_rounded_are_an_error() {
        let e = read(
            "supervoxel_id,root_id\n5,7\n6,9007199254740992.0\n",
            1 << 30,
        )
        .unwrap_err();
        assert!(
            e.contains("roots.csv: line 3: `root_id` is \"9007199254740992.0\"; expected"),
            "{e}"
        );
    }

    #[test]
    fn a_table_that_does_not_fit_into_memory_is_an_error() {
        let rows: String = (1..1_200_000).map(|i| format!("{i},{}\n", i % 7)).collect();
        let text = format!("supervoxel_id,root_id\n{rows}");
        assert!(read(&text, 128 << 20).is_ok());
        let e = read(&text, 64 << 20).unwrap_err();
        assert!(
            e.contains("roots.csv") && e.contains("--memory 64.0 MiB"),
            "{e}"
        );
    }

    #[test]
    fn equal_contents_have_equal_digests() {
        let digest = |text: &str| read(text, 1 << 30).unwrap().digest();
        let first = digest("supervoxel_id,root_id\n5,7\n6,8\n");
        assert_eq!(
            first,
            digest("supervoxel_id,root_id,x\n6,8,1\n5,7,2\n5,7,3\n")
        );
        assert_ne!(first, digest("supervoxel_id,root_id\n5,7\n6,9\n"));
    }
}

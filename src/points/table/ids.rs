//! Checks in bounded memory that no id of a table has two geometries, and counts the ids.
//!
//! The id and a digest of the geometry of every row are kept while the memory budget allows. For larger tables only the
//! ids in boxes are checked, in a second pass.

use crate::geometry::PointNm;
use crate::storage::MemoryBudget;

/// A row's id, and a digest of its geometry.
type RowKey = (u64, u64);

/// The digest of rows without a finite position.
pub(super) const NOT_FINITE: u64 = 0;

/// Rows for which memory is first reserved.
const STEP_ROWS: usize = 1 << 16;

/// The ids of a table.
#[derive(Debug)]
pub(super) struct TableIds<'b> {
    budget: &'b MemoryBudget,
    row_keys: Vec<RowKey>,
    /// Rows for which memory is reserved.
    capacity: usize,
    most_rows: usize,
    kept_bytes: u64,
    is_full: bool,
    rows: u64,
    not_finite_rows: u64,
}

/// The counts for a whole table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct IdCounts {
    /// Different ids with a finite position. For a table with too many rows: rows with a finite position.
    pub(super) distinct: u64,
    /// Rows after the first of an id.
    pub(super) repeated: u64,
    /// Ids, or rows, without a finite position.
    pub(super) not_finite: u64,
}

impl<'b> TableIds<'b> {
    pub(super) fn new(budget: &'b MemoryBudget) -> Self {
        let most_bytes = budget.keep_limit_bytes() / 4;
        Self::with_most_rows(budget, most_bytes as usize / size_of::<RowKey>())
    }

    fn with_most_rows(budget: &'b MemoryBudget, most_rows: usize) -> Self {
        Self {
            budget,
            row_keys: Vec::new(),
            capacity: 0,
            most_rows,
            kept_bytes: 0,
            is_full: false,
            rows: 0,
            not_finite_rows: 0,
        }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, id: u64, digest: u64) {
        self.rows += 1;
        self.not_finite_rows += u64::from(digest == NOT_FINITE);
        if self.is_full {
            return;
        }
        if self.row_keys.len() == self.capacity {
            self.grow();
        }
        if !self.is_full {
            self.row_keys.push((id, digest));
        }
    }

    fn grow(&mut self) {
        let capacity = (self.capacity * 2).max(STEP_ROWS).min(self.most_rows);
        let bytes = (capacity.saturating_sub(self.capacity) * size_of::<RowKey>()) as u64;
        if bytes > 0 && self.budget.keep(bytes).is_ok() {
            self.kept_bytes += bytes;
            self.row_keys.reserve_exact(capacity - self.row_keys.len());
            self.capacity = capacity;
            return;
        }
        // Repeated rows need no memory.
        self.row_keys.sort_unstable();
        self.row_keys.dedup();
        if self.row_keys.len() > self.capacity / 2 {
            self.is_full = true;
            self.row_keys = Vec::new();
        }
    }

    /// Whether there were too many rows to keep all ids.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Returns the counts. The error is the lowest id with two geometries.
    pub(super) fn finish(mut self) -> Result<IdCounts, u64> {
        self.row_keys.sort_unstable();
        self.row_keys.dedup();
        let conflict = self.row_keys.windows(2).find(|pair| pair[0].0 == pair[1].0);
        if let Some(pair) = conflict {
            return Err(pair[0].0);
        }
        let finite_rows = self.rows - self.not_finite_rows;
        if self.is_full {
            return Ok(IdCounts {
                distinct: finite_rows,
                repeated: 0,
                not_finite: self.not_finite_rows,
            });
        }
        let is_finite = |key: &&RowKey| key.1 != NOT_FINITE;
        let distinct = self.row_keys.iter().filter(is_finite).count() as u64;
        Ok(IdCounts {
            distinct,
            repeated: finite_rows - distinct,
            not_finite: self.row_keys.len() as u64 - distinct,
        })
    }
}

impl Drop for TableIds<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.kept_bytes);
    }
}

/// A digest of a geometry, never [`NOT_FINITE`]. -0.0 and 0.0 are equal.
pub(super) fn digest(points: impl IntoIterator<Item = PointNm>) -> u64 {
    let numbers = points.into_iter().flat_map(|p| p.0);
    let mixed = numbers.fold(0x9e37_79b9_7f4a_7c15, |digest: u64, number| {
        let mixed = (digest ^ (number + 0.0).to_bits()).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed ^ (mixed >> 32)).wrapping_mul(0xc4ce_b9fe_1a85_ec53) ^ (mixed >> 29)
    });
    mixed.max(NOT_FINITE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_all(
        rows: impl IntoIterator<Item = RowKey>,
        most_rows: usize,
    ) -> (bool, Result<IdCounts, u64>) {
        let budget = MemoryBudget::new(0);
        let mut ids = TableIds::with_most_rows(&budget, most_rows);
        for (id, digest) in rows {
            ids.add(id, digest);
        }
        let found = (ids.is_full(), ids.finish());
        budget.keep(budget.keep_limit_bytes()).unwrap();
        found
    }

    #[test]
    fn the_lowest_id_with_two_geometries_is_found() {
        let rows = [(9, 1), (7, 1), (7, 1), (9, 2), (8, 1), (8, NOT_FINITE)];
        assert_eq!(add_all(rows, 100), (false, Err(8)));
        let (_, counts) = add_all([(7, 1), (7, 1), (8, 0), (8, 0), (9, 3)], 100);
        let expected = IdCounts {
            distinct: 2,
            repeated: 1,
            not_finite: 1,
        };
        assert_eq!(counts, Ok(expected));
    }

    #[test]
    fn repeated_rows_take_no_memory_and_too_many_ids_are_not_kept() {
        let repeated = (0..1_000_000).map(|i| (i % 10, 1));
        let (full, counts) = add_all(repeated, 1000);
        assert_eq!((full, counts.unwrap().repeated), (false, 999_990));
        let (full, counts) = add_all((0..200_000).map(|i| (i, 1)), 1000);
        assert!(full);
        assert_eq!(counts.unwrap().distinct, 200_000);
        // Ids that exceed the budget are not kept either.
        assert!(add_all((0..5_000_000).map(|i| (i, 1)), usize::MAX).0);
    }

    #[test]
    fn equal_geometries_have_equal_digests() {
        let of = |x: f64| digest([PointNm([x, 1.0, 2.0])]);
        assert_eq!(of(0.0), of(-0.0));
        assert_ne!(of(1.0), of(2.0));
        assert_ne!(digest([]), NOT_FINITE);
    }
}

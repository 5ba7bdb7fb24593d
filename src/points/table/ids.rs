//! Finds in bounded memory the ids of a table that have two geometries, and counts the ids.
//!
//! The id and a digest of the geometry of every row are kept while the memory budget allows. For larger tables only the ids are kept, in a
//! set that takes a bit for each id of a dense range; the rows of repeated ids are compared in a second pass. If this takes too much memory
//! as well, or many ids are repeated, only ids in boxes are compared, in a second pass, too.

use rayon::prelude::*;

use super::id_set::{IdSet, NoMemory};
use crate::geometry::PointNm;
use crate::storage::MemoryBudget;

/// A row's id, and a digest of its geometry.
pub(super) type RowKey = (u64, u64);

/// The digest of rows without a finite position.
pub(super) const NOT_FINITE: u64 = 0;

/// Rows for which memory is first reserved.
const STEP_ROWS: usize = 1 << 16;

/// Most repeated ids that are kept for the second pass.
const MOST_REPEATED: usize = 1 << 17;

/// The ids of a table.
#[derive(Debug)]
pub(super) struct TableIds<'b> {
    budget: &'b MemoryBudget,
    kept: Kept<'b>,
    most_bytes: u64,
    kept_bytes: u64,
    rows: u64,
    not_finite_rows: u64,
}

/// What is kept of the rows.
#[derive(Debug)]
enum Kept<'b> {
    Keys {
        keys: Vec<RowKey>,
        /// Rows for which memory is reserved.
        capacity: usize,
    },
    Ids {
        ids: IdSet<'b>,
        /// Ids of several rows; one may occur several times.
        repeated: Vec<u64>,
        /// Ids whose first row has no finite position.
        not_finite: u64,
    },
    Nothing,
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

/// Whether an id has two geometries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdCheck {
    /// None has.
    Right,
    /// The lowest one.
    Conflict(u64),
    /// Only these ids, which are sorted, may have.
    Repeated(Vec<u64>),
    /// Each id may have.
    Unknown,
}

impl<'b> TableIds<'b> {
    pub(super) fn new(budget: &'b MemoryBudget) -> Self {
        Self::with_most_bytes(budget, budget.keep_limit_bytes() / 4)
    }

    fn with_most_bytes(budget: &'b MemoryBudget, most_bytes: u64) -> Self {
        Self {
            budget,
            kept: Kept::Keys {
                keys: Vec::new(),
                capacity: 0,
            },
            most_bytes,
            kept_bytes: 0,
            rows: 0,
            not_finite_rows: 0,
        }
    }

    /// Counts rows whose ids are their numbers.
    pub(super) fn add_numbered(&mut self, rows: u64, not_finite: u64) {
        self.rows += rows;
        self.not_finite_rows += not_finite;
    }

    /// Adds rows.
    pub(super) fn add(&mut self, rows: &[RowKey]) {
        self.rows += rows.len() as u64;
        let not_finite = rows.iter().filter(|(_, digest)| *digest == NOT_FINITE);
        self.not_finite_rows += not_finite.count() as u64;
        let mut rest = rows;
        while !rest.is_empty() {
            match &mut self.kept {
                Kept::Nothing => return,
                Kept::Ids { .. } => return self.add_ids(rest),
                Kept::Keys { keys, capacity } if keys.len() < *capacity => {
                    let (now, later) = rest.split_at(rest.len().min(*capacity - keys.len()));
                    keys.extend_from_slice(now);
                    rest = later;
                }
                Kept::Keys { .. } => self.grow(),
            }
        }
    }

    fn add_ids(&mut self, rows: &[RowKey]) {
        let Kept::Ids {
            ids,
            repeated,
            not_finite,
        } = &mut self.kept
        else {
            return;
        };
        let before = repeated.len();
        let added = ids.extend(rows.iter().map(|(id, _)| *id), |id| repeated.push(id));
        let mut known = repeated[before..].iter().peekable();
        for (id, digest) in rows {
            let is_repeated = known.next_if(|known| *known == id).is_some();
            *not_finite += u64::from(*digest == NOT_FINITE && !is_repeated);
        }
        if repeated.len() > MOST_REPEATED {
            sort_and_dedup(repeated);
        }
        if added == Err(NoMemory) || repeated.len() > MOST_REPEATED / 2 {
            self.kept = Kept::Nothing;
        }
    }

    fn grow(&mut self) {
        let Kept::Keys { keys, capacity } = &mut self.kept else {
            return;
        };
        let most_rows = self.most_bytes as usize / size_of::<RowKey>();
        let wanted = (*capacity * 2).max(STEP_ROWS).min(most_rows);
        let bytes = (wanted.saturating_sub(*capacity) * size_of::<RowKey>()) as u64;
        if bytes > 0 && self.budget.keep(bytes).is_ok() {
            self.kept_bytes += bytes;
            keys.reserve_exact(wanted - keys.len());
            *capacity = wanted;
            return;
        }
        // Repeated rows need no memory.
        sort_and_dedup(keys);
        if keys.len() <= *capacity / 2 && !keys.is_empty() {
            return;
        }
        let keys = std::mem::take(keys);
        self.kept = Kept::Ids {
            ids: IdSet::new(self.budget, self.most_bytes),
            repeated: Vec::new(),
            not_finite: 0,
        };
        self.add_ids(&keys);
        drop(keys);
        self.budget.give_back(std::mem::take(&mut self.kept_bytes));
    }

    /// Returns whether an id has two geometries, and the counts, which have no meaning if one has.
    pub(super) fn finish(mut self) -> (IdCheck, IdCounts) {
        let finite_rows = self.rows - self.not_finite_rows;
        let counts = |distinct, not_finite| IdCounts {
            distinct,
            repeated: finite_rows.saturating_sub(distinct),
            not_finite,
        };
        match &mut self.kept {
            Kept::Keys { keys, .. } => {
                sort_and_dedup(keys);
                let conflict = keys.windows(2).find(|pair| pair[0].0 == pair[1].0);
                if let Some(pair) = conflict {
                    return (IdCheck::Conflict(pair[0].0), IdCounts::default());
                }
                let is_finite = |key: &&RowKey| key.1 != NOT_FINITE;
                let distinct = keys.iter().filter(is_finite).count() as u64;
                let counts = counts(distinct, keys.len() as u64 - distinct);
                (IdCheck::Right, counts)
            }
            Kept::Ids {
                ids,
                repeated,
                not_finite,
            } => {
                sort_and_dedup(repeated);
                let repeated = std::mem::take(repeated);
                let counts = counts(ids.len() - *not_finite, *not_finite);
                if repeated.is_empty() {
                    (IdCheck::Right, counts)
                } else {
                    (IdCheck::Repeated(repeated), counts)
                }
            }
            Kept::Nothing => (IdCheck::Unknown, counts(finite_rows, self.not_finite_rows)),
        }
    }

    /// The counts of rows whose ids are their numbers.
    pub(super) fn finish_numbered(self) -> IdCounts {
        IdCounts {
            distinct: self.rows - self.not_finite_rows,
            repeated: 0,
            not_finite: self.not_finite_rows,
        }
    }
}

fn sort_and_dedup<T: Ord + Send>(list: &mut Vec<T>) {
    list.par_sort_unstable();
    list.dedup();
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

    fn add_all(rows: impl IntoIterator<Item = RowKey>, most_bytes: u64) -> (IdCheck, IdCounts) {
        let budget = MemoryBudget::new(0);
        let mut ids = TableIds::with_most_bytes(&budget, most_bytes);
        let rows: Vec<RowKey> = rows.into_iter().collect();
        for rows in rows.chunks(777) {
            ids.add(rows);
        }
        let found = ids.finish();
        budget.keep(budget.keep_limit_bytes()).unwrap();
        found
    }

    fn counts(distinct: u64, repeated: u64, not_finite: u64) -> IdCounts {
        IdCounts {
            distinct,
            repeated,
            not_finite,
        }
    }

    #[test]
    fn the_lowest_id_with_two_geometries_is_found() {
        let rows = [(9, 1), (7, 1), (7, 1), (9, 2), (8, 1), (8, NOT_FINITE)];
        assert_eq!(add_all(rows, 1600).0, IdCheck::Conflict(8));
        let found = add_all([(7, 1), (7, 1), (8, 0), (8, 0), (9, 3)], 1600);
        assert_eq!(found, (IdCheck::Right, counts(2, 1, 1)));
    }

    #[test]
    fn repeated_rows_take_no_memory() {
        let repeated = (0..1_000_000).map(|i| (i % 10, 1));
        let found = add_all(repeated, 16_000);
        assert_eq!(found, (IdCheck::Right, counts(10, 999_990, 0)));
    }

    #[test]
    fn of_many_rows_the_ids_are_kept_and_the_repeated_ones_are_found() {
        let many = |i: u64| (i, 1 + i);
        let found = add_all((0..200_000).map(many), 64_000);
        assert_eq!(found, (IdCheck::Right, counts(200_000, 0, 0)));
        // One before, one while and one after the ids are moved to the set.
        let more = [
            (3, 4),
            (3999, 7),
            (190_000, 1),
            (9, NOT_FINITE),
            (300_000, 0),
            (300_000, 0),
        ];
        let rows = (0..200_000).map(many).chain(more).chain([(2, 9), (2, 9)]);
        let (check, found) = add_all(rows, 64_000);
        assert_eq!(
            check,
            IdCheck::Repeated(vec![2, 3, 9, 3999, 190_000, 300_000])
        );
        assert_eq!(found.not_finite, 1);
        let twice = (0..200_000).chain(0..20_000).map(many);
        let (check, found) = add_all(twice, 64_000);
        assert_eq!(check, IdCheck::Repeated((0..20_000).collect()));
        assert_eq!(found, counts(200_000, 20_000, 0));
    }

    #[test]
    fn too_many_ids_are_not_kept() {
        let scattered = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1);
        let found = add_all((0..200_000).map(scattered), 64_000);
        assert_eq!(found, (IdCheck::Unknown, counts(200_000, 0, 0)));
        // Ids that exceed the budget are not kept either.
        let found = add_all((0..5_000_000).map(scattered), u64::MAX);
        assert_eq!(found.0, IdCheck::Unknown);
        let twice = (0..400_000).map(|i| (i % 200_000, 1));
        assert_eq!(add_all(twice, 64_000).0, IdCheck::Unknown);
        // So many repeated ids are compared, and not one more.
        let most = MOST_REPEATED as u64 / 2;
        let again = |repeated| add_all((0..200_000).chain(0..repeated).map(|i| (i, 1)), 64_000).0;
        assert_eq!(again(most), IdCheck::Repeated((0..most).collect()));
        assert_eq!(again(most + 1), IdCheck::Unknown);
    }

    #[test]
    fn equal_geometries_have_equal_digests() {
        let of = |x: f64| digest([PointNm([x, 1.0, 2.0])]);
        assert_eq!(of(0.0), of(-0.0));
        assert_ne!(of(1.0), of(2.0));
        assert_ne!(digest([]), NOT_FINITE);
    }
}

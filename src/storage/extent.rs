//! Reads neighboring byte ranges of one object with one request.

use std::ops::Range;

use super::{StorageError, Store};

/// Widest gap between two ranges for which one request is cheaper than two: a connection transfers this many bytes in
/// about a millisecond, and a request takes tens of milliseconds.
const GAP_BYTES: u64 = 64 << 10;

/// Largest request, so that the work is split into many requests.
const RUN_BYTES: u64 = 4 << 20;

/// A byte range of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The key of the object.
    pub(crate) key: String,
    /// The range of bytes.
    pub(crate) bytes: Range<u64>,
}

/// Splits `items` into runs. The extents of a run are close enough to be read with one request. An item without an
/// extent is a separate run. Runs are sorted by extent.
pub(crate) fn runs<T>(items: Vec<(T, Option<Extent>)>) -> Vec<Vec<T>> {
    let (mut placed, mut runs) = (Vec::new(), Vec::new());
    for (item, extent) in items {
        match extent {
            Some(extent) => placed.push((item, extent)),
            None => runs.push(vec![item]),
        }
    }
    placed.sort_by(|(_, a), (_, b)| (&a.key, a.bytes.start).cmp(&(&b.key, b.bytes.start)));
    let mut run: Option<(Vec<T>, Extent)> = None;
    for (item, next) in placed {
        match &mut run {
            Some((items, run)) if joins(run, &next) => {
                items.push(item);
                run.bytes.end = run.bytes.end.max(next.bytes.end);
            }
            _ => runs.extend(run.replace((vec![item], next)).map(|(items, _)| items)),
        }
    }
    runs.extend(run.map(|(items, _)| items));
    runs
}

/// Whether `next`, which does not begin before `run`, should be read in the same request.
fn joins(run: &Extent, next: &Extent) -> bool {
    let end = run.bytes.end.max(next.bytes.end);
    run.key == next.key
        && next.bytes.start.saturating_sub(run.bytes.end) <= GAP_BYTES
        && end - run.bytes.start <= RUN_BYTES
}

/// Reads all `extents`, which are in one object, with one request, each into the buffer of the same index. Returns `false`
/// if the object is missing.
pub(crate) fn read_run(
    store: &dyn Store,
    extents: &[Extent],
    into: &mut [&mut Vec<u8>],
) -> Result<bool, StorageError> {
    let Some(first) = extents.first() else {
        return Ok(true);
    };
    let start = extents.iter().map(|e| e.bytes.start).min().unwrap_or(0);
    let end = extents.iter().map(|e| e.bytes.end).max().unwrap_or(0);
    let mut bytes = Vec::new();
    if !store.read_range(&first.key, start..end, &mut bytes)? {
        return Ok(false);
    }
    for (extent, into) in extents.iter().zip(into) {
        let Range {
            start: from,
            end: to,
        } = extent.bytes;
        into.clear();
        into.extend_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::LocalStore;

    fn extent(key: &str, start: u64, length: u64) -> Extent {
        Extent {
            key: key.into(),
            bytes: start..start + length,
        }
    }

    fn runs_of(extents: &[Option<Extent>]) -> Vec<Vec<usize>> {
        runs(extents.iter().cloned().enumerate().collect())
    }

    #[test]
    fn only_extents_that_are_close_together_share_a_run() {
        let mb = 1 << 20;
        let side_by_side = [extent("a", 100, 50), extent("a", 0, 100)];
        assert_eq!(runs_of(&side_by_side.map(Some)), [[1, 0]]);
        let over_a_gap = [extent("a", 0, 9), extent("a", 9 + GAP_BYTES, 1)];
        assert_eq!(runs_of(&over_a_gap.map(Some)), [[0, 1]]);
        let too_wide = [extent("a", 0, 9), extent("a", 10 + GAP_BYTES, 1)];
        assert_eq!(runs_of(&too_wide.map(Some)), [[0], [1]]);
        let other_file = [extent("a", 0, 9), extent("b", 9, 1)];
        assert_eq!(runs_of(&other_file.map(Some)), [[0], [1]]);
        let too_long = [extent("a", 0, 3 * mb), extent("a", 3 * mb, 3 * mb)];
        assert_eq!(runs_of(&too_long.map(Some)), [[0], [1]]);
        let not_stored = [None, Some(extent("a", 0, 9)), None];
        assert_eq!(runs_of(&not_stored), [[0], [2], [1]]);
    }

    proptest! {
        #[test]
        fn reading_runs_returns_the_same_bytes_as_single_reads(
            places in prop::collection::vec((0u64..2000, 0u64..300), 1..12), files in 1usize..3,
        ) {
            let dir = tempfile::tempdir().unwrap();
            for file in 0..files {
                let bytes: Vec<u8> = (0..2300u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8 ^ file as u8).collect();
                std::fs::write(dir.path().join(file.to_string()), bytes).unwrap();
            }
            let store = LocalStore::new(dir.path().to_owned());
            let extents: Vec<_> = places
                .iter()
                .enumerate()
                .map(|(i, (start, length))| extent(&(i % files).to_string(), *start, *length))
                .collect();
            let items = extents.iter().cloned().enumerate().map(|(i, e)| (i, Some(e))).collect();
            let mut seen = vec![0; extents.len()];
            for run in runs(items) {
                let of_run: Vec<_> = run.iter().map(|i| extents[*i].clone()).collect();
                let mut found = vec![vec![7; 5]; run.len()];
                let mut into: Vec<_> = found.iter_mut().collect();
                prop_assert!(read_run(&store, &of_run, &mut into).unwrap());
                for (i, found) in run.into_iter().zip(found) {
                    let mut alone = Vec::new();
                    store.read_range(&extents[i].key, extents[i].bytes.clone(), &mut alone).unwrap();
                    prop_assert_eq!(found, alone);
                    seen[i] += 1;
                }
            }
            prop_assert!(seen.iter().all(|n| *n == 1));
        }
    }
}

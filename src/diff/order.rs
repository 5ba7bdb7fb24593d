//! Splits of two datasets with the same samples in another order.

use super::keys::Keys;
use super::{Difference, DifferenceKind};
use crate::dataset::{Dataset, DatasetError};

/// Rows that are read at once.
const BATCH_ROWS: u64 = 1 << 18;

/// Splits whose samples have another order. Both datasets have the same samples.
pub(super) fn compare(a: &Dataset, b: &Dataset) -> Result<Vec<Difference>, DatasetError> {
    let mut differences = Vec::new();
    for (name, split) in &a.manifest().splits {
        let is_in_both = b.manifest().splits.get(name).map(|s| s.samples) == Some(split.samples);
        if !is_in_both {
            continue;
        }
        let (of_a, of_b) = (Keys::of(a, name)?, Keys::of(b, name)?);
        for first in (0..split.samples).step_by(BATCH_ROWS as usize) {
            let rows = first..split.samples.min(first + BATCH_ROWS);
            if !of_a.are_those_of(&of_b, &rows)? {
                let message = "the same samples in another order";
                differences.push(Difference::new(DifferenceKind::Order, name, message));
                break;
            }
        }
    }
    Ok(differences)
}

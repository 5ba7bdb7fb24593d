//! The numbers of the rows that are read from a table in which some are skipped.

use std::collections::VecDeque;
use std::ops::Range;

/// The numbers of rows that are read, in their order.
#[derive(Debug)]
pub(super) struct RowNumbers(VecDeque<Range<u64>>);

impl RowNumbers {
    pub fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        Self(ranges.into_iter().filter(|r| !r.is_empty()).collect())
    }

    /// The number of the next row.
    pub fn next(&mut self) -> u64 {
        let Some(first) = self.0.front_mut() else {
            return u64::MAX;
        };
        let number = first.start;
        first.start += 1;
        if first.is_empty() {
            self.0.pop_front();
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_rows_are_counted() {
        let mut numbers = RowNumbers::new([2..4, 5..5, 7..8]);
        let read: Vec<_> = (0..4).map(|_| numbers.next()).collect();
        assert_eq!(read, [2, 3, 7, u64::MAX]);
    }
}

//! The numbers of the rows that are read from a table in which some are skipped.

use std::collections::VecDeque;
use std::ops::Range;

/// The numbers of rows that are read, in their order.
#[derive(Debug, Default)]
pub(super) struct RowNumbers(VecDeque<Range<u64>>);

impl RowNumbers {
    pub fn new(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        Self(ranges.into_iter().filter(|r| !r.is_empty()).collect())
    }

    /// Takes the numbers of the next `count` rows.
    pub fn take(&mut self, mut count: u64) -> Self {
        let mut taken = VecDeque::new();
        while let Some(first) = self.0.front_mut().filter(|_| count > 0) {
            let end = first.start.saturating_add(count).min(first.end);
            count -= end - first.start;
            taken.push_back(first.start..end);
            first.start = end;
            if first.is_empty() {
                self.0.pop_front();
            }
        }
        Self(taken)
    }

    /// The numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().cloned().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_rows_are_counted() {
        let mut numbers = RowNumbers::new([2..4, 5..5, 7..9]);
        let mut take = |count| numbers.take(count).iter().collect::<Vec<_>>();
        assert_eq!(take(1), [2]);
        assert_eq!(take(2), [3, 7]);
        assert_eq!(take(0), [0; 0]);
        assert_eq!(take(5), [8]);
        assert_eq!(take(5), [0; 0]);
    }
}

//! The blocks of one unit of work: in which order they are used first, and when each is used for the last time.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::blocks::BlockKey;

/// The blocks that the queries about the samples of a unit may read.
pub(super) struct UnitBlocks {
    /// By sample, then by query.
    of_queries: Vec<Vec<BlockKey>>,
    per_sample: usize,
    uses: HashMap<BlockKey, UnitUse, RandomState>,
    /// How many blocks are listed.
    listed: usize,
    /// By sample: how many blocks were listed when those of its latest query were.
    listed_with: Vec<usize>,
}

#[derive(Default)]
struct UnitUse {
    /// Queries that may read it and are not finished.
    pending: usize,
    is_listed: bool,
}

impl UnitBlocks {
    /// `blocks` gives what the query about the sample reads.
    pub fn of<B: Iterator<Item = BlockKey>>(
        samples: usize,
        per_sample: usize,
        blocks: impl Fn(usize, usize) -> B,
    ) -> Self {
        let queries = 0..samples * per_sample;
        let of_queries: Vec<Vec<_>> = queries
            .map(|n| blocks(n / per_sample, n % per_sample).collect())
            .collect();
        let mut uses: HashMap<_, UnitUse, RandomState> = HashMap::default();
        for key in of_queries.iter().flatten() {
            uses.entry(*key).or_default().pending += 1;
        }
        Self {
            of_queries,
            per_sample,
            uses,
            listed: 0,
            listed_with: vec![0; samples],
        }
    }

    /// The blocks that the query about the sample reads, without those that were listed before.
    pub fn list(&mut self, sample: usize, query: usize) -> Vec<BlockKey> {
        let mut new = self.of_queries[sample * self.per_sample + query].clone();
        new.retain(|key| {
            let block = self.uses.get_mut(key);
            block.is_some_and(|block| !std::mem::replace(&mut block.is_listed, true))
        });
        self.listed += new.len();
        self.listed_with[sample] = self.listed;
        new
    }

    /// How many blocks were listed when those of the sample's latest query were, including them.
    pub fn listed_with(&self, sample: usize) -> usize {
        self.listed_with[sample]
    }

    /// Finishes queries about the sample. Calls `release` with each block that no other query may read.
    pub fn finish(&mut self, sample: usize, queries: Range<usize>, release: impl Fn(BlockKey)) {
        let start = sample * self.per_sample;
        let of_queries = &self.of_queries[start + queries.start..start + queries.end];
        for key in of_queries.iter().flatten() {
            if let Some(block) = self.uses.get_mut(key) {
                block.pending -= 1;
                if block.pending == 0 {
                    release(*key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn key(block: u64) -> BlockKey {
        BlockKey { volume: 0, block }
    }

    /// Two samples, with two queries each.
    fn blocks() -> UnitBlocks {
        let of_queries = [[vec![7, 3], vec![3, 5]], [vec![3], vec![5, 8, 7]]];
        UnitBlocks::of(2, 2, |sample, query| {
            of_queries[sample][query].clone().into_iter().map(key)
        })
    }

    #[test]
    fn each_block_is_listed_once_in_the_order_of_use() {
        let mut blocks = blocks();
        assert_eq!(blocks.list(0, 0), [7, 3].map(key));
        assert_eq!(blocks.list(1, 0), []);
        assert_eq!([0, 1].map(|sample| blocks.listed_with(sample)), [2, 2]);
        assert_eq!(blocks.list(1, 1), [5, 8].map(key));
        assert_eq!([0, 1].map(|sample| blocks.listed_with(sample)), [2, 4]);
    }

    #[test]
    fn a_block_is_released_once_when_no_query_may_read_it_any_more() {
        let mut blocks = blocks();
        let released = RefCell::new(Vec::new());
        let mut finish = |sample, queries| {
            blocks.finish(sample, queries, |key| released.borrow_mut().push(key.block));
            released.take()
        };
        assert!(finish(0, 0..1).is_empty());
        assert!(finish(1, 0..1).is_empty());
        // The second query about the first sample is not needed.
        assert_eq!(finish(0, 1..2), [3]);
        assert!(finish(0, 2..2).is_empty());
        assert_eq!(finish(1, 1..2), [5, 8, 7]);
    }
}

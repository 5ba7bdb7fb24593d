//! A set of ids in little memory, if they are dense: a bit for each id, in pages.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::storage::MemoryBudget;

/// Ids in a page: 4 KiB of bits.
const PAGE_BITS: u32 = 15;
const PAGE_WORDS: usize = 1 << (PAGE_BITS - 6);

type Page = Box<[u64; PAGE_WORDS]>;

/// Bytes of a page, with its place in the map.
const PAGE_BYTES: u64 = (size_of::<[u64; PAGE_WORDS]>() + 4 * size_of::<(u64, Page)>()) as u64;

/// A set of ids.
#[derive(Debug)]
pub(super) struct IdSet<'b> {
    budget: &'b MemoryBudget,
    most_bytes: u64,
    kept_bytes: u64,
    pages: HashMap<u64, Page, RandomState>,
    len: u64,
}

/// There is no memory for another page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

impl<'b> IdSet<'b> {
    /// An empty set that takes at most `most_bytes` of `budget`.
    pub fn new(budget: &'b MemoryBudget, most_bytes: u64) -> Self {
        Self {
            budget,
            most_bytes,
            kept_bytes: 0,
            pages: HashMap::default(),
            len: 0,
        }
    }

    /// Adds ids, and calls `repeated` with those that were in the set.
    pub fn extend(
        &mut self,
        ids: impl Iterator<Item = u64>,
        mut repeated: impl FnMut(u64),
    ) -> Result<(), NoMemory> {
        let mut ids = ids.peekable();
        while let Some(id) = ids.peek() {
            let number = id >> PAGE_BITS;
            if !self.pages.contains_key(&number) {
                self.reserve_page()?;
            }
            let page = self.pages.entry(number);
            let page = page.or_insert_with(|| Box::new([0; PAGE_WORDS]));
            // Ids are often in order.
            while let Some(id) = ids.next_if(|id| id >> PAGE_BITS == number) {
                let word = &mut page[(id >> 6) as usize % PAGE_WORDS];
                let bit = 1 << (id % 64);
                if *word & bit != 0 {
                    repeated(id);
                } else {
                    *word |= bit;
                    self.len += 1;
                }
            }
        }
        Ok(())
    }

    /// The number of ids.
    pub fn len(&self) -> u64 {
        self.len
    }

    fn reserve_page(&mut self) -> Result<(), NoMemory> {
        let is_within = self.kept_bytes + PAGE_BYTES <= self.most_bytes;
        if !is_within || self.budget.keep(PAGE_BYTES).is_err() {
            return Err(NoMemory);
        }
        self.kept_bytes += PAGE_BYTES;
        Ok(())
    }
}

impl Drop for IdSet<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.kept_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn repeated_ids_are_those_that_a_hash_set_has(
            ids in prop::collection::vec(prop_oneof![0..200u64, 32_700..32_800u64, (u64::MAX - 70)..=u64::MAX], 0..300),
        ) {
            let budget = MemoryBudget::new(0);
            let mut set = IdSet::new(&budget, 1 << 20);
            let mut repeated = Vec::new();
            set.extend(ids.iter().copied(), |id| repeated.push(id)).unwrap();
            let mut known = HashSet::new();
            let expected: Vec<u64> = ids.iter().copied().filter(|id| !known.insert(*id)).collect();
            prop_assert_eq!(repeated, expected);
            prop_assert_eq!(set.len(), known.len() as u64);
        }
    }

    #[test]
    fn dense_ids_take_a_bit_each_and_others_exceed_the_memory() {
        let budget = MemoryBudget::new(0);
        let mut set = IdSet::new(&budget, 1 << 20);
        let none = |id| panic!("{id} is not repeated");
        assert_eq!(set.extend(7..7_000_007, none), Ok(()));
        assert_eq!(set.extend((0..1000).map(|i| i << 40), none), Err(NoMemory));
        drop(set);
        budget.keep(budget.keep_limit_bytes()).unwrap();
    }
}

//! The order of the samples of an epoch, and how they are distributed over ranks.

use rand::seq::SliceRandom;

use super::options::LoaderOptions;
use super::transform::seeded_rng;

/// Selects the samples of each epoch and rank.
#[derive(Clone, Debug)]
pub(super) struct SampleOrder {
    samples: u64,
    batch_size: usize,
    seed: u64,
    shuffle: bool,
    rank: u64,
    world_size: u64,
    drop_last: bool,
}

impl SampleOrder {
    /// For a split with that many samples.
    pub fn new(samples: u64, options: &LoaderOptions) -> Self {
        Self {
            samples,
            batch_size: options.batch_size,
            seed: options.seed,
            shuffle: options.shuffle,
            rank: options.rank as u64,
            world_size: options.world_size as u64,
            drop_last: options.drop_last,
        }
    }

    /// Number of batches per rank.
    pub fn batches(&self) -> usize {
        let share = self.share() as usize;
        if self.drop_last {
            share / self.batch_size
        } else {
            share.div_ceil(self.batch_size)
        }
    }

    /// The samples of this rank in the order of the epoch.
    pub fn of_epoch(&self, epoch: u64) -> Vec<u64> {
        let mine = (0..self.share()).map(|i| (self.rank + i * self.world_size) % self.samples);
        if !self.shuffle {
            return mine.collect();
        }
        let mut all: Vec<u64> = (0..self.samples).collect();
        all.shuffle(&mut seeded_rng("order", &[self.seed, epoch]));
        mine.map(|i| all[i as usize]).collect()
    }

    /// Number of samples per rank.
    fn share(&self) -> u64 {
        if self.drop_last {
            self.samples / self.world_size
        } else {
            self.samples.div_ceil(self.world_size)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::tests::options;
    use proptest::prelude::*;

    fn order(
        samples: u64,
        rank: usize,
        world_size: usize,
        change: impl Fn(&mut LoaderOptions),
    ) -> SampleOrder {
        let mut options = LoaderOptions {
            rank,
            world_size,
            ..options()
        };
        change(&mut options);
        SampleOrder::new(samples, &options)
    }

    #[test]
    fn a_split_without_samples_has_no_batches() {
        for drop_last in [false, true] {
            let none = order(0, 0, 2, |o| (o.shuffle, o.drop_last) = (true, drop_last));
            assert_eq!((none.batches(), none.of_epoch(0)), (0, vec![]));
        }
        assert_eq!(
            order(3, 0, 1, |o| (o.batch_size, o.drop_last) = (4, true)).batches(),
            0
        );
    }

    #[test]
    fn the_order_differs_from_epoch_to_epoch_and_from_seed_to_seed() {
        let shuffled = |seed| order(100, 0, 1, |o| (o.shuffle, o.seed) = (true, seed));
        assert_ne!(shuffled(0).of_epoch(0), shuffled(0).of_epoch(1));
        assert_ne!(shuffled(0).of_epoch(0), shuffled(1).of_epoch(0));
    }

    proptest! {
        #[test]
        fn ranks_together_cover_all_samples_and_have_equal_shares(
            samples in 1u64..60, world_size in 1usize..9, batch_size in 1usize..5, seed: u64, epoch: u64,
            shuffle: bool, drop_last: bool,
        ) {
            let share = |rank| order(samples, rank, world_size, |o| {
                (o.batch_size, o.seed, o.shuffle, o.drop_last) = (batch_size, seed, shuffle, drop_last);
            });
            let mut all: Vec<u64> = Vec::new();
            for rank in 0..world_size {
                let mine = share(rank).of_epoch(epoch);
                prop_assert_eq!(mine.len(), share(0).of_epoch(epoch).len());
                prop_assert_eq!(share(rank).batches(), share(0).batches());
                let batches = mine.chunks(batch_size);
                let counted = batches.filter(|b| !drop_last || b.len() == batch_size).count();
                prop_assert_eq!(share(rank).batches(), counted);
                if !shuffle && world_size == 1 {
                    prop_assert!(mine.is_sorted());
                }
                all.extend(mine);
            }
            let n = all.len() as u64;
            all.sort_unstable();
            all.dedup();
            if drop_last {
                // Equal shares, and no sample twice.
                prop_assert_eq!(all.len() as u64, samples - samples % world_size as u64);
            } else {
                prop_assert_eq!(all.len() as u64, samples);
                prop_assert!(n - samples < world_size as u64);
            }
        }
    }
}

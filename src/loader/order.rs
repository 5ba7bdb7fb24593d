//! Which samples an epoch has, in which order, and which of them are a rank's.

use rand::seq::SliceRandom;

use super::Options;
use super::draw::random;

/// The rule by which samples are dealt out.
#[derive(Clone, Debug)]
pub(super) struct Order {
    samples: u64,
    batch_size: usize,
    seed: u64,
    shuffle: bool,
    rank: u64,
    world_size: u64,
    drop_last: bool,
}

impl Order {
    /// Of a split of that many samples.
    pub fn new(samples: u64, options: &Options) -> Self {
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

    /// Number of batches of each rank.
    pub fn batches(&self) -> usize {
        let share = self.share() as usize;
        match self.drop_last {
            true => share / self.batch_size,
            false => share.div_ceil(self.batch_size),
        }
    }

    /// The samples of this rank in the order of the epoch, batch by batch.
    pub fn of_epoch(&self, epoch: u64) -> Vec<u64> {
        let mut all: Vec<u64> = match self.shuffle {
            true => (0..self.samples).collect(),
            false => Vec::new(),
        };
        all.shuffle(&mut random("order", &[self.seed, epoch]));
        let mine = (0..self.share()).map(|i| (self.rank + i * self.world_size) % self.samples);
        match self.shuffle {
            true => mine.map(|i| all[i as usize]).collect(),
            false => mine.collect(),
        }
    }

    /// Number of samples of each rank.
    fn share(&self) -> u64 {
        match self.drop_last {
            true => self.samples / self.world_size,
            false => self.samples.div_ceil(self.world_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::tests::options;
    use proptest::prelude::*;

    fn order(samples: u64, rank: usize, world_size: usize, change: impl Fn(&mut Options)) -> Order {
        let mut options = Options {
            rank,
            world_size,
            ..options()
        };
        change(&mut options);
        Order::new(samples, &options)
    }

    #[test]
    fn no_samples_are_no_batches() {
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
        fn ranks_together_have_every_sample_and_each_as_many(
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
            match drop_last {
                // A whole number of rounds, and no sample twice.
                true => prop_assert_eq!(all.len() as u64, samples - samples % world_size as u64),
                false => {
                    prop_assert_eq!(all.len() as u64, samples);
                    prop_assert!(n - samples < world_size as u64);
                }
            }
        }
    }
}

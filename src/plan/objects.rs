//! The objects of the samples of a split, in an array that shows some.

use serde::{Deserialize, Serialize};

use crate::dataset::MAX_COLUMN_WIDTH;

/// Most objects of a sample: the column of their ids has a row for each sample, as wide as the sample with most needs it.
pub(crate) const MAX_OBJECTS: usize = MAX_COLUMN_WIDTH as usize;

/// How many objects the samples of all splits have in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCounts {
    /// The most that a sample has; at least 1.
    pub most_per_sample: usize,
    /// The sum over all samples.
    pub all: u64,
}

/// The objects of each sample of a split in one array. The default is that of an array that shows none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleObjects {
    /// The ids of all samples, one after the other. 0 is no object.
    ids: Vec<u64>,
    /// With several objects per sample: where the ids of each sample end. Otherwise each sample has one id.
    ends: Option<Vec<usize>>,
}

impl SampleObjects {
    /// One object per sample, or 0.
    pub(crate) fn one_each(ids: Vec<u64>) -> Self {
        Self { ids, ends: None }
    }

    /// No sample yet, each of which has several objects, with room for this many samples and ids.
    pub(crate) fn several(samples: usize, ids: usize) -> Self {
        Self {
            ids: Vec::with_capacity(ids),
            ends: Some(Vec::with_capacity(samples)),
        }
    }

    /// Adds the objects of a sample that may have several: in any order, and an id twice counts once. 0 is no object.
    pub(crate) fn push(&mut self, objects: impl IntoIterator<Item = u64>) {
        let start = self.ids.len();
        self.ids.extend(objects.into_iter().filter(|id| *id != 0));
        self.ids[start..].sort_unstable();
        let mut kept = start;
        for i in start..self.ids.len() {
            if i == start || self.ids[i] != self.ids[i - 1] {
                self.ids[kept] = self.ids[i];
                kept += 1;
            }
        }
        self.ids.truncate(kept);
        if let Some(ends) = &mut self.ends {
            ends.push(kept);
        }
    }

    /// The objects of the `i`th sample, ascending. None if the array shows none.
    pub fn of(&self, i: usize) -> &[u64] {
        match &self.ends {
            Some(ends) => {
                let start = i.checked_sub(1).map_or(Some(0), |i| ends.get(i).copied());
                let range = start.zip(ends.get(i).copied());
                let ids = range.and_then(|(start, end)| self.ids.get(start..end));
                ids.unwrap_or_default()
            }
            None => match self.ids.get(i) {
                None | Some(0) => &[],
                Some(id) => std::slice::from_ref(id),
            },
        }
    }

    /// For each sample its only object, or 0. Empty if samples may have several.
    pub(crate) fn one_of_each(&self) -> &[u64] {
        match self.ends {
            Some(_) => &[],
            None => &self.ids,
        }
    }

    /// The ids of samples that have one each.
    pub(crate) fn one_each_mut(&mut self) -> &mut Vec<u64> {
        &mut self.ids
    }

    /// Number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.ends.as_ref().map_or(self.ids.len(), Vec::len)
    }

    /// Number of ids of all samples.
    pub(crate) fn ids(&self) -> u64 {
        self.ids.len() as u64
    }

    /// How many objects the samples of these splits have.
    pub(crate) fn count<'s>(splits: impl Iterator<Item = &'s Self> + Clone) -> ObjectCounts {
        let lengths = |objects: &'s Self| (0..objects.samples()).map(|i| objects.of(i).len());
        let most = splits.clone().flat_map(lengths).max();
        ObjectCounts {
            most_per_sample: most.unwrap_or(0).max(1),
            all: splits.map(SampleObjects::ids).sum(),
        }
    }

    /// Adds the values to a digest.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        for end in self.ends.iter().flatten() {
            hasher.update(&(*end as u64).to_le_bytes());
        }
        hasher.update(bytemuck::cast_slice(&self.ids));
    }

    /// Memory of the values in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let ends = self.ends.as_deref().unwrap_or_default();
        size_of_val(&self.ids[..]) + size_of_val(ends)
    }

    /// Gives the samples the order in which `order` lists their positions.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        if self.samples() == 0 {
            return;
        }
        let mut reordered = Self {
            ids: Vec::with_capacity(self.ids.len()),
            ends: self
                .ends
                .as_ref()
                .map(|ends| Vec::with_capacity(ends.len())),
        };
        for i in order {
            match &mut reordered.ends {
                Some(ends) => {
                    reordered.ids.extend_from_slice(self.of(*i));
                    ends.push(reordered.ids.len());
                }
                None => reordered.ids.push(self.ids[*i]),
            }
        }
        *self = reordered;
    }

    /// Keeps the samples for which `kept` is true.
    pub(super) fn retain(&mut self, kept: &[bool]) {
        let is_kept = |i: usize| kept.get(i).copied().unwrap_or(false);
        let Some(ends) = &mut self.ends else {
            let mut i = 0;
            self.ids.retain(|_| {
                i += 1;
                is_kept(i - 1)
            });
            return;
        };
        let (mut start, mut kept_ids, mut kept_samples) = (0, 0, 0);
        for i in 0..ends.len() {
            let end = ends[i];
            if is_kept(i) {
                self.ids.copy_within(start..end, kept_ids);
                kept_ids += end - start;
                ends[kept_samples] = kept_ids;
                kept_samples += 1;
            }
            start = end;
        }
        ends.truncate(kept_samples);
        self.ids.truncate(kept_ids);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn several(lists: &[Vec<u64>]) -> SampleObjects {
        let mut objects = SampleObjects::several(0, 0);
        lists
            .iter()
            .for_each(|list| objects.push(list.iter().copied()));
        objects
    }

    #[test]
    fn objects_are_ascending_each_once_and_0_is_none() {
        let objects = several(&[vec![7, 0, 7, 3], vec![], vec![0], vec![u64::MAX]]);
        let lists: Vec<_> = (0..5).map(|i| objects.of(i)).collect();
        assert_eq!(lists, [&[3, 7][..], &[], &[], &[u64::MAX], &[]]);
        assert_eq!(objects.samples(), 4);
        let counts = |all: &[SampleObjects]| {
            let ObjectCounts {
                most_per_sample,
                all,
            } = SampleObjects::count(all.iter());
            (most_per_sample, all)
        };
        assert_eq!(counts(&[objects.clone(), several(&[vec![5]])]), (2, 4));
        assert_eq!(counts(&[several(&[vec![]])]), (1, 0));
        assert!(objects.one_of_each().is_empty());
        let one = SampleObjects::one_each(vec![0, 9]);
        let lists: Vec<_> = (0..3).map(|i| one.of(i)).collect();
        assert_eq!(lists, [&[][..], &[9], &[]]);
        assert_eq!(one.samples(), 2);
        assert_eq!(SampleObjects::default().of(0), &[0u64; 0]);
    }

    #[test]
    fn digests_differ_where_only_the_samples_of_the_ids_do() {
        let digest = |lists: &[Vec<u64>]| {
            let mut hasher = blake3::Hasher::new();
            several(lists).hash(&mut hasher);
            hasher.finalize()
        };
        assert_ne!(
            digest(&[vec![1, 2], vec![3]]),
            digest(&[vec![1], vec![2, 3]])
        );
        assert_ne!(digest(&[vec![1], vec![]]), digest(&[vec![], vec![1]]));
    }

    proptest! {
        #[test]
        fn samples_keep_their_objects_when_some_are_dropped_or_all_are_reordered(
            rows in prop::collection::vec((prop::collection::vec(any::<u64>(), 0..5), any::<bool>()), 0..20),
        ) {
            let (lists, kept): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let ones = lists.iter().map(|list: &Vec<u64>| list.len() as u64).collect();
            for all in [several(&lists), SampleObjects::one_each(ones)] {
                let mut some = all.clone();
                some.retain(&kept);
                let expected: Vec<_> = (0..lists.len()).filter(|i| kept[*i]).collect();
                let order: Vec<_> = (0..lists.len()).rev().collect();
                let mut reversed = all.clone();
                reversed.reorder(&order);
                prop_assert_eq!(reversed.samples(), lists.len());
                for (i, before) in order.into_iter().enumerate() {
                    prop_assert_eq!(reversed.of(i), all.of(before));
                }
                prop_assert_eq!(some.samples(), expected.len());
                for (i, before) in expected.into_iter().enumerate() {
                    prop_assert_eq!(some.of(i), all.of(before));
                }
            }
        }
    }
}

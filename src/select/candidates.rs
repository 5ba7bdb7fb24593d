//! The samples whose windows decide about codecs.
//!
//! They are few, out of all splits, the same for every array, chosen with the seed of the config. So the choice follows from
//! the plan and the sources alone, however often it is made.

use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::plan::Plan;

/// Most samples whose windows decide.
pub(super) const CHOSEN: usize = 8;

/// Most samples whose windows are tried before it is known whether they are in the finished plan.
const CANDIDATES: usize = 2 * CHOSEN;

/// A sample, by its split and its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SamplePosition {
    pub split: usize,
    pub sample: usize,
}

/// The samples whose windows are tried before the plan is finished.
#[derive(Default)]
pub(super) struct Candidates {
    /// The arrays whose windows are tried.
    arrays: Vec<usize>,
    /// Box and annotation of each candidate, in the order of the hashes.
    ids: Vec<(u32, u64)>,
    /// The positions among them, by the number of the sample counted through all splits.
    by_sample: HashMap<usize, usize>,
}

impl Candidates {
    /// The samples of a draft with the lowest hashes. If there is a limit per box, they are among those that it keeps, whatever
    /// else is dropped.
    pub fn of(plan: &Plan, arrays: &[usize]) -> Self {
        if arrays.is_empty() {
            return Self::default();
        }
        let kept = plan.kept_by_max_per_box();
        let is_kept = |at: SamplePosition| {
            let kept = kept.as_ref().and_then(|kept| kept[at.split].get(at.sample));
            kept.copied().unwrap_or(true)
        };
        let mut candidates = Self {
            arrays: arrays.to_vec(),
            ..Self::default()
        };
        for at in lowest_samples(plan, CANDIDATES, is_kept) {
            let before = plan.splits[..at.split].iter().map(|s| s.samples.len());
            let number = before.sum::<usize>() + at.sample;
            let sample = &plan.splits[at.split].samples[at.sample];
            candidates.by_sample.insert(number, candidates.ids.len());
            candidates
                .ids
                .push((sample.box_index, sample.annotation_id));
        }
        candidates
    }

    /// The arrays whose windows are tried.
    pub fn arrays(&self) -> &[usize] {
        &self.arrays
    }

    /// The position of the sample among the candidates, if it is one. `sample` is counted through all splits of the draft.
    pub fn find(&self, sample: usize) -> Option<usize> {
        self.by_sample.get(&sample).copied()
    }

    /// The first candidates that are in the finished plan, by their positions.
    pub fn in_plan(&self, plan: &Plan) -> Vec<usize> {
        let ids: HashSet<_> = self.ids.iter().copied().collect();
        let samples = plan.splits.iter().flat_map(|s| &s.samples);
        let present = samples.map(|s| (s.box_index, s.annotation_id));
        let present: HashSet<_> = present.filter(|id| ids.contains(id)).collect();
        let all = self.ids.iter().enumerate();
        let in_plan = all.filter(|(_, id)| present.contains(*id));
        in_plan.map(|(at, _)| at).take(CHOSEN).collect()
    }
}

/// The `n` samples (or all, where there are fewer) with the lowest hashes of seed, box and annotation, in the order of the
/// hashes, among those for which `may_be` is true.
pub(super) fn lowest_samples(
    plan: &Plan,
    n: usize,
    may_be: impl Fn(SamplePosition) -> bool,
) -> Vec<SamplePosition> {
    let seed = plan.config.points.choose.seed;
    let mut lowest = BinaryHeap::new();
    for (number, split) in plan.splits.iter().enumerate() {
        for (i, sample) in split.samples.iter().enumerate() {
            let at = SamplePosition {
                split: number,
                sample: i,
            };
            if !may_be(at) {
                continue;
            }
            let box_id = &plan.boxes[sample.box_index as usize].id;
            lowest.push((sample_hash(seed, box_id, sample.annotation_id), at));
            if lowest.len() > n {
                lowest.pop();
            }
        }
    }
    let lowest = lowest.into_sorted_vec().into_iter();
    lowest.map(|(_, at)| at).collect()
}

/// Other hashes than those of `max_per_box`, which keeps the lowest of each box.
fn sample_hash(seed: u64, box_id: &str, annotation_id: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"codec");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(box_id.len() as u64).to_le_bytes());
    hasher.update(box_id.as_bytes());
    hasher.update(&annotation_id.to_le_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use crate::storage::Storage;

    #[test]
    fn another_seed_chooses_other_samples_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::demo::testing::write_collection(dir.path());
        let job = Job::prepare(&config, 1 << 30, &Storage::default());
        let mut plan = job.unwrap().plan;
        let any = |_: SamplePosition| true;
        let first = lowest_samples(&plan, 8, any);
        assert_eq!(lowest_samples(&plan, 8, any), first);
        assert_eq!(lowest_samples(&plan, 4, any), first[..4]);
        let all = lowest_samples(&plan, usize::MAX >> 1, any);
        assert_eq!(all.len() as u64, plan.samples());
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), all.len());
        plan.config.points.choose.seed = 1;
        assert_ne!(lowest_samples(&plan, 8, any), first);
    }
}

//! Leaks: windows of different splits that share voxels of one layer.
//!
//! The distinct windows of each split are indexed in one R-tree per layer ([`windows`]), and the windows of another split
//! are looked up in it. Equal windows are looked up once, and layers that are always cut at the same positions count as
//! one, so that windows which do not leak cost only their look-up, however many share a position. A pair of windows
//! counts once, however many layers it shares.

mod layers;
pub(super) mod report;
mod windows;

use rayon::prelude::*;

use self::report::{Leak, LeakExample, LeakReport, LeakSample};
use self::windows::WindowIndex;
use super::drop_reason::DropReason;
use super::error::PlanError;
use super::table::Plan;
use crate::config::Leaks;

/// Windows that are looked up before the number of pairs is compared with the limit.
const BLOCK_WINDOWS: usize = 256;

/// Pairs that are counted for two splits. If there are more, the report says only that.
const MAX_PAIRS: u64 = 10_000_000;

/// Pairs that a report lists.
const EXAMPLES: usize = 3;

/// Handles leaks according to the config.
pub(super) fn apply_policy(plan: &mut Plan) -> Result<(), PlanError> {
    match plan.config.leaks.clone() {
        Leaks::Allow => Ok(()),
        Leaks::Error => match find_leaks(plan) {
            None => Ok(()),
            Some(report) => Err(PlanError::Leaks {
                report,
                from: None,
                random: plan.config.random_splits.is_some(),
            }),
        },
        Leaks::Warn => {
            plan.warnings
                .extend(find_leaks(plan).map(|r| r.to_string()));
            Ok(())
        }
        Leaks::DropFrom(name) => {
            let Some(from) = plan.splits.iter().position(|s| s.name == name) else {
                return Ok(());
            };
            let others: Vec<usize> = (0..plan.splits.len()).filter(|s| *s != from).collect();
            let index = WindowIndex::new(plan, &others);
            if let Some(report) = find_among(plan, &index, &others) {
                let from = Some(name);
                let random = plan.config.random_splits.is_some();
                return Err(PlanError::Leaks {
                    report,
                    from,
                    random,
                });
            }
            let leaking = index.leaking_samples(from, &others);
            plan.retain(DropReason::Leak, |split, i, _| split != from || !leaking[i]);
            Ok(())
        }
    }
}

/// The pairs of windows of different splits that share voxels of a layer; `None` if there are none.
pub(super) fn find_leaks(plan: &Plan) -> Option<LeakReport> {
    let all: Vec<usize> = (0..plan.splits.len()).collect();
    if all.len() < 2 {
        return None;
    }
    // The windows of the first split are never looked up, so that they need no index.
    let index = WindowIndex::new(plan, &all[1..]);
    find_among(plan, &index, &all)
}

fn find_among(plan: &Plan, index: &WindowIndex, splits: &[usize]) -> Option<LeakReport> {
    let mut between = Vec::new();
    for (i, a) in splits.iter().enumerate() {
        for b in &splits[i + 1..] {
            let stats = count_pairs(index, *a, *b);
            if stats.pairs > 0 {
                between.push(stats.into_leak(plan, [*a, *b]));
            }
        }
    }
    (!between.is_empty()).then_some(LeakReport { between })
}

/// The pairs of windows of two splits that share voxels.
#[derive(Clone, Debug, Default)]
struct PairStats {
    pairs: u64,
    /// Whether all pairs were counted.
    all: bool,
    /// Sum of the shares of all pairs.
    sum: f64,
    max: f64,
    /// The samples of the first pairs, and their shares.
    examples: Vec<([usize; 2], f64)>,
}

fn count_pairs(index: &WindowIndex, a: usize, b: usize) -> PairStats {
    let mut stats = PairStats::default();
    let windows: Vec<usize> = (0..index.windows_in(a)).collect();
    for block in windows.chunks(BLOCK_WINDOWS) {
        if stats.pairs > MAX_PAIRS {
            return stats;
        }
        let of_block: Vec<PairStats> = block
            .par_iter()
            .map(|window| {
                let mut of_window = PairStats::default();
                index.for_each_overlap(a, *window, b, |samples, pairs, shared| {
                    of_window.add(samples, pairs, shared)
                });
                of_window
            })
            .collect();
        // The order matters for sums of floating-point numbers.
        of_block.iter().for_each(|other| stats.merge(other));
    }
    stats.all = true;
    stats
}

impl PairStats {
    fn add(&mut self, samples: [usize; 2], pairs: u64, shared: f64) {
        self.pairs += pairs;
        self.sum += shared * pairs as f64;
        self.max = self.max.max(shared);
        self.examples.push((samples, shared));
        if self.examples.len() > 16 * EXAMPLES {
            self.keep_first_examples();
        }
    }

    fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        if !other.examples.is_empty() {
            self.examples.extend_from_slice(&other.examples);
            self.keep_first_examples();
        }
    }

    fn keep_first_examples(&mut self) {
        self.examples.sort_by_key(|(samples, _)| *samples);
        self.examples.truncate(EXAMPLES);
    }

    fn into_leak(self, plan: &Plan, splits: [usize; 2]) -> Leak {
        let sample = |split: usize, i: usize| {
            let sample = &plan.splits[split].samples[i];
            LeakSample {
                box_id: plan.boxes[sample.box_index as usize].id.clone(),
                annotation_id: sample.annotation_id,
            }
        };
        let examples = self.examples.iter().map(|([a, b], shared)| LeakExample {
            samples: [sample(splits[0], *a), sample(splits[1], *b)],
            shared: *shared,
        });
        Leak {
            examples: examples.collect(),
            splits: splits.map(|s| plan.splits[s].name.clone()),
            pairs: self.pairs,
            all: self.all,
            mean_shared: self.sum / self.pairs as f64,
            max_shared: self.max,
        }
    }
}

//! Leaks: windows of different splits that share voxels of one layer.
//!
//! Every split's different windows are put into one R-tree per layer (`windows`), and those of another split are looked
//! up in it. Windows that are equal are looked up once, and layers that are always cut in the same places are
//! one: however many windows share a place, what does not leak costs nothing but its own look-up. A pair of windows
//! counts once, however many layers it shares.

mod layers;
mod report;
mod windows;

use rayon::prelude::*;

use super::{DropReason, Plan, PlanError};
use crate::config::Leaks;
use windows::Windows;

pub use report::{Leak, LeakExample, LeakReport, LeakSample};

/// Windows that are looked up between two looks at how much was found.
const BLOCK_WINDOWS: usize = 256;

/// Pairs that are counted of two splits; that there are more is all that is said then.
const MAX_PAIRS: u64 = 10_000_000;

/// Pairs that are named.
const EXAMPLES: usize = 3;

/// Does with leaks what the config says.
pub(super) fn settle(plan: &mut Plan) -> Result<(), PlanError> {
    match plan.config.leaks.clone() {
        Leaks::Allow => Ok(()),
        Leaks::Error => match find(plan) {
            None => Ok(()),
            Some(report) => Err(PlanError::Leaks { report, from: None }),
        },
        Leaks::Warn => {
            plan.warnings.extend(find(plan).map(|r| r.to_string()));
            Ok(())
        }
        Leaks::DropFrom(name) => {
            let Some(from) = plan.splits.iter().position(|s| s.name == name) else {
                return Ok(());
            };
            let others: Vec<usize> = (0..plan.splits.len()).filter(|s| *s != from).collect();
            let windows = Windows::new(plan, &others);
            if let Some(report) = find_among(plan, &windows, &others) {
                let from = Some(name);
                return Err(PlanError::Leaks { report, from });
            }
            let leaking = windows.leaking(from, &others);
            plan.retain(DropReason::Leak, |split, i, _| split != from || !leaking[i]);
            Ok(())
        }
    }
}

/// The pairs of windows of different splits that share voxels of a layer, if there are any.
pub(super) fn find(plan: &Plan) -> Option<LeakReport> {
    let all: Vec<usize> = (0..plan.splits.len()).collect();
    let [_, looked_up @ ..] = &all[..] else {
        return None;
    };
    if looked_up.is_empty() {
        return None;
    }
    let windows = Windows::new(plan, looked_up);
    find_among(plan, &windows, &all)
}

fn find_among(plan: &Plan, windows: &Windows, splits: &[usize]) -> Option<LeakReport> {
    let mut between = Vec::new();
    for (i, a) in splits.iter().enumerate() {
        for b in &splits[i + 1..] {
            let found = pairs(windows, *a, *b);
            if found.pairs > 0 {
                between.push(found.leak(plan, [*a, *b]));
            }
        }
    }
    (!between.is_empty()).then_some(LeakReport { between })
}

/// What was found of two splits.
#[derive(Clone, Debug, Default)]
struct Found {
    pairs: u64,
    all: bool,
    sum: f64,
    max: f64,
    /// The first samples of the first pairs, and what they share.
    examples: Vec<([usize; 2], f64)>,
}

fn pairs(windows: &Windows, a: usize, b: usize) -> Found {
    let mut found = Found::default();
    let numbers: Vec<usize> = (0..windows.of_split(a)).collect();
    for block in numbers.chunks(BLOCK_WINDOWS) {
        if found.pairs > MAX_PAIRS {
            return found;
        }
        let of_block: Vec<Found> = block
            .par_iter()
            .map(|window| {
                let mut of_window = Found::default();
                windows.shared_with(a, *window, b, |samples, pairs, shared| {
                    of_window.add(samples, pairs, shared)
                });
                of_window
            })
            .collect();
        // In order: sums of floating-point numbers depend on it.
        of_block.iter().for_each(|f| found.merge(f));
    }
    found.all = true;
    found
}

impl Found {
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

    fn leak(self, plan: &Plan, splits: [usize; 2]) -> Leak {
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

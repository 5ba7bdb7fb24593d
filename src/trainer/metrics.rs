//! How well probabilities match targets: a [`Tally`] per channel counts voxels, [`Scores`] say what they amount to.
//!
//! Probabilities, targets and masks come in, batch by batch, in any order. What is held is a histogram of fixed size: Dice, IoU, precision and recall at the thresholds of the
//! curve, 0.5 among them, are exact, and average precision is that of probabilities rounded to three digits or more of
//! the smaller of `p` and `1 - p`.

mod bins;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use bins::BINS;

/// Counts of voxels by probability and target.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Per bin of probability, ascending: voxels whose target is 0, and the others.
    counts: Vec<[u64; 2]>,
    not_finite: u64,
}

/// What a tally amounts to. A ratio of nothing to nothing is none: precision where nothing was predicted, recall and
/// average precision where nothing is positive, Dice and IoU where neither is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Voxels counted.
    pub voxels: u64,
    /// Those of them whose target is not 0.
    pub positives: u64,
    /// Voxels that are counted nowhere else, as their probability is NaN or infinite.
    pub not_finite: u64,
    /// Twice what is both predicted and positive, over the sum of both; like the next three where `p >= 0.5`.
    pub dice: Option<f64>,
    /// What is both predicted and positive, over what is either.
    pub iou: Option<f64>,
    /// Share of the predicted that is positive.
    pub precision: Option<f64>,
    /// Share of the positive that is predicted.
    pub recall: Option<f64>,
    /// Sum over all thresholds, descending, of the gain in recall times the precision (no interpolation).
    pub average_precision: Option<f64>,
    /// Threshold of the best Dice; the highest of them if there are several.
    pub best_threshold: Option<f64>,
    /// Best Dice at any threshold.
    pub best_dice: Option<f64>,
    /// The thresholds 0.05, 0.10, ... 0.95.
    pub curve: Vec<CurvePoint>,
}

/// Scores at one threshold: a voxel is predicted where `p >= threshold`, in 32-bit floating point numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The threshold.
    pub threshold: f64,
    /// Share of the predicted that is positive.
    pub precision: Option<f64>,
    /// Share of the positive that is predicted.
    pub recall: Option<f64>,
    /// Twice what is both predicted and positive, over the sum of both.
    pub dice: Option<f64>,
    /// What is both predicted and positive, over what is either.
    pub iou: Option<f64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: vec![[0; 2]; BINS],
            not_finite: 0,
        }
    }
}

impl Tally {
    /// Counts voxels: positive is a target other than 0; what is left out is where `mask` is 0. Probabilities outside
    /// 0 to 1 count as the nearer of the two.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add(&mut self, probabilities: &[f32], targets: &[u8], mask: Option<&[f32]>) {
        assert_eq!(
            probabilities.len(),
            targets.len(),
            "a target per probability"
        );
        let voxels = probabilities.iter().zip(targets);
        match mask {
            None => voxels.for_each(|(p, target)| self.count(*p, *target)),
            Some(mask) => {
                assert_eq!(probabilities.len(), mask.len(), "a mask per probability");
                for ((p, target), mask) in voxels.zip(mask) {
                    if *mask != 0.0 {
                        self.count(*p, *target);
                    }
                }
            }
        }
    }

    #[inline]
    fn count(&mut self, p: f32, target: u8) {
        if p.is_finite() {
            self.counts[bins::of(p) as usize][usize::from(target != 0)] += 1;
        } else {
            self.not_finite += 1;
        }
    }

    /// What was counted so far, as scores.
    pub fn scores(&self) -> Scores {
        let positives = self.counts.iter().map(|bin| bin[1]).sum();
        let negatives = self.counts.iter().map(|bin| bin[0]).sum::<u64>();
        let descent = self.descent(positives);
        let found_at = |threshold: f32| {
            let above = descent.partition_point(|(bin, _)| *bin >= bins::of(threshold));
            let last = above.checked_sub(1).map(|last| descent[last].1);
            last.unwrap_or_else(|| Found::none_of(positives))
        };
        let half = found_at(0.5);
        let best = best(&descent);
        Scores {
            voxels: positives + negatives,
            positives,
            not_finite: self.not_finite,
            dice: half.dice(),
            iou: half.iou(),
            precision: half.precision(),
            recall: half.recall(),
            average_precision: average_precision(&descent),
            best_threshold: best.map(|(bin, _)| f64::from(bins::lower_edge(bin))),
            best_dice: best.map(|(_, dice)| dice),
            curve: (1..20)
                .map(|twentieths| f64::from(twentieths) / 20.0)
                .map(|threshold| CurvePoint::new(threshold, found_at(threshold as f32)))
                .collect(),
        }
    }

    /// The bins that hold voxels, descending, each with what is found from there on.
    fn descent(&self, positives: u64) -> Vec<(u32, Found)> {
        let mut found = Found::none_of(positives);
        let bins = (0..BINS as u32).zip(&self.counts).rev();
        bins.filter(|(_, counts)| **counts != [0; 2])
            .map(|(bin, counts)| {
                found.add(counts);
                (bin, found)
            })
            .collect()
    }
}

fn average_precision(descent: &[(u32, Found)]) -> Option<f64> {
    let (mut sum, mut recall) = (0.0, 0.0);
    for (_, found) in descent {
        let gain = found.recall()? - recall;
        recall += gain;
        sum += gain * found.precision()?;
    }
    (recall > 0.0).then_some(sum)
}

fn best(descent: &[(u32, Found)]) -> Option<(u32, f64)> {
    let scored = descent
        .iter()
        .filter_map(|(bin, found)| found.recall().and(found.dice()).map(|dice| (*bin, dice)));
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

impl CurvePoint {
    fn new(threshold: f64, found: Found) -> Self {
        Self {
            threshold,
            precision: found.precision(),
            recall: found.recall(),
            dice: found.dice(),
            iou: found.iou(),
        }
    }
}

/// What is predicted at a threshold.
#[derive(Clone, Copy)]
struct Found {
    positives: u64,
    predicted: u64,
    right: u64,
}

impl Found {
    fn none_of(positives: u64) -> Self {
        Self {
            positives,
            predicted: 0,
            right: 0,
        }
    }

    fn add(&mut self, bin: &[u64; 2]) {
        self.predicted += bin[0] + bin[1];
        self.right += bin[1];
    }

    fn precision(self) -> Option<f64> {
        ratio(self.right, self.predicted)
    }

    fn recall(self) -> Option<f64> {
        ratio(self.right, self.positives)
    }

    fn dice(self) -> Option<f64> {
        ratio(2 * self.right, self.predicted + self.positives)
    }

    fn iou(self) -> Option<f64> {
        ratio(self.right, self.predicted + self.positives - self.right)
    }
}

fn ratio(of: u64, to: u64) -> Option<f64> {
    (to > 0).then(|| of as f64 / to as f64)
}

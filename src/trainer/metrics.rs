//! Scores of probabilities against targets: [`VoxelCounts`] counts the voxels of a channel, [`Scores`] is the result.
//!
//! Batches can be added in any order; memory is a histogram of fixed size. Dice, IoU, precision and recall at the
//! thresholds of the curve, including 0.5, are exact. For average precision, the smaller of `p` and `1 - p` is rounded to
//! at least three digits.

mod bins;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use bins::BINS;

/// Numbers of voxels by probability and target.
#[derive(Clone, Debug, PartialEq)]
pub struct VoxelCounts {
    /// Per bin of probability, ascending: number of negative and of positive voxels.
    counts: Vec<[u64; 2]>,
    not_finite: u64,
}

/// Scores of a channel. An undefined ratio is `None`: precision if nothing was predicted, recall and average precision if
/// nothing is positive, Dice and IoU if both are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Number of voxels that count.
    pub voxels: u64,
    /// Number of them that are positive, that is, whose target is not 0.
    pub positives: u64,
    /// Number of voxels whose probability is NaN or infinite. They count nowhere else.
    pub not_finite: u64,
    /// 2 * true positives / (predicted + positives). This and the next three are at the threshold 0.5.
    pub dice: Option<f64>,
    /// True positives / (predicted or positive).
    pub iou: Option<f64>,
    /// True positives / predicted.
    pub precision: Option<f64>,
    /// True positives / positives.
    pub recall: Option<f64>,
    /// Sum over all thresholds, descending, of the gain in recall times the precision (no interpolation).
    pub average_precision: Option<f64>,
    /// Threshold of the best Dice; the highest one if there are several.
    pub best_threshold: Option<f64>,
    /// Best Dice at any threshold.
    pub best_dice: Option<f64>,
    /// Scores at the thresholds 0.05, 0.10, ... 0.95.
    pub curve: Vec<CurvePoint>,
}

/// Scores at one threshold: a voxel is predicted where `p >= threshold`, in 32-bit floating point numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The threshold.
    pub threshold: f64,
    /// True positives / predicted.
    pub precision: Option<f64>,
    /// True positives / positives.
    pub recall: Option<f64>,
    /// 2 * true positives / (predicted + positives).
    pub dice: Option<f64>,
    /// True positives / (predicted or positive).
    pub iou: Option<f64>,
}

impl Default for VoxelCounts {
    fn default() -> Self {
        Self {
            counts: vec![[0; 2]; BINS],
            not_finite: 0,
        }
    }
}

impl VoxelCounts {
    /// Counts voxels. A target other than 0 is positive; voxels where `mask` is 0 are ignored. Probabilities are clamped to
    /// 0 to 1.
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

    /// The scores of all voxels counted so far.
    pub fn scores(&self) -> Scores {
        let positives = self.counts.iter().map(|bin| bin[1]).sum();
        let negatives = self.counts.iter().map(|bin| bin[0]).sum::<u64>();
        let descending = self.descending(positives);
        let counts_at = |threshold: f32| {
            let above = descending.partition_point(|(bin, _)| *bin >= bins::of(threshold));
            let last = above.checked_sub(1).map(|last| descending[last].1);
            last.unwrap_or_else(|| ThresholdCounts::none(positives))
        };
        let half = counts_at(0.5);
        let best = best_dice(&descending);
        Scores {
            voxels: positives + negatives,
            positives,
            not_finite: self.not_finite,
            dice: half.dice(),
            iou: half.iou(),
            precision: half.precision(),
            recall: half.recall(),
            average_precision: average_precision(&descending),
            best_threshold: best.map(|(bin, _)| f64::from(bins::lower_edge(bin))),
            best_dice: best.map(|(_, dice)| dice),
            curve: (1..20)
                .map(|twentieths| f64::from(twentieths) / 20.0)
                .map(|threshold| CurvePoint::new(threshold, counts_at(threshold as f32)))
                .collect(),
        }
    }

    /// The nonempty bins in descending order, each with the counts at its lower edge.
    fn descending(&self, positives: u64) -> Vec<(u32, ThresholdCounts)> {
        let mut at_bin = ThresholdCounts::none(positives);
        let bins = (0..BINS as u32).zip(&self.counts).rev();
        bins.filter(|(_, counts)| **counts != [0; 2])
            .map(|(bin, counts)| {
                at_bin.add(counts);
                (bin, at_bin)
            })
            .collect()
    }
}

fn average_precision(descending: &[(u32, ThresholdCounts)]) -> Option<f64> {
    let (mut sum, mut recall) = (0.0, 0.0);
    for (_, counts) in descending {
        let gain = counts.recall()? - recall;
        recall += gain;
        sum += gain * counts.precision()?;
    }
    (recall > 0.0).then_some(sum)
}

/// The bin with the best Dice, and that Dice.
fn best_dice(descending: &[(u32, ThresholdCounts)]) -> Option<(u32, f64)> {
    let scored = descending
        .iter()
        .filter_map(|(bin, counts)| counts.recall().and(counts.dice()).map(|dice| (*bin, dice)));
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

impl CurvePoint {
    fn new(threshold: f64, counts: ThresholdCounts) -> Self {
        Self {
            threshold,
            precision: counts.precision(),
            recall: counts.recall(),
            dice: counts.dice(),
            iou: counts.iou(),
        }
    }
}

/// Numbers of voxels at a threshold.
#[derive(Clone, Copy)]
struct ThresholdCounts {
    positives: u64,
    predicted: u64,
    true_positives: u64,
}

impl ThresholdCounts {
    fn none(positives: u64) -> Self {
        Self {
            positives,
            predicted: 0,
            true_positives: 0,
        }
    }

    fn add(&mut self, bin: &[u64; 2]) {
        self.predicted += bin[0] + bin[1];
        self.true_positives += bin[1];
    }

    fn precision(self) -> Option<f64> {
        ratio(self.true_positives, self.predicted)
    }

    fn recall(self) -> Option<f64> {
        ratio(self.true_positives, self.positives)
    }

    fn dice(self) -> Option<f64> {
        ratio(2 * self.true_positives, self.predicted + self.positives)
    }

    fn iou(self) -> Option<f64> {
        ratio(
            self.true_positives,
            self.predicted + self.positives - self.true_positives,
        )
    }
}

fn ratio(of: u64, to: u64) -> Option<f64> {
    (to > 0).then(|| of as f64 / to as f64)
}

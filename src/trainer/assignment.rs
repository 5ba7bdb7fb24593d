//! How often the output of a network selects the object of the sample: sums the output over each object of a segmentation
//! in the window, and compares the object with the largest sum with the sample's.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use pointshard::trainer_api::{
    ArrayNames, Augmentation, Batch, Loader, LoaderError, LoaderOptions,
};
use pointshard::{Dataset, DatasetError};

use super::error::TrainError;
use super::evaluate::PredictedBatch;

/// How often the object with the largest summed output is the sample's object, and how often simple rules are right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignmentScores {
    /// Number of samples whose object is in the window.
    pub samples: u64,
    /// Number of samples without an object, or whose object is not in the window. They count nowhere else.
    pub samples_left_out: u64,
    /// Fraction of the samples whose object has the largest summed output.
    pub accuracy: Option<f64>,
    /// The same for the object with the most voxels in the window.
    pub largest_object: Option<f64>,
    /// The same for an output that is equal for all samples: at each voxel the mean of the training targets. `None` where
    /// they are not known.
    pub mean_target: Option<f64>,
}

/// The objects of the samples of a split, and the mean of the training targets.
#[derive(Debug)]
pub(super) struct Assignment {
    /// For each target the objects of all samples, if the dataset has them.
    objects: Vec<Option<SampleObjects>>,
    /// `[target, z, y, x]`.
    mean_targets: Option<Vec<f32>>,
}

/// The objects of all samples. A sample may have several; 0 is none.
#[derive(Debug)]
struct SampleObjects {
    ids: Vec<u64>,
    per_sample: usize,
}

/// Number of correct assignments of a target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AssignmentCounts {
    samples: u64,
    left_out: u64,
    correct: u64,
    largest_object: u64,
    mean_target: u64,
    has_mean_target: bool,
}

/// Most samples that the mean of the training targets is computed from.
const MEAN_OF_SAMPLES: usize = 512;

impl Assignment {
    /// Reads the objects of the `targets` in `split`, and computes the mean of the targets in `training`.
    pub(super) fn open(
        dataset: &Dataset,
        split: &str,
        targets: &[String],
        training: Option<TrainingSplit<'_>>,
    ) -> Result<Self, TrainError> {
        let objects = targets
            .iter()
            .map(|t| SampleObjects::read(dataset, split, t));
        let objects = objects.collect::<Result<Vec<_>, _>>()?;
        if objects.iter().all(Option::is_none) {
            let problem = format!(
                "found no objects of the targets ({}), expected the column `TARGET_object_id` of at least one; make a target with \"transform\": {{\"object_at\": ...}}, or remove this key",
                targets.join(", ")
            );
            return Err(TrainError::config("assignment", problem));
        }
        Ok(Self {
            objects,
            mean_targets: match training {
                Some(training) => mean_targets(&training.loader(dataset)?)?,
                None => None,
            },
        })
    }
}

/// Where the mean of the training targets comes from.
pub(super) struct TrainingSplit<'a> {
    pub name: &'a str,
    pub arrays: &'a ArrayNames,
    pub options: LoaderOptions,
}

impl TrainingSplit<'_> {
    /// The same samples in the same order, whoever asks: scores of `train` and `infer` must agree. They are shuffled,
    /// because the first samples come from the first boxes only.
    fn loader(self, dataset: &Dataset) -> Result<Loader, LoaderError> {
        let options = LoaderOptions {
            shuffle: true,
            seed: 0,
            drop_last: false,
            augmentation: Augmentation::default(),
            ..self.options
        };
        Loader::open(dataset, self.name, self.arrays, options)
    }
}

/// The mean of the targets at each voxel, `[target, z, y, x]`; `None` without samples.
fn mean_targets(loader: &Loader) -> Result<Option<Vec<f32>>, TrainError> {
    let mut sums: Vec<u32> = Vec::new();
    let mut samples = 0;
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let values = batch.targets.len() / batch.samples.len().max(1);
        sums.resize(values, 0);
        let used = batch.samples.len().min(MEAN_OF_SAMPLES - samples);
        for sample in batch.targets.chunks_exact(values.max(1)).take(used) {
            for (sum, value) in sums.iter_mut().zip(sample) {
                *sum += u32::from(*value);
            }
        }
        samples += used;
        loader.recycle(batch);
        if samples >= MEAN_OF_SAMPLES {
            break;
        }
    }
    let mean = |sum: u32| (f64::from(sum) / samples as f64) as f32;
    Ok((samples > 0).then(|| sums.into_iter().map(mean).collect()))
}

impl SampleObjects {
    /// The objects that the samples' masks show; `None` if the dataset does not have them.
    fn read(dataset: &Dataset, split: &str, target: &str) -> Result<Option<Self>, DatasetError> {
        let manifest = dataset.manifest();
        let Some(entry) = manifest.splits.get(split) else {
            return Ok(None);
        };
        let columns = manifest.columns(entry);
        let names = [
            format!("{target}_object_id"),
            format!("{target}_object_ids"),
        ];
        let Some(name) = names.iter().find(|n| columns.contains(n.as_str())) else {
            return Ok(None);
        };
        let ids = dataset.split(split)?.column::<u64>(name)?;
        let per_sample = ids.len() / (entry.samples as usize).max(1);
        Ok(Some(Self {
            ids,
            per_sample: per_sample.max(1),
        }))
    }

    fn of(&self, sample: u64) -> &[u64] {
        let mut rows = self.ids.chunks_exact(self.per_sample);
        rows.nth(sample as usize).unwrap_or_default()
    }
}

/// The outputs of the network for a batch.
struct Outputs<'a> {
    batch: &'a Batch,
    /// `[batch, channel, z, y, x]`.
    shape: [usize; 5],
    values: &'a [f32],
}

/// Sums over the voxels of an object in a window.
struct ObjectSums {
    voxels: u64,
    /// For each target the sum of the output.
    output: Vec<f64>,
    /// For each target the sum of the mean training target.
    mean_target: Vec<f64>,
}

impl Assignment {
    /// The counts of a batch, one per target; `None` for targets without objects.
    pub(super) fn count(&self, predicted: &PredictedBatch<'_>) -> Vec<Option<AssignmentCounts>> {
        // Tensors cannot be shared between threads, values can.
        let outputs = Outputs {
            batch: &predicted.batch.batch,
            shape: predicted.shape,
            values: predicted.probabilities,
        };
        let samples = outputs.batch.samples.par_iter().enumerate();
        let counts = samples.map(|(i, sample)| self.count_sample(&outputs, i, *sample));
        let none = || self.objects.iter().map(|_| None).collect();
        counts.reduce(none, |all, next| {
            let pairs = all.into_iter().zip(next);
            pairs.map(|(all, next)| merged(all, next)).collect()
        })
    }

    fn count_sample(
        &self,
        outputs: &Outputs<'_>,
        i: usize,
        sample: u64,
    ) -> Vec<Option<AssignmentCounts>> {
        let sums = self.object_sums(outputs, i);
        let counts = |(target, objects): (usize, &Option<SampleObjects>)| {
            let objects = objects.as_ref()?.of(sample);
            let has = |id: Option<u64>| u64::from(id.is_some_and(|id| objects.contains(&id)));
            let mut counts = AssignmentCounts {
                has_mean_target: self.mean_targets.is_some(),
                ..AssignmentCounts::default()
            };
            if objects.iter().any(|id| sums.contains_key(id)) {
                counts.samples = 1;
                counts.correct = has(largest(&sums, |o| o.output[target]));
                counts.largest_object = has(largest(&sums, |o| o.voxels as f64));
                counts.mean_target = has(largest(&sums, |o| o.mean_target[target]));
            } else {
                counts.left_out = 1;
            }
            Some(counts)
        };
        self.objects.iter().enumerate().map(counts).collect()
    }

    /// The sums of each object in the window of sample number `i` of the batch.
    fn object_sums(&self, outputs: &Outputs<'_>, i: usize) -> HashMap<u64, ObjectSums> {
        let [_, channels, z, y, x] = outputs.shape;
        let (voxels, targets) = (z * y * x, self.objects.len());
        let ids = &outputs.batch.ids[i * voxels..][..voxels];
        let output = |c: usize| &outputs.values[(i * channels + c) * voxels..][..voxels];
        let mean_target = |c: usize| Some(&self.mean_targets.as_ref()?[c * voxels..][..voxels]);
        let mut sums = HashMap::new();
        let mut first = 0;
        // Neighbors mostly have the same id: look it up once per run.
        for run in ids.chunk_by(|a, b| a == b) {
            let range = first..first + run.len();
            first = range.end;
            if run[0] == 0 {
                continue;
            }
            let object = sums.entry(run[0]).or_insert_with(|| ObjectSums {
                voxels: 0,
                output: vec![0.0; targets],
                mean_target: vec![0.0; targets],
            });
            let sum = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>();
            object.voxels += run.len() as u64;
            for c in 0..targets {
                object.output[c] += sum(&output(c)[range.clone()]);
                if let Some(mean_target) = mean_target(c) {
                    object.mean_target[c] += sum(&mean_target[range.clone()]);
                }
            }
        }
        sums
    }
}

/// The object with the largest value; the smallest id of several.
fn largest(sums: &HashMap<u64, ObjectSums>, value: impl Fn(&ObjectSums) -> f64) -> Option<u64> {
    let objects = sums.iter().map(|(id, sums)| (*id, value(sums)));
    // NaN is less than any number.
    let rank = |v: f64| if v.is_nan() { f64::NEG_INFINITY } else { v };
    let best = objects.max_by(|a, b| rank(a.1).total_cmp(&rank(b.1)).then(b.0.cmp(&a.0)));
    best.map(|(id, _)| id)
}

/// The sum of counts of a target.
fn merged(
    one: Option<AssignmentCounts>,
    other: Option<AssignmentCounts>,
) -> Option<AssignmentCounts> {
    let (Some(one), Some(other)) = (one, other) else {
        return one.or(other);
    };
    Some(AssignmentCounts {
        samples: one.samples + other.samples,
        left_out: one.left_out + other.left_out,
        correct: one.correct + other.correct,
        largest_object: one.largest_object + other.largest_object,
        mean_target: one.mean_target + other.mean_target,
        has_mean_target: one.has_mean_target,
    })
}

impl AssignmentCounts {
    /// Adds the counts of a batch.
    pub(super) fn add(sum: &mut Option<Self>, batch: Option<Self>) {
        *sum = merged(*sum, batch);
    }

    pub(super) fn scores(self) -> AssignmentScores {
        let fraction = |n: u64| (self.samples > 0).then(|| n as f64 / self.samples as f64);
        AssignmentScores {
            samples: self.samples,
            samples_left_out: self.left_out,
            accuracy: fraction(self.correct),
            largest_object: fraction(self.largest_object),
            mean_target: fraction(self.mean_target).filter(|_| self.has_mean_target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(objects: &[(u64, f64)]) -> HashMap<u64, ObjectSums> {
        let of = |value: f64| ObjectSums {
            voxels: 1,
            output: vec![value],
            mean_target: vec![value],
        };
        objects
            .iter()
            .map(|(id, value)| (*id, of(*value)))
            .collect()
    }

    #[test]
    fn the_largest_sum_wins_and_of_equal_sums_the_smallest_id() {
        let winner = |objects: &[(u64, f64)]| largest(&sums(objects), |o| o.output[0]);
        assert_eq!(winner(&[]), None);
        assert_eq!(winner(&[(7, 1.0), (3, 2.0), (u64::MAX, 1.5)]), Some(3));
        assert_eq!(winner(&[(7, 1.0), (3, 1.0), (5, 1.0)]), Some(3));
        assert_eq!(winner(&[(7, f64::NAN), (9, 0.0)]), Some(9));
    }

    #[test]
    fn a_sample_is_assigned_by_the_sums_over_its_own_objects_in_each_channel() {
        // Two samples, numbers 1 and 0 of the split, with two targets; 4 voxels each, of which the last is background.
        let batch = Batch {
            samples: vec![1, 0],
            ids: vec![5, 5, 7, 0, 7, 9, 9, 0],
            ..Batch::default()
        };
        // Object 7 has the largest value, object 5 the largest sum. The background has more than any object.
        let first = [0.4, 0.4, 0.6, 9.0];
        let second = [0.1, 0.1, 0.6, 9.0];
        let third = [0.9, 0.1, 0.1, 9.0];
        let fourth = [0.3, 0.2, 0.2, 9.0];
        let outputs = Outputs {
            batch: &batch,
            shape: [2, 2, 1, 1, 4],
            values: &[first, second, third, fourth].concat(),
        };
        let objects = |ids: &[u64]| {
            Some(SampleObjects {
                ids: ids.to_vec(),
                per_sample: 2,
            })
        };
        let assignment = Assignment {
            // Sample 0 has the objects 9 and 7, sample 1 has 5 alone in the first and 8 in the second target.
            objects: vec![objects(&[9, 7, 5, 0]), objects(&[9, 0, 8, 0])],
            mean_targets: Some(vec![0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
        };
        let counts = |i, sample| {
            let counts = assignment.count_sample(&outputs, i, sample);
            let numbers = |c: Option<AssignmentCounts>| {
                let c = c.unwrap();
                [
                    c.samples,
                    c.left_out,
                    c.correct,
                    c.largest_object,
                    c.mean_target,
                ]
            };
            counts.into_iter().map(numbers).collect::<Vec<_>>()
        };
        assert_eq!(counts(0, 1), [[1, 0, 1, 1, 0], [0, 1, 0, 0, 0]]);
        assert_eq!(counts(1, 0), [[1, 0, 1, 1, 1], [1, 0, 1, 1, 0]]);
    }

    #[test]
    fn scores_are_fractions_of_the_samples_with_an_object_in_the_window() {
        let mut sum = None;
        let batch = AssignmentCounts {
            samples: 4,
            left_out: 1,
            correct: 3,
            largest_object: 1,
            mean_target: 2,
            has_mean_target: false,
        };
        AssignmentCounts::add(&mut sum, Some(batch));
        AssignmentCounts::add(&mut sum, None);
        AssignmentCounts::add(&mut sum, Some(batch));
        let scores = sum.unwrap().scores();
        assert_eq!((scores.samples, scores.samples_left_out), (8, 2));
        assert_eq!(
            (scores.accuracy, scores.largest_object),
            (Some(0.75), Some(0.25))
        );
        assert_eq!(scores.mean_target, None);
        let empty = AssignmentCounts::default().scores();
        assert_eq!((empty.accuracy, empty.largest_object), (None, None));
    }
}

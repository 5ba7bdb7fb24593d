//! Evaluates a network on a split: loss and scores per channel, and pictures of samples.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use pointshard::trainer_api::{ContactSheet, Loader, MinNonzero, PictureRow, Reduction, Values};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{CModule, Device, Kind, TchError, Tensor};

use super::assignment::{Assignment, AssignmentCounts, AssignmentScores};
use super::device_batch::{DeviceBatch, DeviceBatches};
use super::error::TrainError;
use super::loss::{Loss, LossValue, constant_loss};
use super::metrics::{Scores, VoxelCounts};
use super::min_nonzero;
use super::model::Model;
use super::worst::{WorstSamples, error};

/// Maximum number of channels in a picture.
const SHOWN_CHANNELS: usize = 8;

/// The loss and the scores of a network on a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss over samples; null if every batch was skipped, or if there are no targets.
    pub loss: Option<f64>,
    /// Number of samples evaluated.
    pub samples: u64,
    /// Samples of batches that were skipped because of `min_nonzero`.
    pub samples_left_out: u64,
    /// Loss and scores of each target.
    pub channels: IndexMap<String, ChannelEvaluation>,
}

/// The loss and the scores of a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelEvaluation {
    /// Loss of the channel.
    pub loss: Option<f64>,
    /// The lowest loss that a constant prediction can reach. A network with a higher loss has learned nothing.
    pub constant_loss: Option<f64>,
    /// Scores of the voxels that count according to the mask.
    #[serde(flatten)]
    pub scores: Scores,
    /// How often the output selects the sample's object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<AssignmentScores>,
}

/// A network that computes logits from images.
#[derive(Debug)]
pub(super) enum Network<'m> {
    /// A network of this trainer.
    UNet(&'m Model),
    /// A TorchScript module.
    TorchScript(&'m CModule),
}

impl Network<'_> {
    pub(super) fn logits(&self, image: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::UNet(model) => model.forward(image, false),
            Self::TorchScript(module) => module.forward_ts(&[image])?.f_to_kind(Kind::Float),
        }
    }
}

/// Evaluates networks on the samples of a loader.
#[derive(Debug)]
pub(super) struct Evaluator<'a> {
    pub loader: &'a Loader,
    pub device: Device,
    /// Names of the targets; empty if there are none.
    pub targets: &'a [String],
    /// `None` if there are no targets.
    pub loss: Option<&'a Loss>,
    pub min_nonzero: MinNonzero,
    /// What objects to assign, if any.
    pub assignment: Option<&'a Assignment>,
    /// Maximum number of samples to evaluate.
    pub samples: u64,
    /// Number of samples to draw pictures of, spread over all samples.
    pub pictures: usize,
    /// Number of samples with the largest errors to draw pictures of; their pictures come first.
    pub worst: usize,
    /// nm per voxel along x; `None` if it is not the same for all samples.
    pub voxel_nm: Option<f64>,
}

/// A picture of a sample.
#[derive(Debug)]
pub(super) struct SamplePicture {
    /// Number of the sample in the split.
    pub sample: u64,
    pub row: PictureRow,
}

/// A batch with its predictions, on the CPU.
pub(super) struct PredictedBatch<'a> {
    pub batch: &'a DeviceBatch,
    /// `[batch, channel, z, y, x]`.
    pub shape: [usize; 5],
    /// Predictions from 0 to 1, in C order.
    pub probabilities: &'a [f32],
}

impl Evaluator<'_> {
    /// Evaluates `network` and calls `each` with every batch.
    pub(super) fn run(
        &self,
        network: &Network<'_>,
        mut each: impl FnMut(&PredictedBatch<'_>) -> Result<(), TrainError>,
    ) -> Result<(Evaluation, Vec<SamplePicture>), TrainError> {
        let _no_grad = tch::no_grad_guard();
        let samples = self.samples.min(self.loader.samples());
        let pictured: BTreeSet<u64> = (0..self.pictures as u64)
            .map(|k| k * samples / (self.pictures as u64).max(1))
            .collect();
        let mut sums = EvaluationSums::new(self.targets);
        let (mut rows, mut worst) = (Vec::new(), WorstSamples::new(self.worst));
        let mut done = 0;
        std::thread::scope(|scope| -> Result<(), TrainError> {
            let mut batches =
                DeviceBatches::start(scope, self.loader, self.device, (0, 0), Some(1));
            while done < samples
                && let Some(batch) = batches.next()?
            {
                let logits = network.logits(&batch.image)?;
                let probabilities = to_vec(&logits.f_sigmoid()?)?;
                let shape = shape5(&logits)?;
                let predicted = PredictedBatch {
                    batch: &batch,
                    shape,
                    probabilities: &probabilities,
                };
                each(&predicted)?;
                let mask = match self.loss {
                    Some(loss) => sums.add(self, loss, &logits, &predicted)?,
                    None => None,
                };
                for (i, &sample) in batch.samples.iter().enumerate() {
                    let error = mask.as_deref().map(|mask| error(&predicted, i, mask));
                    let picture = || {
                        let row = self.picture(&predicted, i, sample, mask.as_deref(), error);
                        SamplePicture { sample, row }
                    };
                    if pictured.contains(&(done + i as u64)) {
                        rows.push(picture());
                    }
                    if let Some(error) = error {
                        worst.add(error, picture);
                    }
                }
                done += batch.samples.len() as u64;
                self.loader.recycle(batch.batch);
            }
            Ok(())
        })?;
        let mut pictures: Vec<_> = worst.into_pictures().collect();
        rows.retain(|row| pictures.iter().all(|worst| worst.sample != row.sample));
        pictures.append(&mut rows);
        Ok((sums.evaluation(done), pictures))
    }

    fn picture(
        &self,
        predicted: &PredictedBatch<'_>,
        i: usize,
        sample: u64,
        mask: Option<&[f32]>,
        error: Option<f64>,
    ) -> PictureRow {
        let [_, channels, z, y, x] = predicted.shape;
        let (voxels, targets) = (z * y * x, self.targets.len());
        let shown = channels.min(SHOWN_CHANNELS);
        let batch = &predicted.batch.batch;
        let image_channels = batch.shape[1];
        let part = |i: usize, n: usize, c: usize| (i * n + c) * voxels..(i * n + c + 1) * voxels;
        let names = match targets {
            0 => (0..shown).map(|c| format!("channel {c}")).collect(),
            _ => self.targets.to_vec(),
        };
        let first_channel = part(i, image_channels, 0);
        let image: Vec<f32> = match &batch.image {
            Values::U8(bytes) => bytes[first_channel]
                .iter()
                .map(|v| f32::from(*v) / 255.0)
                .collect(),
            Values::F32(values) => values[first_channel].to_vec(),
        };
        let sheet = ContactSheet {
            shape: [z, y, x],
            voxel_nm: self.voxel_nm,
            image: &image,
            targets: (0..shown)
                .map(|c| (c < targets).then(|| &batch.targets[part(i, targets, c)]))
                .collect(),
            probabilities: (0..shown)
                .map(|c| &predicted.probabilities[part(i, channels, c)])
                .collect(),
            masks: (0..shown)
                .map(|c| mask.map(|m| &m[part(i, targets, c)]))
                .collect(),
            names,
            caption: {
                let error = error.map_or(String::new(), |e| format!(", error {e:.3}"));
                if shown < channels {
                    format!("sample {sample}{error}, the first {shown} of {channels} channels")
                } else {
                    format!("sample {sample}{error}")
                }
            },
        };
        PictureRow::from(&sheet)
    }
}

/// Sums over batches.
struct EvaluationSums {
    channels: IndexMap<String, ChannelSums>,
    loss: f64,
    /// Number of samples that count.
    counted: u64,
    /// Number of samples of skipped batches.
    skipped: u64,
}

/// Sums over the batches of a channel.
#[derive(Default)]
struct ChannelSums {
    loss: f64,
    /// Sums of [`LossValue::constants`].
    constants: [f64; 2],
    voxels: VoxelCounts,
    assignment: Option<AssignmentCounts>,
}

impl EvaluationSums {
    fn new(targets: &[String]) -> Self {
        let zero = |name: &String| (name.clone(), ChannelSums::default());
        Self {
            channels: targets.iter().map(zero).collect(),
            loss: 0.0,
            counted: 0,
            skipped: 0,
        }
    }

    /// Adds a batch. Returns its mask, or `None` if the batch is skipped.
    fn add(
        &mut self,
        evaluator: &Evaluator<'_>,
        loss: &Loss,
        logits: &Tensor,
        predicted: &PredictedBatch<'_>,
    ) -> Result<Option<Vec<f32>>, TrainError> {
        let batch = predicted.batch;
        let n = batch.samples.len() as u64;
        let mask = loss.mask(&batch.image, &batch.targets, batch.masks.as_ref())?;
        if !min_nonzero::is_reached(evaluator.min_nonzero, &batch.batch, loss, &mask)? {
            self.skipped += n;
            return Ok(None);
        }
        let LossValue {
            total,
            channels,
            constants,
            mask,
        } = loss.compute(logits, &batch.targets, mask)?;
        let mask = to_vec(&mask)?;
        // A sum is proportional to the batch size: a smaller last batch contributes as a fraction of a full one.
        let weight = match loss.reduction() {
            Reduction::Mean => n as f64,
            Reduction::Sum => evaluator.loader.batch_shape()[0] as f64,
        };
        self.loss += weight * total.f_double_value(&[])?;
        self.counted += n;
        let parts = channels.iter().zip(&constants);
        for (sums, (loss, constants)) in self.channels.values_mut().zip(parts) {
            sums.loss += weight * loss.f_double_value(&[])?;
            sums.constants[0] += weight * constants.f_double_value(&[0])?;
            sums.constants[1] += weight * constants.f_double_value(&[1])?;
        }
        self.count_voxels(predicted, &mask);
        if let Some(assignment) = evaluator.assignment {
            let counts = assignment.count(predicted);
            for (sums, counts) in self.channels.values_mut().zip(counts) {
                AssignmentCounts::add(&mut sums.assignment, counts);
            }
        }
        Ok(Some(mask))
    }

    fn count_voxels(&mut self, predicted: &PredictedBatch<'_>, mask: &[f32]) {
        let targets = self.channels.len();
        let voxels: usize = predicted.shape[2..].iter().product();
        let probabilities = predicted.probabilities;
        let batch = &predicted.batch.batch;
        let sums: Vec<_> = self.channels.values_mut().collect();
        sums.into_par_iter().enumerate().for_each(|(c, sums)| {
            for i in 0..batch.samples.len() {
                let part = (i * targets + c) * voxels..(i * targets + c + 1) * voxels;
                sums.voxels.add(
                    &probabilities[part.clone()],
                    &batch.targets[part.clone()],
                    Some(&mask[part]),
                );
            }
        });
    }

    fn evaluation(&self, samples: u64) -> Evaluation {
        let counted = self.counted as f64;
        let mean = |sum: f64| (self.counted > 0).then(|| sum / counted);
        let channel = |sums: &ChannelSums| ChannelEvaluation {
            loss: mean(sums.loss),
            constant_loss: (self.counted > 0)
                .then(|| constant_loss(sums.constants.map(|k| k / counted))),
            scores: sums.voxels.scores(),
            assignment: sums.assignment.map(AssignmentCounts::scores),
        };
        let channels = self.channels.iter();
        Evaluation {
            loss: mean(self.loss),
            samples,
            samples_left_out: self.skipped,
            channels: channels.map(|(n, c)| (n.clone(), channel(c))).collect(),
        }
    }
}

/// The values, in C order.
fn to_vec(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let tensor = tensor.f_contiguous()?;
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

fn shape5(tensor: &Tensor) -> Result<[usize; 5], TchError> {
    let (b, c, z, y, x) = tensor.size5()?;
    Ok([b, c, z, y, x].map(|n| n as usize))
}

//! Holding predictions against a split: loss and scores per channel, and pictures.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{CModule, Device, Kind, TchError, Tensor};

use super::config::MinNonzero;
use super::error::TrainError;
use super::feed::{Fed, Feed};
use super::loss::{Loss, LossValue, Reduction, constant_loss};
use super::metrics::{Scores, Tally};
use super::model::Model;
use crate::loader::{Loader, Values};
use crate::preview::PictureRow;
use crate::preview::View;

/// Most channels that a picture shows.
const DRAWN_CHANNELS: usize = 8;

/// What predictions of a split are worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The loss, averaged over samples; null where every batch was left out, or there is nothing to compare with.
    pub loss: Option<f64>,
    /// Samples that were looked at.
    pub samples: u64,
    /// Samples of batches that were left out for having too little in them.
    pub samples_left_out: u64,
    /// Of each target.
    pub channels: IndexMap<String, ChannelEvaluation>,
}

/// What predictions of a channel are worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelEvaluation {
    /// The channel's loss.
    pub loss: Option<f64>,
    /// The least loss that one and the same prediction everywhere could reach: who is not below has learnt nothing.
    pub constant_loss: Option<f64>,
    /// Scores under the mask.
    #[serde(flatten)]
    pub scores: Scores,
}

/// Something that makes logits out of images.
#[derive(Debug)]
pub(super) enum Network<'m> {
    /// One of ours.
    Ours(&'m Model),
    /// A TorchScript module.
    Script(&'m CModule),
}

impl Network<'_> {
    pub(super) fn logits(&self, image: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Ours(model) => model.forward(image, false),
            Self::Script(module) => module.forward_ts(&[image])?.f_to_kind(Kind::Float),
        }
    }
}

/// What an evaluation looks at.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub loader: &'a Loader,
    pub device: Device,
    /// Names of the channels; empty where predictions are held against nothing.
    pub targets: &'a [String],
    /// None where predictions are held against nothing.
    pub loss: Option<&'a Loss>,
    pub min_nonzero: MinNonzero,
    /// Most samples to look at.
    pub samples: u64,
    /// Number of samples to draw.
    pub pictures: usize,
}

/// A sample that was drawn.
#[derive(Debug)]
pub(super) struct Drawn {
    /// Its number in the split.
    pub sample: u64,
    pub row: PictureRow,
}

/// A batch on the CPU, with what the network made of it.
pub(super) struct Predicted<'a> {
    pub fed: &'a Fed,
    /// `[batch, channel, z, y, x]`.
    pub shape: [usize; 5],
    /// From 0 to 1, in C order.
    pub probabilities: &'a [f32],
}

impl Judge<'_> {
    /// Evaluates `network`; `each` sees every batch.
    pub(super) fn run(
        &self,
        network: &Network<'_>,
        mut each: impl FnMut(&Predicted<'_>) -> Result<(), TrainError>,
    ) -> Result<(Evaluation, Vec<Drawn>), TrainError> {
        let _no_grad = tch::no_grad_guard();
        let samples = self.samples.min(self.loader.samples());
        let drawn: BTreeSet<u64> = (0..self.pictures as u64)
            .map(|k| k * samples / (self.pictures as u64).max(1))
            .collect();
        let mut sums = Sums::new(self.targets);
        let mut rows = Vec::new();
        let mut seen = 0;
        std::thread::scope(|scope| -> Result<(), TrainError> {
            let mut feed = Feed::start(scope, self.loader, self.device, (0, 0), Some(1));
            while seen < samples
                && let Some(fed) = feed.next()?
            {
                let logits = network.logits(&fed.image)?;
                let probabilities = to_vec(&logits.f_sigmoid()?)?;
                let shape = five(&logits)?;
                let predicted = Predicted {
                    fed: &fed,
                    shape,
                    probabilities: &probabilities,
                };
                each(&predicted)?;
                let mask = match self.loss {
                    Some(loss) => sums.add(self, loss, &logits, &predicted)?,
                    None => None,
                };
                for (i, &sample) in fed.samples.iter().enumerate() {
                    if drawn.contains(&(seen + i as u64)) {
                        let row = self.row(&predicted, i, sample, mask.as_deref());
                        rows.push(Drawn { sample, row });
                    }
                }
                seen += fed.samples.len() as u64;
                self.loader.recycle(fed.batch);
            }
            Ok(())
        })?;
        Ok((sums.evaluation(seen), rows))
    }

    fn row(
        &self,
        predicted: &Predicted<'_>,
        i: usize,
        sample: u64,
        mask: Option<&[f32]>,
    ) -> PictureRow {
        let [_, channels, z, y, x] = predicted.shape;
        let (voxels, targets) = (z * y * x, self.targets.len());
        let drawn = channels.min(DRAWN_CHANNELS);
        let batch = &predicted.fed.batch;
        let image_channels = batch.shape[1];
        let part = |i: usize, n: usize, c: usize| (i * n + c) * voxels..(i * n + c + 1) * voxels;
        let names = match targets {
            0 => (0..drawn).map(|c| format!("channel {c}")).collect(),
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
        let view = View {
            shape: [z, y, x],
            image: &image,
            targets: (0..drawn)
                .map(|c| (c < targets).then(|| &batch.targets[part(i, targets, c)]))
                .collect(),
            probabilities: (0..drawn)
                .map(|c| &predicted.probabilities[part(i, channels, c)])
                .collect(),
            masks: (0..drawn)
                .map(|c| mask.map(|m| &m[part(i, targets, c)]))
                .collect(),
            names,
            caption: match drawn < channels {
                true => format!("sample {sample}, the first {drawn} of {channels} channels"),
                false => format!("sample {sample}"),
            },
        };
        PictureRow::from(&view)
    }
}

/// Losses and tallies over batches.
struct Sums {
    channels: IndexMap<String, (f64, [f64; 2], Tally)>,
    loss: f64,
    counted: u64,
    left_out: u64,
}

impl Sums {
    fn new(targets: &[String]) -> Self {
        let zero = |name: &String| (name.clone(), (0.0, [0.0; 2], Tally::default()));
        Self {
            channels: targets.iter().map(zero).collect(),
            loss: 0.0,
            counted: 0,
            left_out: 0,
        }
    }

    /// Adds a batch; gives back the mask under which it counted.
    fn add(
        &mut self,
        judge: &Judge<'_>,
        loss: &Loss,
        logits: &Tensor,
        predicted: &Predicted<'_>,
    ) -> Result<Option<Vec<f32>>, TrainError> {
        let fed = predicted.fed;
        let n = fed.samples.len() as u64;
        let mask = loss.mask(&fed.image, &fed.targets, fed.masks.as_ref())?;
        if !enough(judge.min_nonzero, fed, &mask)? {
            self.left_out += n;
            return Ok(None);
        }
        let LossValue {
            total,
            channels,
            constants,
            mask,
        } = loss.of(logits, &fed.targets, mask)?;
        let mask = to_vec(&mask)?;
        // A sum grows with the batch: that of a smaller, last one counts as it is, in units of full ones.
        let weight = match loss.reduction() {
            Reduction::Mean => n as f64,
            Reduction::Sum => judge.loader.batch_shape()[0] as f64,
        };
        self.loss += weight * total.f_double_value(&[])?;
        self.counted += n;
        let targets = self.channels.len();
        let voxels: usize = predicted.shape[2..].iter().product();
        let probabilities = predicted.probabilities;
        let parts = channels.iter().zip(&constants);
        for ((sum, constant, _), (loss, k)) in self.channels.values_mut().zip(parts) {
            *sum += weight * loss.f_double_value(&[])?;
            constant[0] += weight * k.f_double_value(&[0])?;
            constant[1] += weight * k.f_double_value(&[1])?;
        }
        let tallies: Vec<_> = self.channels.values_mut().map(|(_, _, t)| t).collect();
        let batch = &fed.batch;
        tallies.into_par_iter().enumerate().for_each(|(c, tally)| {
            for i in 0..batch.samples.len() {
                let part = (i * targets + c) * voxels..(i * targets + c + 1) * voxels;
                tally.add(
                    &probabilities[part.clone()],
                    &batch.targets[part.clone()],
                    Some(&mask[part]),
                );
            }
        });
        Ok(Some(mask))
    }

    fn evaluation(&self, samples: u64) -> Evaluation {
        let counted = self.counted as f64;
        let mean = |sum: f64| (self.counted > 0).then(|| sum / counted);
        let channel = |(loss, constant, tally): &(f64, [f64; 2], Tally)| ChannelEvaluation {
            loss: mean(*loss),
            constant_loss: mean(1.0).map(|_| constant_loss(constant.map(|k| k / counted))),
            scores: tally.scores(),
        };
        let channels = self.channels.iter();
        Evaluation {
            loss: mean(self.loss),
            samples,
            samples_left_out: self.left_out,
            channels: channels.map(|(n, c)| (n.clone(), channel(c))).collect(),
        }
    }
}

/// Whether there is enough in the batch, which counts under `mask`, for it to count.
pub(super) fn enough(least: MinNonzero, fed: &Fed, mask: &Tensor) -> Result<bool, TchError> {
    if least.image > 0.0 && fed.nonzero_fraction() < least.image {
        return Ok(false);
    }
    // Asking for the mask's waits for the device.
    if least.mask > 0.0 {
        let counted = mask.f_count_nonzero(None)?.f_int64_value(&[])?;
        return Ok(counted as f64 >= least.mask * mask.numel() as f64);
    }
    Ok(true)
}

/// The values, in C order.
fn to_vec(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let tensor = tensor.f_contiguous()?;
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

fn five(tensor: &Tensor) -> Result<[usize; 5], TchError> {
    let (b, c, z, y, x) = tensor.size5()?;
    Ok([b, c, z, y, x].map(|n| n as usize))
}

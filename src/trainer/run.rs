//! Runs a training from its first step or its last checkpoint to its last step.

mod loaders;
mod pending;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pointshard::Dataset;
use pointshard::trainer_api::{Precision, TrainConfig};
use tch::{Device, Kind, Tensor};

use super::atomic_write::write_atomic;
use super::average::AverageWeights;
use super::checkpoint::{self, BestValidation, Checkpoint, Header};
use super::device_batch::{DeviceBatch, DeviceBatches};
use super::error::TrainError;
use super::evaluate::{Evaluation, Evaluator, Network};
use super::history::{History, HistoryEntry, StepEntry, ValidationEntry};
use super::loss::Loss;
use super::model::Model;
use super::optimizer::{Optimizer, clip_gradients};
use super::report::{self, TrainingFacts};
use super::run_folder::RunFolder;
use super::step_record::StepRecord;
use super::{device, export, min_nonzero};
use loaders::Loaders;
pub(super) use loaders::voxel_nm;
use pending::{PendingStep, fetch_losses, stacked};

/// How to run a training.
#[derive(Clone, Copy, Debug)]
pub struct TrainOptions<'a> {
    /// The run folder.
    pub folder: &'a Path,
    /// Whether to overwrite another training in the folder.
    pub force: bool,
    /// Number of steps, from the first on, to record: inputs, outputs and gradients.
    pub record: u64,
    /// A checkpoint whose weights a new training starts from.
    pub initial_weights: Option<&'a Path>,
}

/// The progress of a training, updated while it runs.
#[derive(Debug, Default)]
pub struct TrainProgress {
    /// Number of steps in total.
    pub steps_total: AtomicU64,
    /// Number of steps done, including those of earlier runs.
    pub steps_done: AtomicU64,
    /// Number of samples processed in this run.
    pub samples: AtomicU64,
    /// Time spent waiting for data, in microseconds.
    pub waited_us: AtomicU64,
    /// Time spent training without validation, in microseconds.
    pub spent_us: AtomicU64,
    /// Bits of the latest known loss, an f64; 0 before the first one.
    pub loss_bits: AtomicU64,
}

/// The outcome of a training.
#[derive(Clone, Debug)]
pub struct TrainOutcome {
    /// Number of steps done, including those of earlier runs.
    pub steps: u64,
    /// The step from which this run resumed; 0 for a new training.
    pub resumed_from: u64,
    /// Number of steps of this run that were skipped because of `min_nonzero`.
    pub skipped_steps: u64,
    /// Number of learned values.
    pub weights: u64,
    /// The step with the best weights.
    pub best_step: u64,
    /// Whether the training ended before its last step, because `patience` validations had no lower loss.
    pub stopped_early: bool,
    /// The evaluation of the best weights.
    pub evaluation: Evaluation,
    /// Whether an ONNX model was written: not if the weights are too many for the format.
    pub has_onnx: bool,
    /// Samples per second of this run, without validation.
    pub samples_per_s: f64,
    /// Fraction of that time spent waiting for data.
    pub data_wait: f64,
}

/// Interval, in steps, at which losses are fetched from the device.
const FETCH_EVERY: u64 = 10;
/// Number of samples shown in the report and in TensorBoard.
const PICTURES: usize = 6;
/// Number of samples with the largest errors that the report shows first.
const WORST: usize = 6;

/// Trains on `dataset` according to `config`.
pub fn train(
    dataset: &Dataset,
    config: &TrainConfig,
    options: TrainOptions<'_>,
    progress: &TrainProgress,
) -> Result<TrainOutcome, TrainError> {
    let device = device::available(&config.device).map_err(|p| TrainError::config("device", p))?;
    let loaders = Loaders::open(dataset, config)?;
    if options.record > 0 && config.accumulate > 1 {
        let problem = format!("found {}, expected 1 to record steps", config.accumulate);
        return Err(TrainError::config("accumulate", problem));
    }
    let folder = RunFolder::open(options.folder)?;
    let digest = &dataset.manifest().digest;
    // Read them first: they may be those of the training that `force` deletes.
    let given = (options.initial_weights)
        .filter(|_| folder.starts_anew(options.force))
        .map(|path| initial_weights(path, config, device));
    let given = given.transpose()?;
    let checkpoint = folder.checkpoint(config, digest, options.force)?;
    let mut run = Run::start(config, &folder, checkpoint, &loaders, device, digest)?;
    if let Some(model) = given {
        run.start_from(model)?;
    }
    let first = run.step;
    progress.steps_total.store(config.steps, Ordering::Relaxed);
    progress.steps_done.store(first, Ordering::Relaxed);
    let times = run.train(options.record, progress)?;
    if run.optimizer.steps() == 0 {
        let problem = "nothing was learned: all batches are below this minimum";
        return Err(TrainError::config("min_nonzero", problem));
    }
    let finished = run.finish(dataset)?;
    Ok(TrainOutcome {
        steps: run.step,
        resumed_from: first,
        skipped_steps: times.skipped_steps,
        weights: run.model.size(),
        best_step: finished.best_step,
        stopped_early: run.step < config.steps,
        evaluation: finished.evaluation,
        has_onnx: finished.has_onnx,
        samples_per_s: times.samples as f64 / times.spent.as_secs_f64().max(1e-9),
        data_wait: times.waited.as_secs_f64() / times.spent.as_secs_f64().max(1e-9),
    })
}

/// The network with the weights in the checkpoint `path`.
fn initial_weights(path: &Path, config: &TrainConfig, device: Device) -> Result<Model, TrainError> {
    let checkpoint = Checkpoint::read(path)?;
    if checkpoint.header.config.model != config.model {
        let problem = "its network is another one: expected the same `model` as in the config";
        return Err(TrainError::file(path, problem));
    }
    checkpoint.model(path, device)
}

struct Run<'a> {
    config: &'a TrainConfig,
    folder: &'a RunFolder,
    loaders: &'a Loaders,
    device: Device,
    digest: &'a str,
    model: Model,
    optimizer: Optimizer,
    average: Option<AverageWeights>,
    loss: Loss,
    history: History,
    step: u64,
    /// The last step that changed the weights.
    changed_at: u64,
    best: Option<BestValidation>,
}

/// What is known at the end of a training.
struct Finished {
    evaluation: Evaluation,
    best_step: u64,
    has_onnx: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct StepTimes {
    samples: u64,
    /// Time spent training.
    spent: Duration,
    /// Part of it spent waiting for data.
    waited: Duration,
    skipped_steps: u64,
}

impl<'a> Run<'a> {
    fn start(
        config: &'a TrainConfig,
        folder: &'a RunFolder,
        checkpoint: Option<Checkpoint>,
        loaders: &'a Loaders,
        device: Device,
        digest: &'a str,
    ) -> Result<Self, TrainError> {
        let (mut model, optimizer, average, step, best) = match checkpoint {
            Some(checkpoint) => {
                let model = checkpoint.model(&folder.last(), device)?;
                let optimizer = checkpoint.optimizer(&model, device)?;
                let average = |decay| checkpoint.average(decay, &model, device);
                let average = config.ema_decay.map(average).transpose()?;
                let header = checkpoint.header;
                (model, optimizer, average, header.step, header.best)
            }
            None => {
                let model = Model::new(&config.model, config.seed, device)?;
                let average = |decay| AverageWeights::new(decay, &model);
                let average = config.ema_decay.map(average).transpose()?;
                (model, Optimizer::new(&config.optimizer), average, 0, None)
            }
        };
        model.set_kind(convolution_kind(config));
        let [_, _, z, y, x] = loaders.train.batch_shape();
        Ok(Self {
            loss: Loss::new(
                &config.loss,
                [z, y, x].map(|n| n as i64),
                &loaders.train.data_channels(),
                device,
            )?,
            history: History::resume(folder.root(), step)?,
            config,
            folder,
            loaders,
            device,
            digest,
            model,
            optimizer,
            average,
            step,
            changed_at: step,
            best,
        })
    }

    /// Starts from the weights of another training.
    fn start_from(&mut self, model: Model) -> Result<(), TrainError> {
        self.model = model;
        self.model.set_kind(convolution_kind(self.config));
        if let Some(decay) = self.config.ema_decay {
            self.average = Some(AverageWeights::new(decay, &self.model)?);
        }
        Ok(())
    }

    /// Whether the training ends now, because `patience` validations had no lower loss.
    fn is_out_of_patience(&self) -> bool {
        let interval = self.config.validation_interval;
        let (Some(patience), Some(best)) = (self.config.patience, self.best) else {
            return false;
        };
        // The best weights may be those after the last step of an earlier run, which need not be a multiple.
        let validations = self.step / interval - best.step / interval;
        self.step.is_multiple_of(interval) && validations >= patience
    }

    /// Runs the remaining steps.
    fn train(&mut self, record: u64, progress: &TrainProgress) -> Result<StepTimes, TrainError> {
        let loader = &self.loaders.train;
        let batches = loader.batches_per_epoch().max(1) as u64;
        let first = self.step * self.config.accumulate;
        let from = (first / batches, (first % batches) as usize);
        std::thread::scope(|scope| {
            let mut batches = DeviceBatches::start(scope, loader, self.device, from, None);
            let mut times = StepTimes::default();
            let (mut pending, mut fetched) = (Vec::new(), times);
            while self.step < self.config.steps && !self.is_out_of_patience() {
                let start = Instant::now();
                let waited = batches.waited();
                self.step += 1;
                let mut counted = Vec::new();
                for _ in 0..self.config.accumulate {
                    let Some(batch) = batches.next()? else {
                        return Err(TrainError::config("splits.train", "the split has no batch"));
                    };
                    counted.extend(self.accumulate(&batch, self.step <= record)?);
                    times.samples += batch.samples.len() as u64;
                    loader.recycle(batch.batch);
                }
                times.waited += batches.waited() - waited;
                let losses = self.update(&counted)?;
                times.skipped_steps += u64::from(losses.is_none());
                pending.push(PendingStep {
                    step: self.step,
                    losses,
                });
                let validates = self.step.is_multiple_of(self.config.validation_interval)
                    || self.step == self.config.steps;
                if validates || self.step.is_multiple_of(FETCH_EVERY) {
                    // Fetching waits for the device, so the time up to here is the time of the steps.
                    let losses = fetch_losses(&pending)?;
                    times.spent += start.elapsed();
                    self.log(&pending, &losses, times.since(fetched), progress)?;
                    pending.clear();
                    fetched = times;
                } else {
                    times.spent += start.elapsed();
                }
                progress.update(self.step, times);
                if validates {
                    self.validate()?;
                }
            }
            Ok(times)
        })
    }

    /// Adds the gradients of a batch and returns its losses; `None` if the batch is below `min_nonzero`. With `record`, saves
    /// inputs, outputs and gradients, and the weights after a step, which then is made at once.
    fn accumulate(
        &mut self,
        batch: &DeviceBatch,
        record: bool,
    ) -> Result<Option<Tensor>, TrainError> {
        let mask = self
            .loss
            .mask(&batch.image, &batch.targets, batch.masks.as_ref())?;
        let least = self.config.min_nonzero;
        if !min_nonzero::is_reached(least, &batch.batch, &self.loss, &mask)? {
            return Ok(None);
        }
        let mut record = if record {
            Some(StepRecord::new(&self.model, batch)?)
        } else {
            None
        };
        let logits = self.model.forward(&batch.image, true)?;
        let loss = self.loss.compute(&logits, &batch.targets, mask)?;
        let batches = self.config.accumulate as f64;
        (loss.total.f_div_scalar(batches)?).f_backward()?;
        if let Some(record) = &mut record {
            record.add_outputs(&logits, &loss, &self.config.targets, &self.model)?;
        }
        if let Some(record) = record {
            self.change_weights()?;
            record.write(&self.folder.step(self.step)?, &self.model)?;
        }
        Ok(Some(stacked(&loss)?))
    }

    /// Makes a step with the gradients of the batches that counted, unless it was made for a record. Returns the mean of
    /// their losses; `None` if no batch counted.
    fn update(&mut self, counted: &[Tensor]) -> Result<Option<Tensor>, TrainError> {
        if counted.is_empty() {
            return Ok(None);
        }
        if self.changed_at < self.step {
            self.change_weights()?;
        }
        let losses = Tensor::f_stack(counted, 0)?;
        Ok(Some(losses.f_mean_dim(&[0i64][..], false, Kind::Float)?))
    }

    fn change_weights(&mut self) -> Result<(), TrainError> {
        if let Some(norm) = self.config.clip_gradients {
            clip_gradients(self.model.learned(), norm)?;
        }
        let lr = self.config.schedule.lr(self.config.optimizer.lr, self.step);
        self.optimizer.step(self.model.learned(), lr)?;
        self.changed_at = self.step;
        if let Some(average) = &mut self.average {
            average.add(&self.model, self.optimizer.steps())?;
        }
        Ok(())
    }

    /// The network to validate: that of the averaged weights, if they are averaged.
    fn validated(&self) -> Result<Option<Model>, TrainError> {
        let average = self.average.as_ref();
        Ok(average
            .map(|a| a.model(&self.model, self.device))
            .transpose()?)
    }

    /// Adds steps to the history.
    fn log(
        &mut self,
        pending: &[PendingStep],
        losses: &[Option<Vec<f64>>],
        times: StepTimes,
        progress: &TrainProgress,
    ) -> Result<(), TrainError> {
        let seconds = times.spent.as_secs_f64().max(1e-9);
        for (step, losses) in pending.iter().zip(losses) {
            let (total, channels) = match losses.as_deref() {
                Some([total, channels @ ..]) => (Some(*total), channels),
                _ => (None, &[][..]),
            };
            if let Some(total) = total {
                progress.loss_bits.store(total.to_bits(), Ordering::Relaxed);
            }
            if let Some(&loss) = losses.iter().flatten().find(|l| !l.is_finite()) {
                return Err(TrainError::Diverged {
                    of: "training",
                    step: step.step,
                    loss,
                });
            }
            let names = self.config.targets.iter().cloned();
            self.history.add(HistoryEntry::Train(StepEntry {
                step: step.step,
                loss: total,
                channels: names.zip(channels.iter().copied()).collect(),
                lr: self.config.schedule.lr(self.config.optimizer.lr, step.step),
                samples_per_s: times.samples as f64 / seconds,
                data_wait: times.waited.as_secs_f64() / seconds,
            }))?;
        }
        Ok(())
    }

    fn evaluator(&self, worst: usize) -> Evaluator<'_> {
        Evaluator {
            worst,
            voxel_nm: self.loaders.voxel_nm,
            loader: &self.loaders.val,
            device: self.device,
            targets: &self.config.targets,
            loss: Some(&self.loss),
            min_nonzero: self.config.min_nonzero,
            assignment: self.loaders.assignment.as_ref(),
            samples: self.config.validation_samples.unwrap_or(u64::MAX),
            pictures: PICTURES,
        }
    }

    /// Validates and saves the weights.
    fn validate(&mut self) -> Result<(), TrainError> {
        let step = self.step;
        let average = self.validated()?;
        let model = average.as_ref().unwrap_or(&self.model);
        let network = Network::UNet(model);
        let (evaluation, pictures) = self.evaluator(0).run(&network, |_| Ok(()))?;
        let loss = evaluation.loss;
        if let Some(loss) = loss.filter(|l| !l.is_finite()) {
            let of = "validation";
            return Err(TrainError::Diverged { of, step, loss });
        }
        let entry = ValidationEntry { step, evaluation };
        self.history.add(HistoryEntry::Validation(entry))?;
        for picture in &pictures {
            let name = format!("samples/{}", picture.sample);
            self.history.picture(step, &name, &picture.row.picture)?;
        }
        self.history.flush()?;
        let is_better = |loss: &f64| self.best.is_none_or(|best| *loss < best.loss);
        if let Some(loss) = loss.filter(is_better) {
            self.best = Some(BestValidation { step, loss });
            let header = Header::new(self.config, self.digest, step, self.best);
            checkpoint::write(&self.folder.best(), &header, model, None, None)?;
        }
        let header = Header::new(self.config, self.digest, step, self.best);
        let (optimizer, average) = (Some(&self.optimizer), self.average.as_ref());
        checkpoint::write(
            &self.folder.last(),
            &header,
            &self.model,
            optimizer,
            average,
        )
    }

    /// Evaluates the best weights, exports them, and writes the report.
    fn finish(&mut self, dataset: &Dataset) -> Result<Finished, TrainError> {
        let (mut model, header) = match self.best {
            // All validation batches were skipped: use the last weights.
            None => {
                let header = Header::new(self.config, self.digest, self.step, None);
                (self.validated()?, header)
            }
            Some(_) => {
                let path = self.folder.best();
                let checkpoint = Checkpoint::read(&path)?;
                let model = checkpoint.model(&path, self.device)?;
                (Some(model), checkpoint.header)
            }
        };
        if let Some(model) = &mut model {
            model.set_kind(convolution_kind(self.config));
        }
        let model = model.as_ref().unwrap_or(&self.model);
        let network = Network::UNet(model);
        let (evaluation, pictures) = self.evaluator(WORST).run(&network, |_| Ok(()))?;
        let [_, channels, z, y, x] = self.loaders.train.batch_shape();
        let window = [channels, z, y, x].map(|n| n as i64);
        export::torchscript::write(&self.folder.module(), model, window)?;
        let has_onnx = export::onnx::write(&self.folder.onnx(), model, &header)?;
        let facts = TrainingFacts {
            config: self.config,
            dataset,
            weights: model.size(),
            steps: self.step,
            best_step: header.step,
        };
        let rows = pictures.into_iter().map(|picture| picture.row).collect();
        let report = report::report(&facts, &self.history.entries, &evaluation, rows);
        write_atomic(&self.folder.report(), report.html().as_bytes())?;
        Ok(Finished {
            evaluation,
            best_step: header.step,
            has_onnx,
        })
    }
}

impl StepTimes {
    fn since(self, earlier: Self) -> Self {
        Self {
            samples: self.samples - earlier.samples,
            spent: self.spent - earlier.spent,
            waited: self.waited - earlier.waited,
            skipped_steps: self.skipped_steps - earlier.skipped_steps,
        }
    }
}

impl TrainProgress {
    fn update(&self, step: u64, times: StepTimes) {
        let us = |d: Duration| d.as_micros() as u64;
        self.steps_done.store(step, Ordering::Relaxed);
        self.samples.store(times.samples, Ordering::Relaxed);
        self.waited_us.store(us(times.waited), Ordering::Relaxed);
        self.spent_us.store(us(times.spent), Ordering::Relaxed);
    }
}

/// Data type of convolutions.
fn convolution_kind(config: &TrainConfig) -> Kind {
    match config.precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}

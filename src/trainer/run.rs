//! Runs a training from its first step or its last checkpoint to its last step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tch::{Cuda, Device, Kind, Tensor};

use super::atomic_write::write_atomic;
use super::checkpoint::{self, BestValidation, Checkpoint, Header};
use super::config::{Precision, TrainConfig};
use super::device_batch::{DeviceBatch, DeviceBatches};
use super::error::TrainError;
use super::evaluate::{Evaluation, Evaluator, Network, has_min_nonzero};
use super::history::{History, HistoryEntry, StepEntry, ValidationEntry};
use super::loss::{Loss, LossValue};
use super::model::Model;
use super::optimizer::Optimizer;
use super::report::{self, TrainingFacts};
use super::run_folder::RunFolder;
use super::step_record::StepRecord;
use super::{device, export};
use crate::dataset::Dataset;
use crate::loader::{ArrayNames, Augmentation, Crop, Loader, LoaderOptions};

/// How to run a training.
#[derive(Clone, Copy, Debug)]
pub struct TrainOptions<'a> {
    /// The run folder.
    pub folder: &'a std::path::Path,
    /// Whether to overwrite another training in the folder.
    pub force: bool,
    /// Number of steps, from the first on, to record: inputs, outputs and gradients.
    pub record: u64,
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
    /// The evaluation of the best weights.
    pub evaluation: Evaluation,
    /// Samples per second of this run, without validation.
    pub samples_per_s: f64,
    /// Fraction of that time spent waiting for data.
    pub data_wait: f64,
}

/// Interval, in steps, at which losses are fetched from the device.
const FETCH_EVERY: u64 = 10;
/// Number of samples shown in the report and in TensorBoard.
const PICTURES: usize = 6;

/// Trains on `dataset` according to `config`.
pub fn train(
    dataset: &Dataset,
    config: &TrainConfig,
    options: TrainOptions<'_>,
    progress: &TrainProgress,
) -> Result<TrainOutcome, TrainError> {
    let device = device::available(&config.device).map_err(|p| TrainError::config("device", p))?;
    let loaders = Loaders::open(dataset, config)?;
    let folder = RunFolder::open(options.folder)?;
    let digest = &dataset.manifest().digest;
    let checkpoint = folder.checkpoint(config, digest, options.force)?;
    let mut run = Run::start(config, &folder, checkpoint, &loaders, device, digest)?;
    let first = run.step;
    progress.steps_total.store(config.steps, Ordering::Relaxed);
    progress.steps_done.store(first, Ordering::Relaxed);
    let times = run.train(options.record, progress)?;
    if run.optimizer.steps() == 0 {
        let problem = "nothing was learned: all batches are below this minimum";
        return Err(TrainError::config("min_nonzero", problem));
    }
    let (evaluation, best) = run.finish(dataset)?;
    Ok(TrainOutcome {
        steps: run.step,
        resumed_from: first,
        skipped_steps: times.skipped_steps,
        weights: run.model.size(),
        best_step: best,
        evaluation,
        samples_per_s: times.samples as f64 / times.spent.as_secs_f64().max(1e-9),
        data_wait: times.waited.as_secs_f64() / times.spent.as_secs_f64().max(1e-9),
    })
}

/// The loaders of both splits.
struct Loaders {
    train: Loader,
    val: Loader,
}

impl Loaders {
    fn open(dataset: &Dataset, config: &TrainConfig) -> Result<Self, TrainError> {
        let arrays = ArrayNames::with_masks(dataset, &config.image, &config.targets);
        let split_samples = |name: &str| dataset.manifest().splits.get(name).map(|s| s.samples);
        let options = LoaderOptions {
            prefetch: config.prefetch,
            seed: config.seed,
            shuffle: true,
            // A split smaller than a batch is still trained on.
            drop_last: split_samples(&config.splits.train) >= Some(config.batch_size as u64),
            crop: config.crop.clone(),
            augmentation: config.augmentation,
            ..LoaderOptions::in_order(config.batch_size, config.workers)
        };
        let train = Loader::open(dataset, &config.splits.train, &arrays, options.clone())?;
        let centered = |crop: &Crop| Crop {
            window: crop.window,
            jitter: [0; 3],
        };
        let options = LoaderOptions {
            // A subset must not come from the first boxes only.
            shuffle: config.validation_samples.is_some(),
            drop_last: false,
            crop: config.crop.as_ref().map(centered),
            augmentation: Augmentation::default(),
            ..options
        };
        let val = Loader::open(dataset, &config.splits.val, &arrays, options)?;
        for (path, loader) in [("splits.train", &train), ("splits.val", &val)] {
            if loader.samples() == 0 {
                return Err(TrainError::config(path, "the split has no samples"));
            }
        }
        let [_, channels, z, y, x] = train.batch_shape();
        if let Some((path, problem)) = config.model.problem_with(channels, [z, y, x]) {
            return Err(TrainError::config(path, problem));
        }
        if let Some((path, problem)) = config.loss.problem_with([z, y, x]) {
            return Err(TrainError::config(path, problem));
        }
        Ok(Self { train, val })
    }
}

struct Run<'a> {
    config: &'a TrainConfig,
    folder: &'a RunFolder,
    loaders: &'a Loaders,
    device: Device,
    digest: &'a str,
    model: Model,
    optimizer: Optimizer,
    loss: Loss,
    history: History,
    step: u64,
    best: Option<BestValidation>,
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

/// A step whose losses are not yet fetched from the device.
struct PendingStep {
    step: u64,
    /// Total, then channels; `None` if the step was skipped.
    losses: Option<Tensor>,
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
        let (mut model, optimizer, step, best) = match checkpoint {
            Some(checkpoint) => {
                let model = checkpoint.model(&folder.last(), device)?;
                let optimizer = checkpoint.optimizer(&model, device)?;
                let header = checkpoint.header;
                (model, optimizer, header.step, header.best)
            }
            None => {
                let model = Model::new(&config.model, config.seed, device)?;
                (model, Optimizer::new(&config.optimizer), 0, None)
            }
        };
        model.set_kind(convolution_kind(config));
        let [_, _, z, y, x] = loaders.train.batch_shape();
        Ok(Self {
            loss: Loss::new(&config.loss, [z, y, x].map(|n| n as i64), device)?,
            history: History::resume(folder.root(), step)?,
            config,
            folder,
            loaders,
            device,
            digest,
            model,
            optimizer,
            step,
            best,
        })
    }

    /// Runs the remaining steps.
    fn train(&mut self, record: u64, progress: &TrainProgress) -> Result<StepTimes, TrainError> {
        let loader = &self.loaders.train;
        let batches = loader.batches_per_epoch().max(1) as u64;
        let from = (self.step / batches, (self.step % batches) as usize);
        std::thread::scope(|scope| {
            let mut batches = DeviceBatches::start(scope, loader, self.device, from, None);
            let mut times = StepTimes::default();
            let (mut pending, mut fetched) = (Vec::new(), times);
            while self.step < self.config.steps {
                let start = Instant::now();
                let waited = batches.waited();
                let Some(batch) = batches.next()? else {
                    return Err(TrainError::config("splits.train", "the split has no batch"));
                };
                times.waited += batches.waited() - waited;
                self.step += 1;
                let losses = self.step_on(&batch, self.step <= record)?;
                times.skipped_steps += u64::from(losses.is_none());
                times.samples += batch.samples.len() as u64;
                pending.push(PendingStep {
                    step: self.step,
                    losses,
                });
                loader.recycle(batch.batch);
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

    /// Runs a step and returns its losses; `None` if the batch is below `min_nonzero`. With `record`, saves inputs, outputs
    /// and gradients.
    fn step_on(&mut self, batch: &DeviceBatch, record: bool) -> Result<Option<Tensor>, TrainError> {
        let mask = self
            .loss
            .mask(&batch.image, &batch.targets, batch.masks.as_ref())?;
        if !has_min_nonzero(self.config.min_nonzero, batch, &mask)? {
            return Ok(None);
        }
        let mut record = if record {
            Some(StepRecord::new(&self.model, batch)?)
        } else {
            None
        };
        let logits = self.model.forward(&batch.image, true)?;
        let loss = self.loss.compute(&logits, &batch.targets, mask)?;
        loss.total.f_backward()?;
        if let Some(record) = &mut record {
            record.add_outputs(&logits, &loss, &self.config.targets, &self.model)?;
        }
        self.optimizer.step(self.model.learned())?;
        if let Some(record) = record {
            record.write(&self.folder.step(self.step)?, &self.model)?;
        }
        Ok(Some(stacked(&loss)?))
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
                samples_per_s: times.samples as f64 / seconds,
                data_wait: times.waited.as_secs_f64() / seconds,
            }))?;
        }
        Ok(())
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            loader: &self.loaders.val,
            device: self.device,
            targets: &self.config.targets,
            loss: Some(&self.loss),
            min_nonzero: self.config.min_nonzero,
            samples: self.config.validation_samples.unwrap_or(u64::MAX),
            pictures: PICTURES,
        }
    }

    /// Validates and saves the weights.
    fn validate(&mut self) -> Result<(), TrainError> {
        let step = self.step;
        let network = Network::UNet(&self.model);
        let (evaluation, pictures) = self.evaluator().run(&network, |_| Ok(()))?;
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
            checkpoint::write(&self.folder.best(), &header, &self.model, None)?;
        }
        let header = Header::new(self.config, self.digest, step, self.best);
        let optimizer = Some(&self.optimizer);
        checkpoint::write(&self.folder.last(), &header, &self.model, optimizer)
    }

    /// Evaluates the best weights, exports them as a TorchScript module, and writes the report.
    fn finish(&mut self, dataset: &Dataset) -> Result<(Evaluation, u64), TrainError> {
        let (mut model, step) = match self.best {
            // All validation batches were skipped: use the last weights.
            None => (None, self.step),
            Some(_) => {
                let path = self.folder.best();
                let checkpoint = Checkpoint::read(&path)?;
                let model = checkpoint.model(&path, self.device)?;
                (Some(model), checkpoint.header.step)
            }
        };
        if let Some(model) = &mut model {
            model.set_kind(convolution_kind(self.config));
        }
        let model = model.as_ref().unwrap_or(&self.model);
        let (evaluation, pictures) = self.evaluator().run(&Network::UNet(model), |_| Ok(()))?;
        let [_, channels, z, y, x] = self.loaders.train.batch_shape();
        let window = [channels, z, y, x].map(|n| n as i64);
        export::write(&self.folder.module(), model, window)?;
        let facts = TrainingFacts {
            config: self.config,
            dataset,
            weights: model.size(),
            steps: self.step,
            best_step: step,
        };
        let rows = pictures.into_iter().map(|picture| picture.row).collect();
        let report = report::report(&facts, &self.history.entries, &evaluation, rows);
        write_atomic(&self.folder.report(), report.html().as_bytes())?;
        Ok((evaluation, step))
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

/// Total, then channels.
fn stacked(loss: &LossValue) -> Result<Tensor, tch::TchError> {
    let all = std::iter::once(&loss.total).chain(&loss.channels);
    let all: Vec<_> = all.map(Tensor::f_detach).collect::<Result<_, _>>()?;
    Tensor::f_stack(&all, 0)
}

/// Fetches the losses of the steps from the device, all at once.
fn fetch_losses(pending: &[PendingStep]) -> Result<Vec<Option<Vec<f64>>>, TrainError> {
    let losses: Vec<_> = pending.iter().filter_map(|p| p.losses.as_ref()).collect();
    if losses.is_empty() {
        return Ok(pending.iter().map(|_| None).collect());
    }
    if let Device::Cuda(n) = losses[0].device() {
        Cuda::synchronize(n as i64);
    }
    let all = Tensor::f_stack(&losses, 0)?.f_to_device(Device::Cpu)?;
    let all = all.f_to_kind(Kind::Double)?;
    let (_, width) = all.size2()?;
    let mut flat = vec![0.0; all.numel()];
    all.f_copy_data(&mut flat, all.numel())?;
    let mut rows = flat.chunks(width as usize);
    let mut next = || rows.next().map(<[f64]>::to_vec);
    Ok(pending
        .iter()
        .map(|p| p.losses.as_ref().and_then(|_| next()))
        .collect())
}

//! A training from its first step, or from its last checkpoint, to its last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tch::{Cuda, Device, Kind, Tensor};

use super::checkpoint::{self, Best, Checkpoint, Header};
use super::config::{Precision, TrainConfig};
use super::error::TrainError;
use super::evaluate::{Evaluation, Judge, Network, enough};
use super::feed::{Fed, Feed};
use super::folder::Folder;
use super::history::{History, Line, TrainLine, ValidationLine};
use super::loss::{Loss, LossValue};
use super::model::Model;
use super::optimizer::Optimizer;
use super::part::write_whole;
use super::record::Record;
use super::{curves, device, export};
use crate::dataset::Dataset;
use crate::loader::{Arrays, Augmentation, Crop, Loader, Options};

/// How a training is run.
#[derive(Clone, Copy, Debug)]
pub struct TrainOptions<'a> {
    /// The run's folder.
    pub folder: &'a std::path::Path,
    /// Whether another training that lies there is forgotten.
    pub force: bool,
    /// Steps, from the first on, of which all that goes in and comes out is saved.
    pub record: u64,
}

/// How far a training is; counted while it runs, for whoever looks.
#[derive(Debug, Default)]
pub struct TrainProgress {
    /// Steps to make.
    pub steps_total: AtomicU64,
    /// Steps that are made, those of earlier runs included.
    pub steps_done: AtomicU64,
    /// Samples seen in this run.
    pub samples: AtomicU64,
    /// Time spent waiting for data, in microseconds.
    pub waited_us: AtomicU64,
    /// Time spent training, validation left out, in microseconds.
    pub spent_us: AtomicU64,
    /// Bits of the last loss that is known, as an f64; 0 before there is one.
    pub loss_bits: AtomicU64,
}

/// A training that came to its end.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Steps made, those of earlier runs included.
    pub steps: u64,
    /// The step it began from in this run.
    pub resumed_from: u64,
    /// Steps of this run whose batch was left out for having too little in it.
    pub left_out: u64,
    /// Values that are learnt.
    pub weights: u64,
    /// The step whose weights are the best.
    pub best_step: u64,
    /// What the best weights are worth.
    pub evaluation: Evaluation,
    /// Samples per second of this run, validation left out.
    pub samples_per_s: f64,
    /// Share of that time spent waiting for data.
    pub data_wait: f64,
}

/// Steps whose losses stay on the device until they are fetched, all at once.
const FETCH_EVERY: u64 = 10;
/// Samples that the report draws, and TensorBoard shows.
const PICTURES: usize = 6;

/// Trains as `config` says on `dataset`.
pub fn train(
    dataset: &Dataset,
    config: &TrainConfig,
    options: TrainOptions<'_>,
    progress: &TrainProgress,
) -> Result<Trained, TrainError> {
    let device = device::found(&config.device).map_err(|p| TrainError::config("device", p))?;
    let loaders = Loaders::open(dataset, config)?;
    let folder = Folder::open(options.folder)?;
    let digest = &dataset.manifest().digest;
    let begun = folder.checkpoint(config, digest, options.force)?;
    let mut run = Run::begin(config, &folder, begun, &loaders, device, digest)?;
    let first = run.step;
    progress.steps_total.store(config.steps, Ordering::Relaxed);
    progress.steps_done.store(first, Ordering::Relaxed);
    let clock = run.steps(options.record, progress)?;
    if run.optimizer.steps() == 0 {
        let problem = "nothing was learnt: less than that is in every batch";
        return Err(TrainError::config("min_nonzero", problem));
    }
    let (evaluation, best) = run.finish(dataset)?;
    Ok(Trained {
        steps: run.step,
        resumed_from: first,
        left_out: clock.left_out,
        weights: run.model.size(),
        best_step: best,
        evaluation,
        samples_per_s: clock.samples as f64 / clock.spent.as_secs_f64().max(1e-9),
        data_wait: clock.waited.as_secs_f64() / clock.spent.as_secs_f64().max(1e-9),
    })
}

/// Where samples come from.
struct Loaders {
    train: Loader,
    val: Loader,
}

impl Loaders {
    fn open(dataset: &Dataset, config: &TrainConfig) -> Result<Self, TrainError> {
        let arrays = Arrays::with_masks(dataset, &config.image, &config.targets);
        let split_samples = |name: &str| dataset.manifest().splits.get(name).map(|s| s.samples);
        let options = Options {
            prefetch: config.prefetch,
            seed: config.seed,
            shuffle: true,
            // A split that makes no full batch is still learnt from.
            drop_last: split_samples(&config.splits.train) >= Some(config.batch_size as u64),
            crop: config.crop.clone(),
            augmentation: config.augmentation,
            ..Options::in_order(config.batch_size, config.workers)
        };
        let train = Loader::open(dataset, &config.splits.train, &arrays, options.clone())?;
        let centred = |crop: &Crop| Crop {
            window: crop.window,
            jitter: [0; 3],
        };
        let options = Options {
            // Some of many: not those of the first boxes only.
            shuffle: config.validation_samples.is_some(),
            drop_last: false,
            crop: config.crop.as_ref().map(centred),
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
    folder: &'a Folder,
    loaders: &'a Loaders,
    device: Device,
    digest: &'a str,
    model: Model,
    optimizer: Optimizer,
    loss: Loss,
    history: History,
    step: u64,
    best: Option<Best>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    samples: u64,
    spent: Duration,
    waited: Duration,
    /// Steps whose batch was left out.
    left_out: u64,
}

/// A step whose losses are still on the device.
struct Pending {
    step: u64,
    /// Total, then channels; None where the batch was left out.
    losses: Option<Tensor>,
}

impl<'a> Run<'a> {
    fn begin(
        config: &'a TrainConfig,
        folder: &'a Folder,
        begun: Option<Checkpoint>,
        loaders: &'a Loaders,
        device: Device,
        digest: &'a str,
    ) -> Result<Self, TrainError> {
        let (mut model, optimizer, step, best) = match begun {
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
        model.set_kind(kind(config));
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

    /// Makes the steps that are left.
    fn steps(&mut self, record: u64, progress: &TrainProgress) -> Result<Clock, TrainError> {
        let loader = &self.loaders.train;
        let batches = loader.batches_per_epoch().max(1) as u64;
        let from = (self.step / batches, (self.step % batches) as usize);
        let mut clock = Clock::default();
        std::thread::scope(|scope| {
            let mut feed = Feed::start(scope, loader, self.device, from, None);
            let (mut pending, mut fetched) = (Vec::new(), clock);
            while self.step < self.config.steps {
                let began = Instant::now();
                let waited = feed.waited();
                let Some(fed) = feed.next()? else {
                    return Err(TrainError::config("splits.train", "the split has no batch"));
                };
                clock.waited += feed.waited() - waited;
                self.step += 1;
                let mask = self
                    .loss
                    .mask(&fed.image, &fed.targets, fed.masks.as_ref())?;
                let losses = match enough(self.config.min_nonzero, &fed, &mask)? {
                    true => Some(self.make(&fed, mask, self.step <= record)?),
                    false => None,
                };
                clock.left_out += u64::from(losses.is_none());
                pending.push(Pending {
                    step: self.step,
                    losses,
                });
                clock.samples += fed.samples.len() as u64;
                loader.recycle(fed.batch);
                let validates = self.step.is_multiple_of(self.config.validation_interval)
                    || self.step == self.config.steps;
                let fetches = self.step.is_multiple_of(FETCH_EVERY) || validates;
                if fetches {
                    // Fetching waits for the device: the time up to here is that of the steps.
                    let losses = values(&pending)?;
                    clock.spent += began.elapsed();
                    let since = clock.since(fetched);
                    self.write(&pending, &losses, since, progress)?;
                    pending.clear();
                    fetched = clock;
                } else {
                    clock.spent += began.elapsed();
                }
                progress.tell(self.step, clock);
                if validates {
                    self.validate()?;
                }
            }
            Ok(clock)
        })
    }

    /// Makes a step; all that goes in and comes out is saved where it is `recorded`.
    fn make(&mut self, fed: &Fed, mask: Tensor, recorded: bool) -> Result<Tensor, TrainError> {
        let mut record = match recorded {
            true => Some(Record::new(&self.model, fed)?),
            false => None,
        };
        let logits = self.model.forward(&fed.image, true)?;
        let loss = self.loss.of(&logits, &fed.targets, mask)?;
        loss.total.f_backward()?;
        if let Some(record) = &mut record {
            record.computed(&logits, &loss, &self.config.targets, &self.model)?;
        }
        self.optimizer.step(self.model.learnt())?;
        if let Some(record) = record {
            record.write(&self.folder.step(self.step)?, &self.model)?;
        }
        Ok(together(&loss)?)
    }

    fn write(
        &mut self,
        pending: &[Pending],
        losses: &[Option<Vec<f64>>],
        clock: Clock,
        progress: &TrainProgress,
    ) -> Result<(), TrainError> {
        let seconds = clock.spent.as_secs_f64().max(1e-9);
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
            self.history.add(Line::Train(TrainLine {
                step: step.step,
                loss: total,
                channels: names.zip(channels.iter().copied()).collect(),
                samples_per_s: clock.samples as f64 / seconds,
                data_wait: clock.waited.as_secs_f64() / seconds,
            }))?;
        }
        Ok(())
    }

    fn judge(&self) -> Judge<'_> {
        Judge {
            loader: &self.loaders.val,
            device: self.device,
            targets: &self.config.targets,
            loss: Some(&self.loss),
            min_nonzero: self.config.min_nonzero,
            samples: self.config.validation_samples.unwrap_or(u64::MAX),
            pictures: PICTURES,
        }
    }

    /// Validates, and saves the weights.
    fn validate(&mut self) -> Result<(), TrainError> {
        let step = self.step;
        let (evaluation, rows) = self.judge().run(&Network::Ours(&self.model), |_| Ok(()))?;
        let loss = evaluation.loss;
        if let Some(loss) = loss.filter(|l| !l.is_finite()) {
            let of = "validation";
            return Err(TrainError::Diverged { of, step, loss });
        }
        let line = ValidationLine { step, evaluation };
        self.history.add(Line::Validation(line))?;
        for drawn in &rows {
            let name = format!("samples/{}", drawn.sample);
            self.history.picture(step, &name, &drawn.row.picture)?;
        }
        self.history.flush()?;
        let better = |loss: &f64| self.best.is_none_or(|best| *loss < best.loss);
        if let Some(loss) = loss.filter(better) {
            self.best = Some(Best { step, loss });
            let header = Header::new(self.config, self.digest, step, self.best);
            checkpoint::write(&self.folder.best(), &header, &self.model, None)?;
        }
        let header = Header::new(self.config, self.digest, step, self.best);
        let optimizer = Some(&self.optimizer);
        checkpoint::write(&self.folder.last(), &header, &self.model, optimizer)
    }

    /// Judges the best weights, and leaves them as a TorchScript module, with a report.
    fn finish(&mut self, dataset: &Dataset) -> Result<(Evaluation, u64), TrainError> {
        let (mut model, step) = match self.best {
            // Every validation was left out: the last weights are all there is.
            None => (None, self.step),
            Some(_) => {
                let path = self.folder.best();
                let checkpoint = Checkpoint::read(&path)?;
                let model = checkpoint.model(&path, self.device)?;
                (Some(model), checkpoint.header.step)
            }
        };
        if let Some(model) = &mut model {
            model.set_kind(kind(self.config));
        }
        let model = model.as_ref().unwrap_or(&self.model);
        let (evaluation, rows) = self.judge().run(&Network::Ours(model), |_| Ok(()))?;
        let [_, channels, z, y, x] = self.loaders.train.batch_shape();
        let window = [channels, z, y, x].map(|n| n as i64);
        export::write(&self.folder.module(), model, window)?;
        let about = curves::About {
            config: self.config,
            dataset,
            weights: model.size(),
            steps: self.step,
            best_step: step,
        };
        let rows = rows.into_iter().map(|drawn| drawn.row).collect();
        let report = curves::report(&about, &self.history.lines, &evaluation, rows);
        write_whole(&self.folder.report(), report.html().as_bytes())?;
        Ok((evaluation, step))
    }
}

impl Clock {
    fn since(self, earlier: Self) -> Self {
        Self {
            samples: self.samples - earlier.samples,
            spent: self.spent - earlier.spent,
            waited: self.waited - earlier.waited,
            left_out: self.left_out - earlier.left_out,
        }
    }
}

impl TrainProgress {
    fn tell(&self, step: u64, clock: Clock) {
        let us = |d: Duration| d.as_micros() as u64;
        self.steps_done.store(step, Ordering::Relaxed);
        self.samples.store(clock.samples, Ordering::Relaxed);
        self.waited_us.store(us(clock.waited), Ordering::Relaxed);
        self.spent_us.store(us(clock.spent), Ordering::Relaxed);
    }
}

/// What convolutions compute with.
fn kind(config: &TrainConfig) -> Kind {
    match config.precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}

/// Total, then channels.
fn together(loss: &LossValue) -> Result<Tensor, tch::TchError> {
    let all = std::iter::once(&loss.total).chain(&loss.channels);
    let all: Vec<_> = all.map(Tensor::f_detach).collect::<Result<_, _>>()?;
    Tensor::f_stack(&all, 0)
}

/// The losses of the steps, fetched from the device at once.
fn values(pending: &[Pending]) -> Result<Vec<Option<Vec<f64>>>, TrainError> {
    let there: Vec<_> = pending.iter().filter_map(|p| p.losses.as_ref()).collect();
    if there.is_empty() {
        return Ok(pending.iter().map(|_| None).collect());
    }
    if let Device::Cuda(n) = there[0].device() {
        Cuda::synchronize(n as i64);
    }
    let all = Tensor::f_stack(&there, 0)?.f_to_device(Device::Cpu)?;
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

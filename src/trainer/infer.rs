//! Predictions of a split: a Zarr group beside the samples, scores, and pictures.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tch::{CModule, Device};

use super::checkpoint::Checkpoint;
use super::config::{TrainConfig, twice};
use super::error::{TrainError, without_frames};
use super::evaluate::{Evaluation, Judge, Network};
use super::loss::{Loss, LossConfig};
use super::model::Model;
use super::part::write_whole;
use super::predictions::{About, Predictions};
use super::{curves, device};
use crate::config::Role;
use crate::dataset::Dataset;
use crate::loader::{Arrays, Crop, Loader, Options};
use crate::preview::{PictureRow, Report};

pub use super::predictions::Stored;

/// What to predict with what.
#[derive(Clone, Debug)]
pub struct InferOptions {
    /// Weights that `train` saved (`.safetensors`), or a TorchScript module.
    pub model: PathBuf,
    /// The training that the network comes from, for a module, which does not say; weights that `train` saved say it.
    pub training: Option<TrainConfig>,
    /// The split.
    pub split: String,
    /// The array that the network sees: by default that which it was trained with, or else the dataset's only image.
    pub image: Option<String>,
    /// The arrays that predictions are held against, one per channel: by default those that it was trained with, or
    /// else the dataset's targets, where there are as many as channels.
    pub targets: Option<Vec<String>>,
    /// Folder of the predictions.
    pub folder: PathBuf,
    /// Whether predictions that lie there are replaced.
    pub force: bool,
    /// Voxels x, y, z, of the middle of each sample that is predicted; all of it without.
    pub window: Option<[u32; 3]>,
    /// Samples at a time; as many as in the training, or 4, without.
    pub batch_size: Option<usize>,
    /// Threads that read samples.
    pub workers: usize,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// What probabilities are stored as.
    pub stored: Stored,
}

/// What an inference did.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// The Zarr group of the predictions.
    pub group: PathBuf,
    /// The report.
    pub report: PathBuf,
    /// What the predictions are worth; no channels where there is nothing to hold them against.
    pub evaluation: Evaluation,
}

/// Samples that the report draws.
const PICTURES: usize = 8;

/// A network from a file.
enum Loaded {
    Ours(Box<(Model, Checkpoint)>),
    Script(CModule),
}

/// Predicts a split. `done` counts samples.
pub fn infer(
    dataset: &Dataset,
    options: &InferOptions,
    done: &AtomicU64,
) -> Result<Inferred, TrainError> {
    let device = device::found(&options.device).map_err(|p| TrainError::config("device", p))?;
    let loaded = Loaded::read(&options.model, device)?;
    let training = options.training.as_ref().or(loaded.training());
    let Fitting {
        loader,
        image,
        targets,
        shape,
    } = Fitting::find(dataset, options, training, &loaded, device)?;
    let [_, _, z, y, x] = shape;
    let loss = match targets.is_empty() {
        true => None,
        false => {
            let config = training.map_or_else(LossConfig::default, |t| t.loss.clone());
            let problem = config.problem_with([z, y, x]);
            if let Some((path, problem)) = problem.or_else(|| config.problem(targets.len())) {
                return Err(TrainError::config(path, problem));
            }
            Some(Loss::new(&config, [z, y, x].map(|n| n as i64), device)?)
        }
    };
    let about = About {
        dataset,
        split: &options.split,
        model: &options.model,
        image: &image,
        targets: &targets,
        window: [z, y, x],
        stored: options.stored,
    };
    let mut predictions = Predictions::begin(&options.folder, options.force, &about, shape)?;
    let judge = Judge {
        loader: &loader,
        device,
        targets: &targets,
        loss: loss.as_ref(),
        min_nonzero: training.map_or_else(Default::default, |t| t.min_nonzero),
        samples: u64::MAX,
        pictures: PICTURES,
    };
    let (evaluation, rows) = judge.run(&loaded.network(), |predicted| {
        predictions.add(predicted)?;
        done.fetch_add(predicted.fed.samples.len() as u64, Ordering::Relaxed);
        Ok(())
    })?;
    let group = predictions.finish()?;
    let report = options.folder.join(format!("{}.html", options.split));
    let rows = rows.into_iter().map(|drawn| drawn.row).collect();
    let html = page(dataset, options, &evaluation, rows).html();
    write_whole(&report, html.as_bytes())?;
    let metrics = options.folder.join(format!("{}.json", options.split));
    let json = serde_json::to_vec_pretty(&evaluation);
    let json = json.map_err(|e| TrainError::file(&metrics, e.to_string()))?;
    write_whole(&metrics, &json)?;
    Ok(Inferred {
        group,
        report,
        evaluation,
    })
}

/// What fits together: samples that the network takes, and targets that its predictions are held against.
struct Fitting {
    loader: Loader,
    image: String,
    targets: Vec<String>,
    /// Of the predictions: `[1, channel, z, y, x]`.
    shape: [usize; 5],
}

impl Fitting {
    fn find(
        dataset: &Dataset,
        options: &InferOptions,
        training: Option<&TrainConfig>,
        loaded: &Loaded,
        device: Device,
    ) -> Result<Self, TrainError> {
        let image = image(dataset, options, training)?;
        let mut targets = targets(dataset, options, training);
        if let Some(twice) = twice(&targets) {
            let problem = format!("found `{twice}` twice, expected each array once");
            return Err(TrainError::config("--targets", problem));
        }
        let batch_size = options.batch_size.or(training.map(|t| t.batch_size));
        let loader_options = Options {
            crop: options.window.map(|window| Crop {
                window,
                jitter: [0; 3],
            }),
            ..Options::in_order(batch_size.unwrap_or(4), options.workers)
        };
        let open = |targets: &[String]| {
            let arrays = Arrays::with_masks(dataset, &image, targets);
            Loader::open(dataset, &options.split, &arrays, loader_options.clone())
        };
        let mut loader = open(&targets)?;
        let [_, channels, z, y, x] = loader.batch_shape();
        if let Some(problem) = loaded.problem_with(channels, [z, y, x]) {
            return Err(TrainError::file(&options.model, problem));
        }
        let shape = try_out(&loaded.network(), &loader, device, &options.model)?;
        if shape[1] != targets.len() && !targets.is_empty() {
            if options.targets.is_some() {
                let found = format!("found {} target(s)", targets.len());
                let problem = format!("{found}, but the network has {} channel(s)", shape[1]);
                return Err(TrainError::config("--targets", problem));
            }
            targets.clear();
            loader = open(&targets)?;
        }
        Ok(Self {
            loader,
            image,
            targets,
            shape,
        })
    }
}

/// Runs the network on nothing: what shape does it make of one sample?
fn try_out(
    network: &Network<'_>,
    loader: &Loader,
    device: Device,
    path: &Path,
) -> Result<[usize; 5], TrainError> {
    let _no_grad = tch::no_grad_guard();
    let mut image = loader.batch_shape().map(|n| n as i64);
    image[0] = 1;
    let zeros = tch::Tensor::f_zeros(image, (tch::Kind::Float, device))?;
    let refused = |problem: String| {
        let [_, c, z, y, x] = image;
        let window = format!("a window of {c} x {z} x {y} x {x} (channel, z, y, x)");
        TrainError::file(
            path,
            format!("the network does not take {window}: {problem}"),
        )
    };
    let logits = network
        .logits(&zeros)
        .map_err(|e| refused(without_frames(&e)))?;
    let shape: Vec<usize> = logits.size().iter().map(|n| *n as usize).collect();
    match shape[..] {
        [1, c, z, y, x] if [z, y, x].map(|n| n as i64) == image[2..] => Ok([1, c, z, y, x]),
        _ => Err(refused(format!(
            "it makes {shape:?} of it, expected logits of the window's size, batch x channel x z x y x x"
        ))),
    }
}

impl Loaded {
    fn read(path: &Path, device: Device) -> Result<Self, TrainError> {
        if path.extension().is_some_and(|e| e == "safetensors") {
            let checkpoint = Checkpoint::read(path)?;
            let model = checkpoint.model(path, device)?;
            return Ok(Self::Ours(Box::new((model, checkpoint))));
        }
        let bytes = std::fs::read(path).map_err(TrainError::io("read", path))?;
        let module = CModule::load_data_on_device(&mut bytes.as_slice(), device);
        let mut module = module.map_err(|e| {
            let problem = without_frames(&e);
            let expected = "expected weights of `pointshard train` (.safetensors) or a TorchScript module (torch.jit.save)";
            TrainError::file(path, format!("{problem}; {expected}"))
        })?;
        module.f_set_eval()?;
        Ok(Self::Script(module))
    }

    fn network(&self) -> Network<'_> {
        match self {
            Self::Ours(ours) => Network::Ours(&ours.0),
            Self::Script(module) => Network::Script(module),
        }
    }

    /// Why the network does not take samples of such windows, as far as that is known without trying.
    fn problem_with(&self, channels: usize, window: [usize; 3]) -> Option<String> {
        match self {
            Self::Ours(ours) => {
                let model = &ours.1.header.config.model;
                let (key, problem) = model.problem_with(channels, window)?;
                Some(format!("{key}: {problem}"))
            }
            Self::Script(_) => None,
        }
    }

    /// The training that it comes from, where the file says so.
    fn training(&self) -> Option<&TrainConfig> {
        match self {
            Self::Ours(ours) => Some(&ours.1.header.config),
            Self::Script(_) => None,
        }
    }
}

/// The array that the network sees.
fn image(
    dataset: &Dataset,
    options: &InferOptions,
    training: Option<&TrainConfig>,
) -> Result<String, TrainError> {
    let known = options.image.as_ref().or(training.map(|t| &t.image));
    if let Some(image) = known {
        return Ok(image.clone());
    }
    match &with_role(dataset, Role::Image)[..] {
        [image] => Ok(image.clone()),
        images => Err(TrainError::config(
            "--image",
            format!(
                "found {} array(s) of the role image ({}), expected the name of the one that the network sees",
                images.len(),
                images.join(", ")
            ),
        )),
    }
}

/// The arrays that predictions are held against; none where the dataset does not have all of the training's.
fn targets(
    dataset: &Dataset,
    options: &InferOptions,
    training: Option<&TrainConfig>,
) -> Vec<String> {
    match (&options.targets, training) {
        (Some(targets), _) => targets.clone(),
        (None, Some(training)) => {
            let there = |t: &String| dataset.manifest().arrays.contains_key(t);
            match training.targets.iter().all(there) {
                true => training.targets.clone(),
                false => Vec::new(),
            }
        }
        (None, None) => with_role(dataset, Role::Target),
    }
}

fn with_role(dataset: &Dataset, role: Role) -> Vec<String> {
    let role = serde_json::to_value(role).unwrap_or_default();
    let arrays = dataset.manifest().arrays.iter();
    arrays
        .filter(|(_, a)| a.role.as_deref() == role.as_str())
        .map(|(name, _)| name.clone())
        .collect()
}

fn page(
    dataset: &Dataset,
    options: &InferOptions,
    evaluation: &Evaluation,
    pictures: Vec<PictureRow>,
) -> Report {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    Report {
        title: format!("Predictions of {}", options.split),
        facts: vec![
            fact("dataset", dataset.root().display().to_string()),
            fact("network", options.model.display().to_string()),
            fact("samples", evaluation.samples.to_string()),
        ],
        charts: curves::thresholds(evaluation),
        tables: match evaluation.channels.is_empty() {
            true => Vec::new(),
            false => vec![curves::table(evaluation)],
        },
        pictures,
    }
}

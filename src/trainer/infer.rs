//! Predictions of a split: a Zarr group beside the samples, scores, and pictures.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tch::{CModule, Device};

use super::checkpoint::{Checkpoint, write_whole};
use super::config::MinNonzero;
use super::error::{TrainError, without_frames};
use super::evaluate::{Evaluation, Judge, Network};
use super::loss::{Loss, LossConfig};
use super::model::Model;
use super::predictions::{About, Predictions};
use super::report::{PictureRow, Report};
use super::{curves, device};
use crate::config::Role;
use crate::dataset::Dataset;
use crate::loader::{Arrays, Augmentation, Loader, Options};

pub use super::predictions::Stored;

/// What to predict with what.
#[derive(Clone, Debug)]
pub struct InferOptions {
    /// Weights that `train` saved (`.safetensors`), or a TorchScript module.
    pub model: PathBuf,
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
    /// Samples at a time.
    pub batch_size: usize,
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
    let network = match &loaded {
        Loaded::Ours(ours) => Network::Ours(&ours.0),
        Loaded::Script(module) => Network::Script(module),
    };
    let image = loaded.image(dataset, options)?;
    let given = options.targets.is_some();
    let mut targets = loaded.targets(dataset, options);
    let open = |targets: &[String]| {
        let has = |name: &String| {
            Some(name.clone()).filter(|m| dataset.manifest().arrays.contains_key(m))
        };
        let arrays = Arrays {
            image: image.clone(),
            masks: targets.iter().map(|t| has(&format!("{t}_mask"))).collect(),
            targets: targets.to_vec(),
        };
        Loader::open(dataset, &options.split, &arrays, loader_options(options))
    };
    let mut loader = open(&targets)?;
    let shape = try_out(&network, &loader, device, &options.model)?;
    if shape[1] != targets.len() && !targets.is_empty() {
        if given {
            let found = format!("found {} target(s)", targets.len());
            let problem = format!("{found}, but the network has {} channel(s)", shape[1]);
            return Err(TrainError::config("--targets", problem));
        }
        targets.clear();
        loader = open(&targets)?;
    }
    let config = loaded.loss();
    let [_, _, z, y, x] = shape;
    let loss = Loss::new(&config, [z, y, x].map(|n| n as i64), device)?;
    let about = About {
        dataset,
        split: &options.split,
        model: &options.model,
        image: &image,
        targets: &targets,
        stored: options.stored,
    };
    let mut predictions = Predictions::begin(&options.folder, options.force, &about, shape)?;
    let judge = Judge {
        loader: &loader,
        device,
        targets: &targets,
        loss: (!targets.is_empty()).then_some(&loss),
        min_nonzero: MinNonzero::default(),
        samples: u64::MAX,
        pictures: PICTURES,
    };
    let (evaluation, rows) = judge.run(&network, |predicted| {
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

fn loader_options(options: &InferOptions) -> Options {
    Options {
        batch_size: options.batch_size,
        workers: options.workers,
        prefetch: 4,
        seed: 0,
        shuffle: false,
        rank: 0,
        world_size: 1,
        drop_last: false,
        crop: None,
        augmentation: Augmentation::default(),
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

    fn image(&self, dataset: &Dataset, options: &InferOptions) -> Result<String, TrainError> {
        if let Some(image) = &options.image {
            return Ok(image.clone());
        }
        if let Self::Ours(ours) = self {
            return Ok(ours.1.header.config.image.clone());
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

    fn targets(&self, dataset: &Dataset, options: &InferOptions) -> Vec<String> {
        match (self, &options.targets) {
            (_, Some(targets)) => targets.clone(),
            (Self::Ours(ours), None) => {
                let trained = &ours.1.header.config.targets;
                let there = |t: &String| dataset.manifest().arrays.contains_key(t);
                match trained.iter().all(there) {
                    true => trained.clone(),
                    false => Vec::new(),
                }
            }
            (Self::Script(_), None) => with_role(dataset, Role::Target),
        }
    }

    fn loss(&self) -> LossConfig {
        match self {
            Self::Ours(ours) => ours.1.header.config.loss.clone(),
            Self::Script(_) => LossConfig::default(),
        }
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

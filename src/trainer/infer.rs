//! Predicts a split: writes a Zarr group of predictions, scores, and a report with pictures.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pointshard::Dataset;
use pointshard::trainer_api::{
    ArrayNames, Crop, InputArray, InputsConfig, Loader, LoaderOptions, LossConfig, PictureRow,
    ProbabilityType, Report, Role, TrainConfig, duplicate,
};
use tch::{CModule, Device};

use super::assignment::{Assignment, TrainingSplit};
use super::atomic_write::write_atomic;
use super::checkpoint::Checkpoint;
use super::error::{TrainError, without_frames};
use super::evaluate::{Evaluation, Evaluator, Network};
use super::loss::Loss;
use super::model::Model;
use super::predictions::{PredictionInfo, PredictionWriter};
use super::run::voxel_nm;
use super::{device, report};

/// What to predict, with which network.
#[derive(Clone, Debug)]
pub struct InferOptions {
    /// Weights saved by `train` (`.safetensors`), or a TorchScript module.
    pub model: PathBuf,
    /// The training of the network. Weights saved by `train` contain it, TorchScript modules don't.
    pub training: Option<TrainConfig>,
    /// Split to predict.
    pub split: String,
    /// Input arrays; by default those used in training, or else the only image of the dataset.
    pub image: Option<Vec<String>>,
    /// Target arrays to evaluate against, one per channel; by default those used in training, or else the targets of the
    /// dataset if their number matches the channels.
    pub targets: Option<Vec<String>>,
    /// Output folder.
    pub folder: PathBuf,
    /// Whether to overwrite predictions in the folder.
    pub force: bool,
    /// Voxels x, y, z of the window to predict in the center of each sample; the whole sample if `None`.
    pub window: Option<[u32; 3]>,
    /// Samples per batch; by default as in training, or 4.
    pub batch_size: Option<usize>,
    /// Number of threads that read samples.
    pub workers: usize,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Data type of the stored probabilities.
    pub probability_type: ProbabilityType,
}

/// The outcome of an inference.
#[derive(Clone, Debug)]
pub struct InferOutcome {
    /// The Zarr group of the predictions.
    pub group: PathBuf,
    /// The report.
    pub report: PathBuf,
    /// Loss and scores; without channels if there are no targets.
    pub evaluation: Evaluation,
}

/// Number of samples in the report.
const PICTURES: usize = 8;

/// A network from a file.
enum LoadedModel {
    UNet(Box<(Model, Checkpoint)>),
    TorchScript(CModule),
}

/// Predicts a split. `done` counts samples.
pub fn infer(
    dataset: &Dataset,
    options: &InferOptions,
    done: &AtomicU64,
) -> Result<InferOutcome, TrainError> {
    let device =
        device::available(&options.device).map_err(|p| TrainError::config("--device", p))?;
    let network = LoadedModel::read(&options.model, device)?;
    let training = options.training.as_ref().or(network.training());
    let inputs = OpenSplit::open(dataset, options, training, &network, device)?;
    let loss = loss(training, &inputs, device)?;
    let [_, _, z, y, x] = inputs.shape;
    let info = PredictionInfo {
        dataset,
        split: &options.split,
        model: &options.model,
        inputs: &inputs.inputs,
        targets: &inputs.targets,
        window: [z, y, x],
        probability_type: options.probability_type,
    };
    let mut writer = PredictionWriter::create(&options.folder, options.force, &info, inputs.shape)?;
    let evaluator = Evaluator {
        loader: &inputs.loader,
        device,
        targets: &inputs.targets,
        loss: loss.as_ref(),
        min_nonzero: training.map_or_else(Default::default, |t| t.min_nonzero),
        assignment: inputs.assignment.as_ref(),
        samples: u64::MAX,
        pictures: PICTURES,
        worst: PICTURES,
        voxel_nm: voxel_nm(dataset),
    };
    let (evaluation, pictures) = evaluator.run(&network.network(), |predicted| {
        writer.add(predicted)?;
        done.fetch_add(predicted.batch.samples.len() as u64, Ordering::Relaxed);
        Ok(())
    })?;
    let group = writer.finish()?;
    let rows = pictures.into_iter().map(|picture| picture.row).collect();
    let report = write_results(dataset, options, &evaluation, rows)?;
    Ok(InferOutcome {
        group,
        report,
        evaluation,
    })
}

/// The loss of the training, to evaluate with; `None` if there are no targets.
fn loss(
    training: Option<&TrainConfig>,
    inputs: &OpenSplit,
    device: Device,
) -> Result<Option<Loss>, TrainError> {
    if inputs.targets.is_empty() {
        return Ok(None);
    }
    let [_, _, z, y, x] = inputs.shape;
    let config = training.map_or_else(LossConfig::default, |t| t.loss.clone());
    let problem = config.problem_with([z, y, x]);
    if let Some((path, problem)) = problem.or_else(|| config.problem(inputs.targets.len())) {
        return Err(TrainError::config(path, problem));
    }
    let window = [z, y, x].map(|n| n as i64);
    let data_channels = inputs.loader.data_channels();
    Ok(Some(Loss::new(&config, window, &data_channels, device)?))
}

/// Writes the report and the scores beside the predictions. Returns the path of the report.
fn write_results(
    dataset: &Dataset,
    options: &InferOptions,
    evaluation: &Evaluation,
    pictures: Vec<PictureRow>,
) -> Result<PathBuf, TrainError> {
    let report = options.folder.join(format!("{}.html", options.split));
    let html = page(dataset, options, evaluation, pictures).html();
    write_atomic(&report, html.as_bytes())?;
    let metrics = options.folder.join(format!("{}.json", options.split));
    let json = serde_json::to_vec_pretty(evaluation);
    let json = json.map_err(|e| TrainError::file(&metrics, e.to_string()))?;
    write_atomic(&metrics, &json)?;
    Ok(report)
}

/// Samples that fit the network, and targets that fit its channels.
struct OpenSplit {
    loader: Loader,
    inputs: InputsConfig,
    targets: Vec<String>,
    assignment: Option<Assignment>,
    /// Shape of the predictions of a sample: `[1, channel, z, y, x]`.
    shape: [usize; 5],
}

impl OpenSplit {
    fn open(
        dataset: &Dataset,
        options: &InferOptions,
        training: Option<&TrainConfig>,
        network: &LoadedModel,
        device: Device,
    ) -> Result<Self, TrainError> {
        let inputs = inputs(dataset, options, training)?;
        let mut targets = targets(dataset, options, training);
        if let Some(duplicate) = duplicate(&targets) {
            let problem = format!("found `{duplicate}` twice, expected each array once");
            return Err(TrainError::config("--targets", problem));
        }
        let batch_size = options.batch_size.or(training.map(|t| t.batch_size));
        let loader_options = LoaderOptions {
            crop: options.window.map(|window| Crop {
                window,
                jitter: [0; 3],
            }),
            ..LoaderOptions::in_order(batch_size.unwrap_or(4), options.workers)
        };
        let objects = training.and_then(|t| t.assignment.as_ref());
        let arrays = |targets: &[String]| ArrayNames {
            segmentation: (objects.filter(|_| !targets.is_empty())).map(|o| o.segmentation.clone()),
            ..ArrayNames::with_masks(dataset, &inputs.0, targets)
        };
        let open = |split: &str, targets: &[String]| {
            Loader::open(dataset, split, &arrays(targets), loader_options.clone())
        };
        let mut loader = open(&options.split, &targets)?;
        let [_, channels, z, y, x] = loader.batch_shape();
        if let Some(problem) = network.problem_with(channels, [z, y, x]) {
            return Err(TrainError::file(&options.model, problem));
        }
        let shape = output_shape(&network.network(), &loader, device, &options.model)?;
        if shape[1] != targets.len() && !targets.is_empty() {
            if options.targets.is_some() {
                let found = format!("found {} target(s)", targets.len());
                let problem = format!("{found}, but the network has {} channel(s)", shape[1]);
                return Err(TrainError::config("--targets", problem));
            }
            targets.clear();
            loader = open(&options.split, &targets)?;
        }
        let assignment = match (objects, training) {
            (Some(_), Some(training)) if !targets.is_empty() => {
                let known = dataset
                    .manifest()
                    .splits
                    .contains_key(&training.splits.train);
                let arrays = arrays(&targets);
                let trained_on = known.then(|| TrainingSplit {
                    name: &training.splits.train,
                    arrays: &arrays,
                    options: loader_options.clone(),
                });
                let split = &options.split;
                Some(Assignment::open(dataset, split, &targets, trained_on)?)
            }
            _ => None,
        };
        Ok(Self {
            loader,
            inputs,
            targets,
            assignment,
            shape,
        })
    }
}

/// Runs the network on zeros to find the shape of its output for one sample.
fn output_shape(
    network: &Network<'_>,
    loader: &Loader,
    device: Device,
    path: &Path,
) -> Result<[usize; 5], TrainError> {
    let _no_grad = tch::no_grad_guard();
    let mut image = loader.batch_shape().map(|n| n as i64);
    image[0] = 1;
    let zeros = tch::Tensor::f_zeros(image, (tch::Kind::Float, device))?;
    let failed = |problem: String| {
        let [_, c, z, y, x] = image;
        let window = format!("a window of {c} x {z} x {y} x {x} (channel, z, y, x)");
        TrainError::file(
            path,
            format!("the network does not accept {window}: {problem}"),
        )
    };
    let logits = network
        .logits(&zeros)
        .map_err(|e| failed(without_frames(&e)))?;
    let shape: Vec<usize> = logits.size().iter().map(|n| *n as usize).collect();
    match shape[..] {
        [1, c, z, y, x] if [z, y, x].map(|n| n as i64) == image[2..] => Ok([1, c, z, y, x]),
        _ => Err(failed(format!(
            "its output has the shape {shape:?}, expected logits with the size of the window, batch x channel x z x y x x"
        ))),
    }
}

impl LoadedModel {
    fn read(path: &Path, device: Device) -> Result<Self, TrainError> {
        if path.extension().is_some_and(|e| e == "safetensors") {
            let checkpoint = Checkpoint::read(path)?;
            let model = checkpoint.model(path, device)?;
            return Ok(Self::UNet(Box::new((model, checkpoint))));
        }
        let bytes = std::fs::read(path).map_err(TrainError::io("read", path))?;
        let module = CModule::load_data_on_device(&mut bytes.as_slice(), device);
        let mut module = module.map_err(|e| {
            let problem = without_frames(&e);
            let expected = "expected weights saved by `pointshard train` (.safetensors) or a TorchScript module (torch.jit.save)";
            TrainError::file(path, format!("{problem}; {expected}"))
        })?;
        module.f_set_eval()?;
        Ok(Self::TorchScript(module))
    }

    fn network(&self) -> Network<'_> {
        match self {
            Self::UNet(unet) => Network::UNet(&unet.0),
            Self::TorchScript(module) => Network::TorchScript(module),
        }
    }

    /// Why the network does not accept such windows, according to its config.
    fn problem_with(&self, channels: usize, window: [usize; 3]) -> Option<String> {
        match self {
            Self::UNet(unet) => {
                let model = &unet.1.header.config.model;
                let (key, problem) = model.problem_with(channels, window)?;
                Some(format!("{key}: {problem}"))
            }
            Self::TorchScript(_) => None,
        }
    }

    /// The training of the network, if the file contains it.
    fn training(&self) -> Option<&TrainConfig> {
        match self {
            Self::UNet(unet) => Some(&unet.1.header.config),
            Self::TorchScript(_) => None,
        }
    }
}

/// The inputs of the network.
fn inputs(
    dataset: &Dataset,
    options: &InferOptions,
    training: Option<&TrainConfig>,
) -> Result<InputsConfig, TrainError> {
    if let Some(images) = &options.image {
        if let Some(duplicate) = duplicate(images) {
            let problem = format!("found `{duplicate}` twice, expected each array once");
            return Err(TrainError::config("--image", problem));
        }
        let scaling = |name: &String| {
            let trained = training.and_then(|t| t.image.0.iter().find(|i| i.name == *name));
            trained.cloned().unwrap_or_else(|| InputArray::new(name))
        };
        return Ok(InputsConfig(images.iter().map(scaling).collect()));
    }
    if let Some(training) = training {
        return Ok(training.image.clone());
    }
    match &with_role(dataset, Role::Image)[..] {
        [image] => Ok(InputsConfig(vec![InputArray::new(image)])),
        images => {
            let found = match images {
                [] => "no array has the role image".to_owned(),
                several => format!(
                    "several arrays have the role image ({})",
                    several.join(", ")
                ),
            };
            let arrays: Vec<_> = dataset
                .manifest()
                .arrays
                .keys()
                .map(String::as_str)
                .collect();
            let problem = format!(
                "{found}: expected the names of the input arrays, separated by commas; the dataset has {}",
                arrays.join(", ")
            );
            Err(TrainError::config("--image", problem))
        }
    }
}

/// The target arrays; none if the dataset doesn't have all of those used in training.
fn targets(
    dataset: &Dataset,
    options: &InferOptions,
    training: Option<&TrainConfig>,
) -> Vec<String> {
    match (&options.targets, training) {
        (Some(targets), _) => targets.clone(),
        (None, Some(training)) => {
            let exists = |t: &String| dataset.manifest().arrays.contains_key(t);
            if training.targets.iter().all(exists) {
                training.targets.clone()
            } else {
                Vec::new()
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
    let mut facts = vec![
        fact("dataset", dataset.location().to_string()),
        fact("network", options.model.display().to_string()),
        fact("samples", evaluation.samples.to_string()),
    ];
    facts.extend(report::verdicts(evaluation, None));
    Report {
        title: format!("Predictions of {}", options.split),
        facts,
        charts: report::threshold_charts(evaluation),
        tables: if evaluation.channels.is_empty() {
            Vec::new()
        } else {
            report::score_tables(evaluation)
        },
        pictures,
        texts: Vec::new(),
    }
}

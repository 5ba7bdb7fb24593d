//! Checkpoints: safetensors files with the tensor names of PyTorch's `state_dict`, so that Python loads them by name.
//! The entry `pointshard` of the header holds the config and the progress of the training.
//!
//! `last.safetensors` also contains the state of the optimizer (names that start with `optimizer.`): a training that
//! resumes from it continues exactly. Writes are atomic.

use std::collections::HashMap;
use std::path::Path;

use indexmap::IndexMap;
use pointshard::trainer_api::TrainConfig;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::atomic_write::write_atomic;
use super::average::AverageWeights;
use super::error::TrainError;
use super::model::Model;
use super::optimizer::Optimizer;

/// Version of the header's format.
const VERSION: u32 = 1;
/// Name of the entry that holds the [`Header`] as JSON.
pub(super) const HEADER: &str = "pointshard";

/// The training to which weights belong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    /// The training's config.
    pub config: TrainConfig,
    /// Digest of the dataset's manifest.
    pub dataset: String,
    /// Number of steps, including skipped ones.
    pub step: u64,
    /// Number of steps that changed the weights.
    pub optimizer_steps: u64,
    /// The best validation so far.
    pub best: Option<BestValidation>,
}

/// The best validation of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BestValidation {
    /// After this step.
    pub step: u64,
    /// Its loss.
    pub loss: f64,
}

impl Header {
    pub(super) fn new(
        config: &TrainConfig,
        dataset: &str,
        step: u64,
        best: Option<BestValidation>,
    ) -> Self {
        Self {
            version: VERSION,
            config: config.clone(),
            dataset: dataset.to_owned(),
            step,
            optimizer_steps: 0,
            best,
        }
    }

    /// The header as JSON, to write to `path`.
    pub(super) fn to_json(&self, path: &Path) -> Result<String, TrainError> {
        serde_json::to_string(self).map_err(|e| TrainError::file(path, e.to_string()))
    }
}

/// The contents of a checkpoint file.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub header: Header,
    tensors: IndexMap<String, Tensor>,
}

/// Writes `model` to `path`, with `optimizer` and the average of the weights, if a training can resume from the checkpoint.
pub(super) fn write(
    path: &Path,
    header: &Header,
    model: &Model,
    optimizer: Option<&Optimizer>,
    average: Option<&AverageWeights>,
) -> Result<(), TrainError> {
    let header = Header {
        optimizer_steps: optimizer.map_or(0, Optimizer::steps),
        ..header.clone()
    };
    let weights = model.weights().iter().map(|(n, w)| (n.clone(), w));
    let state = optimizer.into_iter().flat_map(Optimizer::state);
    let header = HashMap::from([(HEADER.to_owned(), header.to_json(path)?)]);
    let average = average.into_iter().flat_map(AverageWeights::state);
    write_tensors(path, weights.chain(state).chain(average), Some(header))
}

/// Writes tensors by name to the safetensors file `path`.
pub(super) fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (String, &'a Tensor)>,
    header: Option<HashMap<String, String>>,
) -> Result<(), TrainError> {
    let mut stored = Vec::new();
    for (name, tensor) in tensors {
        let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?;
        let tensor = tensor.f_to_kind(Kind::Float)?.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * 4];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape: Vec<usize> = tensor.size().iter().map(|n| *n as usize).collect();
        stored.push((name, shape, bytes));
    }
    let failed = |e: safetensors::SafeTensorError| TrainError::file(path, e.to_string());
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let bytes = safetensors::serialize(views, &header).map_err(failed)?;
    write_atomic(path, &bytes)
}

impl Checkpoint {
    /// Reads a file written by [`write()`].
    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(TrainError::io("read", path))?;
        let bad = |problem: String| {
            TrainError::file(
                path,
                format!("{problem}; expected weights saved by `pointshard train`"),
            )
        };
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| bad(format!("not a safetensors file ({e})")))?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get(HEADER));
        let header = header.ok_or_else(|| bad(format!("its header has no `{HEADER}`")))?;
        let header: Header = serde_json::from_str(header)
            .map_err(|e| bad(format!("its `{HEADER}` header is invalid ({e})")))?;
        if header.version != VERSION {
            let found = header.version;
            return Err(bad(format!(
                "its version is {found}, but this program reads version {VERSION}"
            )));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
        let mut tensors = IndexMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(bad(format!("{name} is not float32")));
            }
            let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
            let tensor = Tensor::f_from_data_size(view.data(), &shape, Kind::Float)?;
            tensors.insert(name, tensor);
        }
        Ok(Self { header, tensors })
    }

    /// The network with the weights, on `device`.
    pub(super) fn model(&self, path: &Path, device: Device) -> Result<Model, TrainError> {
        let config = &self.header.config.model;
        if let Some((at, problem)) = config.problem() {
            return Err(TrainError::file(path, format!("model.{at}: {problem}")));
        }
        let mut weights = IndexMap::new();
        for (name, shape) in Model::names_and_shapes(config) {
            match self.tensors.get(&name) {
                Some(tensor) if tensor.size() == shape => {
                    weights.insert(name, tensor.shallow_clone());
                }
                found => {
                    let found = found.map_or("no tensor".into(), |t| format!("{:?}", t.size()));
                    let problem = format!("found {found} for {name}, expected {shape:?}");
                    return Err(TrainError::file(path, problem));
                }
            }
        }
        Ok(Model::with_weights(config, weights, device)?)
    }

    /// The average of the weights, on `device`.
    pub(super) fn average(
        &self,
        decay: f64,
        model: &Model,
        device: Device,
    ) -> Result<AverageWeights, TrainError> {
        let tensor = |name: &str| self.tensors.get(name)?.f_to_device(device).ok();
        Ok(AverageWeights::resume(decay, model, tensor)?)
    }

    /// The optimizer with its state, on `device`.
    pub(super) fn optimizer(&self, model: &Model, device: Device) -> Result<Optimizer, TrainError> {
        let mut state = IndexMap::new();
        for (name, tensor) in &self.tensors {
            state.insert(name.clone(), tensor.f_to_device(device)?);
        }
        Ok(Optimizer::resume(
            &self.header.config.optimizer,
            self.header.optimizer_steps,
            model.learned().map(|(name, _)| name.to_owned()),
            |name| state.swap_remove(name),
        ))
    }
}

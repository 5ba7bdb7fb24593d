//! The description of a training: JSON in, a validated [`TrainConfig`] out. Every default lives here. Unknown keys
//! and impossible values end in one error that names the file, the JSON path, what was found and what is allowed.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::loss::LossConfig;
use super::model::ModelConfig;
use super::optimizer::OptimizerConfig;
use crate::config::ConfigError;
use crate::loader::{Augmentation, Crop};

/// A training: which arrays, which network, which loss, for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The array that the network sees. Whole numbers are scaled to 0..1 by the type's largest value.
    pub image: String,
    /// The arrays that the network's output channels are held against, `!= 0`, in the order of the channels. The
    /// array `<target>_mask`, where the dataset has it, says where a target counts.
    #[schemars(length(min = 1))]
    pub targets: Vec<String>,
    /// The split to learn from, and the split to be judged by.
    #[serde(default)]
    pub splits: Splits,
    /// The network.
    pub model: ModelConfig,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossConfig,
    /// Batches with less in them are left out.
    #[serde(default)]
    pub min_nonzero: MinNonzero,
    /// How weights move.
    pub optimizer: OptimizerConfig,
    /// Samples per step.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// Steps to go.
    #[schemars(range(min = 1))]
    pub steps: u64,
    /// Steps from one validation to the next; the weights are saved then, too.
    #[schemars(range(min = 1))]
    pub validation_interval: u64,
    /// Samples to validate with, up to whole batches; all of the split without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_samples: Option<u64>,
    /// Seed of the weights, the order of the samples, and the augmentation.
    #[serde(default)]
    pub seed: u64,
    /// Threads that read and augment samples.
    #[serde(default = "default_workers")]
    #[schemars(range(min = 1))]
    pub workers: usize,
    /// Batches that are held ready at most.
    #[serde(default = "default_prefetch")]
    #[schemars(range(min = 1))]
    pub prefetch: usize,
    /// Where to compute: `cpu`, `cuda` or `cuda:N`.
    #[serde(default = "default_device")]
    pub device: String,
    /// What convolutions compute with. Weights, norms and the loss are float32 in any case.
    #[serde(default)]
    pub precision: Precision,
    /// What is done to samples of the training split. Nothing by default.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// A window smaller than the sample's. The whole sample by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
}

/// Names of splits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Splits {
    /// To learn from.
    pub train: String,
    /// To be judged by.
    pub val: String,
}

impl Default for Splits {
    fn default() -> Self {
        Self {
            train: "train".into(),
            val: "val".into(),
        }
    }
}

/// Least fractions of voxels that are not 0, of all voxels of a batch, for the batch to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinNonzero {
    /// Of the image.
    #[schemars(range(min = 0, max = 1))]
    pub image: f64,
    /// Of the masks.
    #[schemars(range(min = 0, max = 1))]
    pub mask: f64,
}

/// Type that convolutions compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    Float32,
    /// bfloat16: mixed precision, for GPUs that are made for it.
    Bfloat16,
}

fn default_workers() -> usize {
    2
}

fn default_prefetch() -> usize {
    4
}

fn default_device() -> String {
    "cpu".into()
}

/// The first name that is there before.
pub(super) fn twice(names: &[String]) -> Option<&String> {
    let mut earlier = std::collections::HashSet::new();
    names.iter().find(|name| !earlier.insert(*name))
}

impl TrainConfig {
    /// Reads and validates the config file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&crate::config::read_bytes(path)?, path)
    }

    /// Parses and validates `text`, the contents of the file `file` (for messages).
    pub fn parse(text: &[u8], file: &Path) -> Result<Self, ConfigError> {
        let config: Self = crate::config::from_json(text, file)?;
        match config.problem() {
            Some((path, problem)) => Err(ConfigError::invalid(file, path, problem)),
            None => Ok(config),
        }
    }

    /// The JSON Schema.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    fn problem(&self) -> Option<(String, String)> {
        let found = |path: &str, found: String, expected: &str| {
            Some((
                path.to_owned(),
                format!("found {found}, expected {expected}"),
            ))
        };
        if self.targets.is_empty() {
            return found("targets", "none".into(), "at least one array");
        }
        if let Some(twice) = twice(&self.targets) {
            return found("targets", format!("`{twice}` twice"), "each array once");
        }
        let channels = self.model.out_channels;
        if channels != self.targets.len() {
            let found = format!("{channels} for {} target(s)", self.targets.len());
            return Some((
                "model.out_channels".into(),
                format!("found {found}, expected one output channel per target"),
            ));
        }
        for (path, n) in [
            ("batch_size", self.batch_size as u64),
            ("steps", self.steps),
            ("validation_interval", self.validation_interval),
            ("workers", self.workers as u64),
            ("prefetch", self.prefetch as u64),
            ("validation_samples", self.validation_samples.unwrap_or(1)),
        ] {
            if n == 0 {
                return found(path, "0".into(), "at least 1");
            }
        }
        let fractions = [
            ("min_nonzero.image", self.min_nonzero.image),
            ("min_nonzero.mask", self.min_nonzero.mask),
        ];
        for (path, fraction) in fractions {
            if !(0.0..=1.0).contains(&fraction) {
                return found(path, fraction.to_string(), "a number from 0 to 1");
            }
        }
        if let Err(problem) = super::device::parse(&self.device) {
            return Some(("device".into(), problem));
        }
        let within = |room: &str, (path, problem)| (format!("{room}.{path}"), problem);
        (self.model.problem().map(|p| within("model", p)))
            .or_else(|| {
                let p = self.loss.problem(self.targets.len());
                p.map(|p| within("loss", p))
            })
            .or_else(|| self.optimizer.problem().map(|p| within("optimizer", p)))
    }
}

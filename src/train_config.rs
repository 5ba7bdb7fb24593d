//! The config of a training: reads JSON and returns a validated [`TrainConfig`] with all defaults. An error names the
//! file, the JSON path, what was found and what was expected.

mod assignment;
mod balance;
mod device;
mod inputs;
mod loss;
mod min_nonzero;
mod model;
mod optimizer;
mod schedule;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::loader::{Augmentation, Crop};

pub use assignment::AssignmentConfig;
pub use balance::{Balance, ClassWeights};
pub use device::ComputeDevice;
pub use inputs::InputsConfig;
pub use loss::{LossConfig, Reduction};
pub use min_nonzero::MinNonzero;
pub use model::{Activation, ModelConfig, Norm, Skip};
pub use optimizer::{Algorithm, OptimizerConfig};
pub use schedule::ScheduleConfig;

/// A training: arrays, network, loss and duration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The inputs of the network: an array or a list of arrays, whose channels follow each other.
    pub image: InputsConfig,
    /// The target arrays, one per output channel, in the order of the channels; voxels that are not 0 are positive. If
    /// the dataset has an array `<target>_mask`, it is the mask of the target.
    #[schemars(length(min = 1))]
    pub targets: Vec<String>,
    /// The splits for training and validation.
    #[serde(default)]
    pub splits: Splits,
    /// The network.
    pub model: ModelConfig,
    /// The loss function.
    #[serde(default)]
    pub loss: LossConfig,
    /// Batches with fewer voxels with data are skipped.
    #[serde(default)]
    pub min_nonzero: MinNonzero,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes; constant by default.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Gradients are scaled so that their norm, that of all weights together, is at most this; not scaled by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip_gradients: Option<f64>,
    /// Validate and export an exponential moving average of the weights with this decay; the weights themselves by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub ema_decay: Option<f64>,
    /// Samples per batch.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// Batches per step. Their gradients are averaged.
    #[serde(default = "default_accumulate", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1))]
    pub accumulate: u64,
    /// Number of steps.
    #[schemars(range(min = 1))]
    pub steps: u64,
    /// Steps between validations. Each validation also saves the weights.
    #[schemars(range(min = 1))]
    pub validation_interval: u64,
    /// End the training after this number of validations without a lower loss; never by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub patience: Option<u64>,
    /// Number of samples to validate with, rounded up to whole batches; the whole split by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_samples: Option<u64>,
    /// Seed of the weights, the order of the samples and the augmentation.
    #[serde(default)]
    pub seed: u64,
    /// Number of threads that read and augment samples.
    #[serde(default = "default_workers")]
    #[schemars(range(min = 1))]
    pub workers: usize,
    /// Maximum number of batches to prepare ahead.
    #[serde(default = "default_prefetch")]
    #[schemars(range(min = 1))]
    pub prefetch: usize,
    /// Device to compute on: `cpu`, `cuda` or `cuda:N`.
    #[serde(default = "default_device")]
    pub device: String,
    /// Data type of convolutions. Weights, norms and the loss are always float32.
    #[serde(default)]
    pub precision: Precision,
    /// Augmentation of the training samples; none by default.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Crop samples to a smaller window; the whole sample by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Also score how often the output selects the sample's object in a segmentation; not by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<AssignmentConfig>,
}

/// Names of the splits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Splits {
    /// Split to train on.
    pub train: String,
    /// Split to validate on.
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

/// Data type of convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    Float32,
    /// bfloat16: mixed precision, for GPUs that support it.
    Bfloat16,
}

fn default_accumulate() -> u64 {
    1
}

fn is_one(n: &u64) -> bool {
    *n == 1
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

/// The first name that occurs twice.
pub fn duplicate(names: &[String]) -> Option<&String> {
    let mut seen = std::collections::HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

impl TrainConfig {
    /// Reads and validates the config file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&crate::config::read_bytes(path)?, path)
    }

    /// Parses and validates `text`, the contents of `file`, which is named in errors.
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
        let within = |section: &str, (path, problem)| (format!("{section}.{path}"), problem);
        (self.image.problem())
            .map(|(path, problem)| (format!("image{path}"), problem))
            .or_else(|| self.zeros_problem())
            .or_else(|| self.targets_problem())
            .or_else(|| self.numbers_problem())
            .or_else(|| {
                let problem = ComputeDevice::parse(&self.device).err();
                problem.map(|problem| ("device".to_owned(), problem))
            })
            .or_else(|| self.model.problem().map(|p| within("model", p)))
            .or_else(|| {
                let p = self.loss.problem(self.targets.len());
                p.map(|p| within("loss", p))
            })
            .or_else(|| self.optimizer.problem().map(|p| within("optimizer", p)))
            .or_else(|| {
                let p = self.schedule.problem(self.optimizer.lr);
                p.map(|p| within("schedule", p))
            })
    }

    /// Voxels without data are those that are 0 in the network, so an input must not have another 0 there than in its array.
    fn zeros_problem(&self) -> Option<(String, String)> {
        let key = if self.loss.mask_on_zeros {
            "loss.mask_on_zeros"
        } else if self.min_nonzero.image > 0.0 {
            "min_nonzero.image"
        } else {
            return None;
        };
        let (path, [low, high]) = self.image.moved_zero()?;
        let expected = format!("a range from 0 on, because `{key}` ignores voxels that are 0");
        problem(
            &format!("image{path}"),
            &format!("[{low}, {high}]"),
            &expected,
        )
    }

    fn targets_problem(&self) -> Option<(String, String)> {
        if self.targets.is_empty() {
            return problem("targets", "none", "at least one array");
        }
        if let Some(duplicate) = duplicate(&self.targets) {
            let found = format!("`{duplicate}` twice");
            return problem("targets", &found, "each array once");
        }
        let channels = self.model.out_channels;
        if channels != self.targets.len() {
            let found = format!("{channels} for {} target(s)", self.targets.len());
            return problem(
                "model.out_channels",
                &found,
                "one output channel per target",
            );
        }
        None
    }

    fn numbers_problem(&self) -> Option<(String, String)> {
        for (path, n) in [
            ("batch_size", self.batch_size as u64),
            ("steps", self.steps),
            ("validation_interval", self.validation_interval),
            ("accumulate", self.accumulate),
            ("patience", self.patience.unwrap_or(1)),
            ("workers", self.workers as u64),
            ("prefetch", self.prefetch as u64),
            ("validation_samples", self.validation_samples.unwrap_or(1)),
        ] {
            if n == 0 {
                return problem(path, "0", "at least 1");
            }
        }
        if let Some(norm) = self.clip_gradients.filter(|n| !(n.is_finite() && *n > 0.0)) {
            return problem("clip_gradients", &norm.to_string(), "a number above 0");
        }
        if let Some(decay) = self.ema_decay.filter(|d| !(0.0..1.0).contains(d)) {
            return problem(
                "ema_decay",
                &decay.to_string(),
                "a number from 0 to below 1",
            );
        }
        let fractions = [
            ("min_nonzero.image", self.min_nonzero.image),
            ("min_nonzero.mask", self.min_nonzero.mask),
        ];
        for (path, fraction) in fractions {
            if !(0.0..=1.0).contains(&fraction) {
                return problem(path, &fraction.to_string(), "a number from 0 to 1");
            }
        }
        None
    }
}

/// A JSON path, and the problem there.
fn problem(path: &str, found: &str, expected: &str) -> Option<(String, String)> {
    let problem = format!("found {found}, expected {expected}");
    Some((path.to_owned(), problem))
}

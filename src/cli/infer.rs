//! Arguments of `pointshard infer`.

use std::path::PathBuf;

use crate::storage::Location;
use clap::{Args, ValueEnum};

use super::network::NetworkArgs;
use super::{local_path, location};

/// Predict a split with a trained network and evaluate the predictions
#[derive(Debug, Args)]
pub struct InferArgs {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_parser = location::output())]
    pub dataset: Location,
    /// Weights saved by `train` (.safetensors), or any TorchScript module
    #[arg(long, value_name = "FILE", value_parser = local_path::input())]
    pub model: PathBuf,
    /// Config file of the training: gives image, targets and loss. Weights saved by `train` contain it
    #[arg(long, value_name = "FILE", value_parser = local_path::input())]
    pub config: Option<PathBuf>,
    /// Split to predict
    #[arg(long, default_value = "val")]
    pub split: String,
    /// Input arrays, separated by commas [default: those used in training, or the dataset's image]
    #[arg(long, value_name = "ARRAYS", value_delimiter = ',')]
    pub image: Option<Vec<String>>,
    /// Target arrays to evaluate against, one per channel, separated by commas
    #[arg(long, value_name = "ARRAYS", value_delimiter = ',')]
    pub targets: Option<Vec<String>>,
    /// Output folder [default: predictions/MODEL_NAME in the dataset folder, if that is local]
    #[arg(long, value_name = "DIR", value_parser = local_path::output())]
    pub out: Option<PathBuf>,
    /// Overwrite predictions in the output folder
    #[arg(long)]
    pub force: bool,
    /// Data type of the stored probabilities
    #[arg(long, value_enum, default_value_t = ProbabilityType::Float32)]
    pub dtype: ProbabilityType,
    /// Device to compute on: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Size in voxels of the window to predict in the center of each sample [default: the whole sample]
    #[arg(long, num_args = 3, value_names = ["X", "Y", "Z"])]
    pub window: Option<Vec<u32>>,
    /// Samples per batch [default: as in training, or 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch_size: Option<u16>,
    /// Number of threads that read samples
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: u16,
    /// Number of libtorch threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// Data type of stored probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProbabilityType {
    /// Unchanged.
    #[default]
    Float32,
    /// Multiplied by 255 and rounded; takes a quarter of the space.
    Uint8,
}

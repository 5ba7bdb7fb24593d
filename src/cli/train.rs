//! Arguments of `pointshard train`.

use std::path::PathBuf;

use crate::storage::Location;
use clap::Args;

use super::network::NetworkArgs;
use super::{local_path, location};

/// Train a network on a dataset, to show that it can be learned from; rerun to resume
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_parser = location::output())]
    pub dataset: Location,
    /// Config file of the training (JSON; `pointshard schema --train` prints its schema)
    #[arg(long, value_name = "FILE", value_parser = local_path::input())]
    pub config: PathBuf,
    /// Output folder [default: training/CONFIG_NAME in the dataset folder, if that is local]
    #[arg(long, value_name = "DIR", value_parser = local_path::output())]
    pub out: Option<PathBuf>,
    /// Device to compute on: cpu, cuda or cuda:N [default: the config's]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Number of steps to train for, those of earlier runs included [default: the config's]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Number of libtorch threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Overwrite another training in the output folder
    #[arg(long)]
    pub force: bool,
    /// Save inputs, outputs and gradients of the first N steps to steps/ in the output folder
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub record: u64,
    /// Start a new training from the weights of another one (.safetensors), whose network is the same
    #[arg(long, value_name = "FILE", value_parser = local_path::input())]
    pub initial_weights: Option<PathBuf>,
    #[command(flatten)]
    pub network: NetworkArgs,
}

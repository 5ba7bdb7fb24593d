//! `pointshard infer`: predicts a split and prints the scores of the predictions.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dataset::Dataset;
use crate::storage::Location;
use crate::trainer::{InferOptions, ProbabilityType, TrainConfig, TrainError, infer};
use clap::Args;
use indicatif::HumanCount;

use super::failure::Failure;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::progress::{Status, with_progress};
use super::train::{output_folder, print_scores, set_threads, warn_of_excluded_samples};
use super::{local_path, location};

/// Predict a split with a trained network and evaluate the predictions
#[derive(Debug, Args)]
pub(super) struct Infer {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_parser = location::output())]
    dataset: Location,
    /// Weights saved by `train` (.safetensors), or any TorchScript module
    #[arg(long, value_name = "FILE", value_parser = local_path::input())]
    model: PathBuf,
    /// Config file of the training: gives image, targets and loss. Weights saved by `train` contain it
    #[arg(long, value_name = "FILE", value_parser = local_path::input())]
    config: Option<PathBuf>,
    /// Split to predict
    #[arg(long, default_value = "val")]
    split: String,
    /// Input arrays, separated by commas [default: those used in training, or the dataset's image]
    #[arg(long, value_name = "ARRAYS", value_delimiter = ',')]
    image: Option<Vec<String>>,
    /// Target arrays to evaluate against, one per channel, separated by commas
    #[arg(long, value_name = "ARRAYS", value_delimiter = ',')]
    targets: Option<Vec<String>>,
    /// Output folder [default: predictions/MODEL_NAME in the dataset folder, if that is local]
    #[arg(long, value_name = "DIR", value_parser = local_path::output())]
    out: Option<PathBuf>,
    /// Overwrite predictions in the output folder
    #[arg(long)]
    force: bool,
    /// Data type of the stored probabilities
    #[arg(long, value_enum, default_value_t = ProbabilityType::Float32)]
    dtype: ProbabilityType,
    /// Device to compute on: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Size in voxels of the window to predict in the center of each sample [default: the whole sample]
    #[arg(long, num_args = 3, value_names = ["X", "Y", "Z"])]
    window: Option<Vec<u32>>,
    /// Samples per batch [default: as in training, or 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: Option<u16>,
    /// Number of threads that read samples
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// Number of libtorch threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[command(flatten)]
    network: NetworkArgs,
}

impl Infer {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        set_threads(self.threads);
        let default = Path::new("predictions").join(name(&self.model));
        let folder = output_folder(self.out, &self.dataset, &default)?;
        let storage = self.network.storage(printer);
        let dataset = Dataset::open(&self.dataset, &storage).map_err(TrainError::from)?;
        let options = InferOptions {
            model: self.model,
            training: self.config.as_deref().map(TrainConfig::read).transpose()?,
            split: self.split,
            image: self.image,
            targets: self.targets,
            folder,
            force: self.force,
            // clap guarantees three values.
            window: self.window.and_then(|w| w.try_into().ok()),
            batch_size: self.batch_size.map(usize::from),
            workers: usize::from(self.workers),
            device: self.device,
            probability_type: self.dtype,
        };
        printer.note(format!(
            "predicting {} of {} with {}",
            options.split,
            self.dataset,
            options.model.display()
        ));
        let done = AtomicU64::new(0);
        let total = dataset.manifest().splits.get(&options.split);
        let total = total.map_or(0, |s| s.samples);
        let status = || Status {
            done: done.load(Ordering::Relaxed),
            total,
            details: None,
            preparing: None,
        };
        let work = || infer(&dataset, &options, &done);
        let inferred = with_progress(printer, "samples", status, work)?;
        let samples = HumanCount(inferred.evaluation.samples);
        printer.result(format!(
            "predicted {samples} samples: {}",
            inferred.group.display()
        ));
        if inferred.evaluation.channels.is_empty() {
            printer.result("no targets to evaluate the predictions against");
        } else {
            warn_of_excluded_samples(printer, &inferred.evaluation);
            print_scores(printer, &inferred.evaluation, None);
        }
        printer.result(format!("report   {}", inferred.report.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// The folder name for predictions of the network in `file`. It includes the run's folder for the file names that `train`
/// uses, because every run has a `best.safetensors`.
fn name(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or("model".as_ref());
    let run = file.parent().and_then(Path::file_name);
    match run.filter(|_| ["best", "last", "model"].map(Some).contains(&stem.to_str())) {
        Some(run) => Path::new(run).join(stem),
        None => stem.into(),
    }
}

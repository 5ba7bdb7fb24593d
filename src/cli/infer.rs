//! `pointshard infer`: predictions of a split, and what they are worth.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dataset::Dataset;
use crate::trainer::{InferOptions, Stored, TrainConfig, TrainError, infer};
use clap::Args;
use indicatif::HumanCount;

use super::printer::Printer;
use super::progress::{Reached, told};
use super::train::{scores, set_threads, warn_of_left_out};
use super::{Failure, local};

/// Predict a split with a trained network, and hold the predictions against its targets
#[derive(Debug, Args)]
pub(super) struct Infer {
    /// The dataset's folder
    #[arg(value_parser = local::read())]
    dataset: PathBuf,
    /// Weights that `train` saved (.safetensors), or any TorchScript module
    #[arg(long, value_name = "FILE", value_parser = local::read())]
    model: PathBuf,
    /// The training that the network comes from, a JSON file: says image, targets, and how to score. Weights that
    /// `train` saved say so themselves
    #[arg(long, value_name = "FILE", value_parser = local::read())]
    config: Option<PathBuf>,
    /// The split
    #[arg(long, default_value = "val")]
    split: String,
    /// The array that the network sees; the one it was trained with, or the dataset's image, by default
    #[arg(long, value_name = "ARRAY")]
    image: Option<String>,
    /// The arrays that predictions are held against, one per channel, separated by commas
    #[arg(long, value_name = "ARRAYS", value_delimiter = ',')]
    targets: Option<Vec<String>>,
    /// Folder of the predictions; `predictions/` and the model's name in the dataset's folder by default
    #[arg(long, value_name = "DIR", value_parser = local::written())]
    out: Option<PathBuf>,
    /// Replace predictions that lie there
    #[arg(long)]
    force: bool,
    /// What probabilities are stored as
    #[arg(long, value_enum, default_value_t = Stored::Float32)]
    dtype: Stored,
    /// Compute here: cpu, cuda, cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Predict the middle of each sample only, so many voxels; the whole sample by default
    #[arg(long, num_args = 3, value_names = ["X", "Y", "Z"])]
    window: Option<Vec<u32>>,
    /// Samples at a time; as many as in the training, or 4, by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: Option<u16>,
    /// Threads that read samples
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// Threads that libtorch computes with; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl Infer {
    pub(super) fn run(self, printer: Printer) -> Result<ExitCode, Failure> {
        set_threads(self.threads);
        let dataset = Dataset::open(&self.dataset).map_err(TrainError::from)?;
        let folder = self
            .out
            .unwrap_or_else(|| self.dataset.join("predictions").join(name(&self.model)));
        let options = InferOptions {
            model: self.model,
            training: self.config.as_deref().map(TrainConfig::read).transpose()?,
            split: self.split,
            image: self.image,
            targets: self.targets,
            folder,
            force: self.force,
            // clap has seen to it that there are three.
            window: self.window.and_then(|w| w.try_into().ok()),
            batch_size: self.batch_size.map(usize::from),
            workers: usize::from(self.workers),
            device: self.device,
            stored: self.dtype,
        };
        printer.note(format!(
            "predicting {} of {} with {}",
            options.split,
            self.dataset.display(),
            options.model.display()
        ));
        let done = AtomicU64::new(0);
        let total = dataset.manifest().splits.get(&options.split);
        let total = total.map_or(0, |s| s.samples);
        let reached = || Reached {
            done: done.load(Ordering::Relaxed),
            total,
            more: None,
        };
        let work = || infer(&dataset, &options, &done);
        let inferred = told(printer, "samples", reached, work)?;
        let samples = HumanCount(inferred.evaluation.samples);
        printer.result(format!(
            "{samples} samples predicted: {}",
            inferred.group.display()
        ));
        match inferred.evaluation.channels.is_empty() {
            true => printer.result("no targets to hold the predictions against"),
            false => {
                warn_of_left_out(printer, &inferred.evaluation);
                printer.rows(&scores(&inferred.evaluation));
            }
        }
        printer.result(format!("report   {}", inferred.report.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// What predictions of the network in `file` are called: `best.safetensors` is in the folder of its run.
fn name(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or("model".as_ref());
    let run = file.parent().and_then(Path::file_name);
    match run.filter(|_| ["best", "last", "model"].map(Some).contains(&stem.to_str())) {
        Some(run) => Path::new(run).join(stem),
        None => stem.into(),
    }
}

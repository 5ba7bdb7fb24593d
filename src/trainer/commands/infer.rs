//! `pointshard infer`: predicts a split and prints the scores of the predictions.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::HumanCount;
use pointshard::Dataset;
use pointshard::trainer_api::{Failure, InferArgs, Printer, Status, TrainConfig, with_progress};

use super::train::{output_folder, print_scores, set_threads, warn_of_excluded_samples};
use crate::error::TrainError;
use crate::infer::{InferOptions, infer};

/// Predicts the split, and prints the scores.
pub(crate) fn run(args: InferArgs, printer: &Printer) -> Result<ExitCode, Failure> {
    set_threads(args.threads);
    let default = Path::new("predictions").join(name(&args.model));
    let folder = output_folder(args.out, &args.dataset, &default)?;
    let storage = args.network.storage(printer);
    let dataset = Dataset::open(&args.dataset, &storage).map_err(TrainError::from)?;
    let options = InferOptions {
        model: args.model,
        training: args.config.as_deref().map(TrainConfig::read).transpose()?,
        split: args.split,
        image: args.image,
        targets: args.targets,
        folder,
        force: args.force,
        // clap guarantees three values.
        window: args.window.and_then(|w| w.try_into().ok()),
        batch_size: args.batch_size.map(usize::from),
        workers: usize::from(args.workers),
        device: args.device,
        probability_type: args.dtype,
    };
    printer.note(format!(
        "predicting {} of {} with {}",
        options.split,
        args.dataset,
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

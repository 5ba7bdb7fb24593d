//! `pointshard train`: trains a network and prints its scores.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::HumanCount;
use pointshard::trainer_api::{
    Failure, Printer, Rows, Status, TrainArgs, TrainConfig, with_progress,
};
use pointshard::{ConfigError, Dataset, FaultKind, Location};

use crate::error::TrainError;
use crate::evaluate::Evaluation;
use crate::run::{TrainOptions, TrainOutcome, TrainProgress, train};

/// Trains the network, and prints its scores.
pub(crate) fn run(args: &TrainArgs, printer: &Printer) -> Result<ExitCode, Failure> {
    let mut config = TrainConfig::read(&args.config)?;
    if let Some(device) = &args.device {
        config.device.clone_from(device);
    }
    config.steps = args.steps.unwrap_or(config.steps);
    set_threads(args.threads);
    let name = args.config.file_stem().unwrap_or("run".as_ref());
    let folder = output_folder(
        args.out.clone(),
        &args.dataset,
        &Path::new("training").join(name),
    )?;
    let storage = args.network.storage(printer);
    let dataset = Dataset::open(&args.dataset, &storage).map_err(TrainError::from)?;
    printer.note(format!(
        "training on {} for {} steps into {}",
        args.dataset,
        HumanCount(config.steps),
        folder.display()
    ));
    let options = TrainOptions {
        folder: &folder,
        force: args.force,
        record: args.record,
        initial_weights: args.initial_weights.as_deref(),
    };
    let progress = TrainProgress::default();
    let work = || train(&dataset, &config, options, &progress);
    let trained = with_progress(printer, "steps", || status(&progress), work)
        .map_err(|e| with_place(args, e))?;
    print(printer, &trained, &folder);
    Ok(ExitCode::SUCCESS)
}

/// Adds the config file's name to errors in the config, or names the flag that replaces a key.
fn with_place(args: &TrainArgs, error: TrainError) -> Failure {
    match error {
        TrainError::Config { path, problem } if path == "device" && args.device.is_some() => {
            let path = "--device".to_owned();
            TrainError::Config { path, problem }.into()
        }
        TrainError::Config { path, problem } => ConfigError::Invalid {
            file: args.config.clone(),
            path,
            problem,
        }
        .into(),
        other => other.into(),
    }
}

/// Prints the summary of a successful run.
fn print(printer: &Printer, trained: &TrainOutcome, folder: &Path) {
    let steps = trained.steps - trained.resumed_from;
    if steps == 0 {
        let all = HumanCount(trained.steps);
        printer.result(format!("steps    all {all} already present; nothing to do"));
    } else {
        let resumed = match trained.resumed_from {
            0 => String::new(),
            step => format!(" (resumed after step {})", HumanCount(step)),
        };
        printer.result(format!(
            "steps    {}{resumed}; {} weights, {:.1} samples/s, {:.1} % of the time spent waiting for data",
            HumanCount(steps),
            HumanCount(trained.weights),
            trained.samples_per_s,
            100.0 * trained.data_wait
        ));
    }
    if trained.stopped_early {
        printer.result("stopped  early: no lower loss within `patience`");
    }
    if trained.skipped_steps > 0 {
        printer.warn(format!(
            "{} of these steps were skipped: their batches are below `min_nonzero`",
            HumanCount(trained.skipped_steps)
        ));
    }
    warn_of_excluded_samples(printer, &trained.evaluation);
    printer.result(format!(
        "best     weights of step {}",
        HumanCount(trained.best_step)
    ));
    print_scores(printer, &trained.evaluation, Some(trained.steps));
    let report = folder.join("report.html");
    printer.result(format!("report   {}", report.display()));
    printer.result(format!("module   {}", folder.join("model.pt").display()));
    if trained.has_onnx {
        printer.result(format!("ONNX     {}", folder.join("model.onnx").display()));
    } else {
        printer.warn("model.onnx was not written: the weights take 2 GiB or more, and an ONNX file must be smaller");
    }
}

/// The folder to write to: `out`, or `default` in the folder of a local dataset.
pub(super) fn output_folder(
    out: Option<PathBuf>,
    dataset: &Location,
    default: &Path,
) -> Result<PathBuf, Failure> {
    match (out, dataset) {
        (Some(out), _) => Ok(out),
        (None, Location::Local(folder)) => Ok(folder.join(default)),
        (None, Location::Remote(_)) => Err(Failure::new(
            FaultKind::Usage,
            anyhow::anyhow!(
                "{dataset} is not a local folder, so nothing is written to it: give a local output folder with --out"
            ),
        )),
    }
}

/// Sets the number of libtorch threads.
pub(super) fn set_threads(threads: Option<u16>) {
    if let Some(threads) = threads {
        tch::set_num_threads(i32::from(threads));
    }
}

/// Warns if samples are excluded from the scores.
pub(super) fn warn_of_excluded_samples(printer: &Printer, evaluation: &Evaluation) {
    if evaluation.samples_left_out > 0 {
        printer.warn(format!(
            "{} of {} samples are excluded from the scores: their batches are below `min_nonzero`",
            HumanCount(evaluation.samples_left_out),
            HumanCount(evaluation.samples)
        ));
    }
}

/// Prints the scores, and warns of targets that were not learned.
pub(super) fn print_scores(printer: &Printer, evaluation: &Evaluation, steps: Option<u64>) {
    printer.rows(&scores(evaluation));
    let assigned = assignment(evaluation);
    if let Some(assigned) = &assigned {
        printer.rows(assigned);
    }
    for verdict in evaluation.verdicts(steps) {
        printer.warn(verdict);
    }
}

/// A table of assignment accuracy with a row per target that has objects.
fn assignment(evaluation: &Evaluation) -> Option<Rows> {
    let mut table = Rows::new([
        "assignment",
        "samples",
        "accuracy",
        "largest object",
        "mean target",
    ]);
    let mut is_empty = true;
    for (name, channel) in &evaluation.channels {
        let Some(scores) = &channel.assignment else {
            continue;
        };
        let values = [scores.accuracy, scores.largest_object, scores.mean_target];
        let values = values.map(|v| v.map_or("-".to_owned(), |v| format!("{v:.4}")));
        let samples = HumanCount(scores.samples).to_string();
        table.add_row([name.clone(), samples].into_iter().chain(values));
        is_empty = false;
    }
    (!is_empty).then_some(table)
}

/// A table of scores with a row per target.
fn scores(evaluation: &Evaluation) -> Rows {
    let mut table = Rows::new([
        "target",
        "loss",
        "constant loss",
        "Dice",
        "IoU",
        "average precision",
    ]);
    for (name, channel) in &evaluation.channels {
        let scores = &channel.scores;
        let values = [
            channel.loss,
            channel.constant_loss,
            scores.dice,
            scores.iou,
            scores.average_precision,
        ];
        let values = values.map(|v| v.map_or("-".to_owned(), |v| format!("{v:.4}")));
        table.add_row(std::iter::once(name.clone()).chain(values));
    }
    table
}

fn status(progress: &TrainProgress) -> Status {
    let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
    let spent = (load(&progress.spent_us) as f64 / 1e6).max(1e-9);
    let loss = match f64::from_bits(load(&progress.loss_bits)) {
        0.0 => "-".to_owned(),
        loss => format!("{loss:.4}"),
    };
    Status {
        done: load(&progress.steps_done),
        total: load(&progress.steps_total),
        preparing: None,
        details: Some(format!(
            "loss {loss}  {:.1} samples/s  {:.0} % waiting for data",
            load(&progress.samples) as f64 / spent,
            load(&progress.waited_us) as f64 / 1e4 / spent
        )),
    }
}

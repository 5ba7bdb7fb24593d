//! `pointshard train`: a bar while it learns, the scores at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::ConfigError;
use crate::dataset::Dataset;
use crate::trainer::{Evaluation, TrainConfig, TrainError, TrainOptions, TrainProgress, train};
use clap::Args;
use indicatif::HumanCount;

use super::printer::Printer;
use super::progress::{Reached, told};
use super::rows::Rows;
use super::{Failure, local};

/// Train a network on a dataset, to prove that it can be learnt from; run again, go on
#[derive(Debug, Args)]
pub(super) struct Train {
    /// The dataset's folder
    #[arg(value_parser = local::read())]
    dataset: PathBuf,
    /// What to train: a JSON file
    #[arg(long, value_name = "FILE", value_parser = local::read())]
    config: PathBuf,
    /// The run's folder; `training/` and the config's name in the dataset's folder by default
    #[arg(long, value_name = "DIR", value_parser = local::written())]
    out: Option<PathBuf>,
    /// Compute here, whatever the config says: cpu, cuda, cuda:N
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Go on to this step, whatever the config says
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Threads that libtorch computes with; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Forget another training that lies in the run's folder
    #[arg(long)]
    force: bool,
    /// Save all that goes into and comes out of the first N steps to steps/ in the run's folder
    #[arg(long, value_name = "N", default_value_t = 0)]
    record: u64,
}

impl Train {
    pub(super) fn run(self, printer: Printer) -> Result<ExitCode, Failure> {
        let mut config = TrainConfig::read(&self.config)?;
        if let Some(device) = &self.device {
            config.device.clone_from(device);
        }
        config.steps = self.steps.unwrap_or(config.steps);
        set_threads(self.threads);
        let dataset = Dataset::open(&self.dataset).map_err(TrainError::from)?;
        let folder = self.out.unwrap_or_else(|| {
            let name = self.config.file_stem().unwrap_or("run".as_ref());
            self.dataset.join("training").join(name)
        });
        printer.note(format!(
            "training on {} for {} steps into {}",
            self.dataset.display(),
            HumanCount(config.steps),
            folder.display()
        ));
        let options = TrainOptions {
            folder: &folder,
            force: self.force,
            record: self.record,
        };
        let progress = TrainProgress::default();
        let work = || train(&dataset, &config, options, &progress);
        let trained = told(printer, "steps", || reached(&progress), work)
            .map_err(|e| of_config(e, &self.config))?;
        let made = trained.steps - trained.resumed_from;
        printer.result(match made {
            0 => format!("all {} steps were made already", HumanCount(trained.steps)),
            _ => format!(
                "{} steps{}, {} weights; {:.1} samples/s, {:.1} % of the time spent waiting for data",
                HumanCount(made),
                match trained.resumed_from {
                    0 => String::new(),
                    step => format!(" (after step {})", HumanCount(step)),
                },
                HumanCount(trained.weights),
                trained.samples_per_s,
                100.0 * trained.data_wait
            ),
        });
        if trained.left_out > 0 {
            printer.warn(format!(
                "{} of these steps were left out: their batches have less in them than `min_nonzero`",
                HumanCount(trained.left_out)
            ));
        }
        warn_of_left_out(printer, &trained.evaluation);
        printer.result(format!(
            "best weights: those of step {}",
            HumanCount(trained.best_step)
        ));
        printer.rows(&scores(&trained.evaluation));
        printer.result(format!("report   {}", shown(&folder, "report.html")));
        printer.result(format!("module   {}", shown(&folder, "model.pt")));
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// Has libtorch compute with so many threads.
pub(super) fn set_threads(threads: Option<u16>) {
    if let Some(threads) = threads {
        crate::trainer::set_threads(i32::from(threads));
    }
}

/// Says how many samples have no part in the scores.
pub(super) fn warn_of_left_out(printer: Printer, evaluation: &Evaluation) {
    if evaluation.samples_left_out > 0 {
        printer.warn(format!(
            "{} of {} samples have no part in the scores: their batches have less in them than `min_nonzero`",
            HumanCount(evaluation.samples_left_out),
            HumanCount(evaluation.samples)
        ));
    }
}

/// A table of scores, a row per target.
pub(super) fn scores(evaluation: &Evaluation) -> Rows {
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

fn reached(progress: &TrainProgress) -> Reached {
    let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
    let spent = (load(&progress.spent_us) as f64 / 1e6).max(1e-9);
    let loss = match f64::from_bits(load(&progress.loss_bits)) {
        0.0 => "-".to_owned(),
        loss => format!("{loss:.4}"),
    };
    Reached {
        done: load(&progress.steps_done),
        total: load(&progress.steps_total),
        more: Some(format!(
            "loss {loss}  {:.1} samples/s  {:.0} % waiting for data",
            load(&progress.samples) as f64 / spent,
            load(&progress.waited_us) as f64 / 1e4 / spent
        )),
    }
}

/// What is wrong with the config, with the file's name.
fn of_config(error: TrainError, file: &Path) -> Failure {
    match error {
        TrainError::Config { path, problem } => ConfigError::Invalid {
            file: file.to_owned(),
            path,
            problem,
        }
        .into(),
        other => other.into(),
    }
}

//! `pointshard train`: a bar while it learns, the scores at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Args;
use comfy_table::CellAlignment;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use pointshard::config::ConfigError;
use pointshard::dataset::Dataset;
use pointshard::trainer::{
    Evaluation, TrainConfig, TrainError, TrainOptions, TrainProgress, train,
};

use super::Failure;
use super::printer::Printer;
use super::summary::table;

/// Train a network on a dataset, to prove that it can be learnt from; run again, go on
#[derive(Debug, Args)]
pub(super) struct Train {
    /// The dataset's folder
    dataset: PathBuf,
    /// What to train: a JSON file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The run's folder; `training/` and the config's name in the dataset's folder by default
    #[arg(long, value_name = "DIR")]
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
        let trained = told(printer, &progress, || {
            train(&dataset, &config, options, &progress)
        })?;
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
        printer.result(format!(
            "best weights: those of step {}",
            HumanCount(trained.best_step)
        ));
        printer.result(scores(&trained.evaluation));
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
        pointshard::trainer::set_threads(i32::from(threads));
    }
}

/// A table of scores, a row per target.
pub(super) fn scores(evaluation: &Evaluation) -> String {
    let mut table = table([
        "target",
        "loss",
        "constant loss",
        "Dice",
        "IoU",
        "average precision",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
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
    table.to_string()
}

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs `work` while another thread tells how far `progress` is.
fn told<T: Send>(printer: Printer, progress: &TrainProgress, work: impl FnOnce() -> T) -> T {
    if !printer.tells_progress() {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, wait) = mpsc::channel::<()>();
        scope.spawn(move || {
            let bar = printer.draws_bars().then(bar);
            let every = if bar.is_some() {
                Duration::from_millis(100)
            } else {
                LINE_EVERY
            };
            while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(every) {
                let total = progress.steps_total.load(Ordering::Relaxed);
                let steps = progress.steps_done.load(Ordering::Relaxed);
                match &bar {
                    Some(bar) => {
                        bar.set_length(total);
                        bar.set_position(steps);
                        bar.set_message(rates(progress));
                    }
                    None => printer.note(format!(
                        "step {} of {}, {}",
                        HumanCount(steps),
                        HumanCount(total),
                        rates(progress)
                    )),
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:32} step {human_pos}/{human_len}  {msg}  {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

fn rates(progress: &TrainProgress) -> String {
    let load = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed) as f64;
    let spent = (load(&progress.spent_us) / 1e6).max(1e-9);
    let loss = f64::from_bits(progress.loss_bits.load(Ordering::Relaxed));
    format!(
        "loss {loss:.4}  {:.1} samples/s  {:.0} % waiting for data",
        load(&progress.samples) / spent,
        load(&progress.waited_us) / 1e4 / spent
    )
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self {
            error: error.into(),
            usage: true,
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        Self {
            usage: error.is_usage(),
            error: error.into(),
        }
    }
}

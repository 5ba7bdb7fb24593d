//! What a training's report shows: curves of its history, what the best weights are worth, pictures.

use super::config::TrainConfig;
use super::evaluate::{ChannelEvaluation, Evaluation};
use super::history::Line;
use crate::dataset::Dataset;
use crate::preview::{Chart, PictureRow, Report, Series, Table};

/// What is known of a training besides its history.
pub(super) struct About<'a> {
    pub config: &'a TrainConfig,
    pub dataset: &'a Dataset,
    pub weights: u64,
    pub steps: u64,
    pub best_step: u64,
}

/// Points of a curve: longer histories are averaged over runs of steps.
const POINTS: usize = 400;

/// The report of a training.
pub(super) fn report(
    about: &About<'_>,
    lines: &[Line],
    best: &Evaluation,
    pictures: Vec<PictureRow>,
) -> Report {
    let config = about.config;
    let samples = |split: &str| {
        let splits = &about.dataset.manifest().splits;
        splits.get(split).map_or(0, |s| s.samples).to_string()
    };
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let facts = vec![
        fact("dataset", about.dataset.root().display().to_string()),
        fact("training samples", samples(&config.splits.train)),
        fact("validation samples", samples(&config.splits.val)),
        fact("weights", about.weights.to_string()),
        fact(
            "steps",
            format!("{} of batch size {}", about.steps, config.batch_size),
        ),
        fact("steps left out", left_out(lines).to_string()),
        fact("best weights", format!("of step {}", about.best_step)),
        fact("device", config.device.clone()),
        fact("seed", config.seed.to_string()),
    ];
    let mut charts = vec![losses(lines, best)];
    for name in best.channels.keys() {
        charts.push(channel_losses(lines, name, best));
    }
    charts.push(scores(lines, best));
    charts.extend(thresholds(best));
    Report {
        title: "Training".into(),
        facts,
        charts,
        tables: vec![table(best)],
        pictures,
    }
}

/// Steps whose batch had too little in it.
fn left_out(lines: &[Line]) -> usize {
    let is_left_out = |line: &&Line| matches!(line, Line::Train(line) if line.loss.is_none());
    lines.iter().filter(is_left_out).count()
}

/// A table of scores, a row per channel.
pub(super) fn table(evaluation: &Evaluation) -> Table {
    let head = [
        "target",
        "loss",
        "constant loss",
        "Dice",
        "IoU",
        "precision",
        "recall",
        "average precision",
        "best Dice",
        "at threshold",
        "positive voxels",
    ];
    let shown = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.4}"));
    let row = |(name, channel): (&String, &ChannelEvaluation)| {
        let scores = &channel.scores;
        let share = scores.positives as f64 / (scores.voxels as f64).max(1.0);
        let mut row = vec![name.clone()];
        row.extend(
            [
                channel.loss,
                channel.constant_loss,
                scores.dice,
                scores.iou,
                scores.precision,
                scores.recall,
                scores.average_precision,
                scores.best_dice,
                scores.best_threshold,
            ]
            .map(shown),
        );
        row.push(format!("{:.2} %", 100.0 * share));
        row
    };
    Table {
        title: "Scores".into(),
        head: head.map(str::to_owned).to_vec(),
        rows: evaluation.channels.iter().map(row).collect(),
    }
}

/// Precision, recall, Dice and IoU by threshold, a chart per channel.
pub(super) fn thresholds(evaluation: &Evaluation) -> Vec<Chart> {
    let chart = |(name, channel): (&String, &ChannelEvaluation)| {
        let curve = &channel.scores.curve;
        let series = |name: &str, value: fn(&super::metrics::CurvePoint) -> Option<f64>| Series {
            name: name.to_owned(),
            points: curve
                .iter()
                .filter_map(|p| Some((p.threshold, value(p)?)))
                .collect(),
        };
        Chart {
            title: format!("{name} by threshold"),
            x: "threshold".into(),
            y: "score".into(),
            series: vec![
                series("precision", |p| p.precision),
                series("recall", |p| p.recall),
                series("Dice", |p| p.dice),
                series("IoU", |p| p.iou),
            ],
        }
    };
    evaluation.channels.iter().map(chart).collect()
}

fn losses(lines: &[Line], best: &Evaluation) -> Chart {
    let mut series = vec![
        train_series(lines, "training", |l| l.loss),
        validation_series(lines, "validation", |e| e.loss),
    ];
    series.retain(|s| !s.points.is_empty());
    Chart {
        title: match best.channels.len() {
            1 => "Loss".into(),
            _ => "Loss, channels combined".into(),
        },
        x: "step".into(),
        y: "loss".into(),
        series,
    }
}

fn channel_losses(lines: &[Line], name: &str, best: &Evaluation) -> Chart {
    let of = |e: &Evaluation| e.channels.get(name).and_then(|c| c.loss);
    let mut series = vec![
        train_series(lines, "training", |l| l.channels.get(name).copied()),
        validation_series(lines, "validation", of),
    ];
    let constant = best.channels.get(name).and_then(|c| c.constant_loss);
    if let (Some(constant), Some(last)) = (constant, lines.last()) {
        series.push(Series {
            name: "best constant prediction".into(),
            points: vec![(0.0, constant), (last.step() as f64, constant)],
        });
    }
    Chart {
        title: format!("Loss of {name}"),
        x: "step".into(),
        y: "loss".into(),
        series,
    }
}

fn scores(lines: &[Line], best: &Evaluation) -> Chart {
    let mut series = Vec::new();
    for name in best.channels.keys() {
        let channel = |e: &Evaluation| e.channels.get(name).map(|c| c.scores.clone());
        series.push(validation_series(lines, &format!("Dice, {name}"), |e| {
            channel(e)?.dice
        }));
        series.push(validation_series(
            lines,
            &format!("average precision, {name}"),
            |e| channel(e)?.average_precision,
        ));
    }
    Chart {
        title: "Validation scores".into(),
        x: "step".into(),
        y: "score".into(),
        series,
    }
}

/// Means over as many steps as leave [`POINTS`] points.
fn train_series(
    lines: &[Line],
    name: &str,
    value: impl Fn(&super::history::TrainLine) -> Option<f64>,
) -> Series {
    let points: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Train(line) => Some((line.step as f64, value(line)?)),
            Line::Validation(_) => None,
        })
        .collect();
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        let sum = part.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
        (sum.0 / n, sum.1 / n)
    };
    Series {
        name: name.to_owned(),
        points: points
            .chunks(points.len().div_ceil(POINTS).max(1))
            .map(mean)
            .collect(),
    }
}

fn validation_series(
    lines: &[Line],
    name: &str,
    value: impl Fn(&Evaluation) -> Option<f64>,
) -> Series {
    let points = lines.iter().filter_map(|line| match line {
        Line::Validation(line) => Some((line.step as f64, value(&line.evaluation)?)),
        Line::Train(_) => None,
    });
    Series {
        name: name.to_owned(),
        points: points.collect(),
    }
}

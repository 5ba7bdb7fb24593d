//! The report of a training: charts of its history, scores of the best weights, and pictures.

use pointshard::Dataset;
use pointshard::trainer_api::{Chart, PictureRow, Report, Series, Table, TrainConfig};

use super::evaluate::{ChannelEvaluation, Evaluation};
use super::history::HistoryEntry;

/// Facts about a training, besides its history.
pub(super) struct TrainingFacts<'a> {
    pub config: &'a TrainConfig,
    pub dataset: &'a Dataset,
    pub weights: u64,
    pub steps: u64,
    pub best_step: u64,
}

/// Maximum number of points of a curve. Longer histories are averaged over consecutive steps.
const POINTS: usize = 400;

/// The report of a training.
pub(super) fn report(
    training: &TrainingFacts<'_>,
    history: &[HistoryEntry],
    best: &Evaluation,
    pictures: Vec<PictureRow>,
) -> Report {
    let config = training.config;
    let samples = |split: &str| {
        let splits = &training.dataset.manifest().splits;
        splits.get(split).map_or(0, |s| s.samples).to_string()
    };
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("inputs", config.image.names().join(", ")),
        fact("dataset", training.dataset.location().to_string()),
        fact("training samples", samples(&config.splits.train)),
        fact("validation samples", samples(&config.splits.val)),
        fact("weights", training.weights.to_string()),
        fact(
            "steps",
            format!("{} of batch size {}", training.steps, config.batch_size),
        ),
        fact("skipped steps", skipped_steps(history).to_string()),
        fact("best weights", format!("of step {}", training.best_step)),
        fact("device", config.device.clone()),
        fact("seed", config.seed.to_string()),
    ];
    facts.extend(verdicts(best, Some(training.steps)));
    let mut charts = vec![loss_chart(history, best)];
    for name in best.channels.keys() {
        charts.push(channel_loss_chart(history, name, best));
    }
    charts.push(score_chart(history, best));
    charts.extend(threshold_charts(best));
    Report {
        title: "Training".into(),
        facts,
        charts,
        tables: score_tables(best),
        pictures,
        texts: vec![("Config".into(), json_of(config))],
    }
}

fn json_of(config: &TrainConfig) -> String {
    serde_json::to_string_pretty(config).unwrap_or_else(|e| e.to_string())
}

/// What was not learned, as facts.
pub(super) fn verdicts(evaluation: &Evaluation, steps: Option<u64>) -> Vec<(String, String)> {
    let verdicts = evaluation.verdicts(steps).into_iter();
    verdicts
        .map(|verdict| ("verdict".to_owned(), verdict))
        .collect()
}

/// Number of steps that were skipped because of `min_nonzero`.
fn skipped_steps(history: &[HistoryEntry]) -> usize {
    let is_skipped =
        |entry: &&HistoryEntry| matches!(entry, HistoryEntry::Train(step) if step.loss.is_none());
    history.iter().filter(is_skipped).count()
}

/// The tables of scores: of voxels and, if objects are assigned, of these.
pub(super) fn score_tables(evaluation: &Evaluation) -> Vec<Table> {
    let mut tables = vec![score_table(evaluation)];
    tables.extend(assignment_table(evaluation));
    tables
}

/// How often the sample's object is selected, with a row per target that has objects.
fn assignment_table(evaluation: &Evaluation) -> Option<Table> {
    let head = [
        "target",
        "samples",
        "accuracy",
        "largest object",
        "mean target",
        "left out",
    ];
    let shown = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.4}"));
    let row = |(name, channel): (&String, &ChannelEvaluation)| {
        let scores = channel.assignment.as_ref()?;
        Some(vec![
            name.clone(),
            scores.samples.to_string(),
            shown(scores.accuracy),
            shown(scores.largest_object),
            shown(scores.mean_target),
            scores.samples_left_out.to_string(),
        ])
    };
    let rows: Vec<_> = evaluation.channels.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| Table {
        title: "Assignment: the object with the largest summed output".into(),
        head: head.map(str::to_owned).to_vec(),
        rows,
    })
}

/// A table of scores with a row per channel.
fn score_table(evaluation: &Evaluation) -> Table {
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

/// Precision, recall, Dice and IoU by threshold: a chart per channel.
pub(super) fn threshold_charts(evaluation: &Evaluation) -> Vec<Chart> {
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

fn loss_chart(history: &[HistoryEntry], best: &Evaluation) -> Chart {
    let mut series = vec![
        train_series(history, "training", |l| l.loss),
        validation_series(history, "validation", |e| e.loss),
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

fn channel_loss_chart(history: &[HistoryEntry], name: &str, best: &Evaluation) -> Chart {
    let channel_loss = |e: &Evaluation| e.channels.get(name).and_then(|c| c.loss);
    let mut series = vec![
        train_series(history, "training", |l| l.channels.get(name).copied()),
        validation_series(history, "validation", channel_loss),
    ];
    let constant = best.channels.get(name).and_then(|c| c.constant_loss);
    if let (Some(constant), Some(last)) = (constant, history.last()) {
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

fn score_chart(history: &[HistoryEntry], best: &Evaluation) -> Chart {
    let mut series = Vec::new();
    for name in best.channels.keys() {
        let channel = |e: &Evaluation| e.channels.get(name).map(|c| c.scores.clone());
        series.push(validation_series(history, &format!("Dice, {name}"), |e| {
            channel(e)?.dice
        }));
        series.push(validation_series(
            history,
            &format!("average precision, {name}"),
            |e| channel(e)?.average_precision,
        ));
        let assignment = |e: &Evaluation| e.channels.get(name)?.assignment.as_ref()?.accuracy;
        if assignment(best).is_some() {
            let title = format!("assignment, {name}");
            series.push(validation_series(history, &title, assignment));
        }
    }
    Chart {
        title: "Validation scores".into(),
        x: "step".into(),
        y: "score".into(),
        series,
    }
}

/// A value of the steps, averaged to at most [`POINTS`] points.
fn train_series(
    history: &[HistoryEntry],
    name: &str,
    value: impl Fn(&super::history::StepEntry) -> Option<f64>,
) -> Series {
    let points: Vec<_> = history
        .iter()
        .filter_map(|entry| match entry {
            HistoryEntry::Train(step) => Some((step.step as f64, value(step)?)),
            HistoryEntry::Validation(_) => None,
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
    history: &[HistoryEntry],
    name: &str,
    value: impl Fn(&Evaluation) -> Option<f64>,
) -> Series {
    let points = history.iter().filter_map(|entry| match entry {
        HistoryEntry::Validation(validation) => {
            Some((validation.step as f64, value(&validation.evaluation)?))
        }
        HistoryEntry::Train(_) => None,
    });
    Series {
        name: name.to_owned(),
        points: points.collect(),
    }
}

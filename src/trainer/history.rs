//! What a training measured: `metrics.jsonl`, a JSON object per line, and TensorBoard's event files beside it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::evaluate::Evaluation;
use super::events::EventFile;
use super::part::write_whole;
use crate::preview::Picture;

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A step of the training.
    Train(TrainLine),
    /// A validation.
    Validation(ValidationLine),
}

/// A step of the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainLine {
    /// Its number, from 1.
    pub step: u64,
    /// Its loss before the step; null where the batch was left out for having too little in it.
    pub loss: Option<f64>,
    /// The loss of each channel.
    pub channels: IndexMap<String, f64>,
    /// Samples per second since the last time that values were fetched from the device.
    pub samples_per_s: f64,
    /// Share of that time spent waiting for data.
    pub data_wait: f64,
}

/// A validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationLine {
    /// After this step.
    pub step: u64,
    /// What came out.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

impl Line {
    /// The step that it is about.
    pub fn step(&self) -> u64 {
        match self {
            Self::Train(line) => line.step,
            Self::Validation(line) => line.step,
        }
    }
}

/// The history of a run, being written.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    file: File,
    events: EventFile,
    events_path: PathBuf,
    pub lines: Vec<Line>,
}

/// The name of the history in a run's folder.
pub(super) const METRICS: &str = "metrics.jsonl";

impl History {
    /// Goes on with the history in `folder` after `step`; what it says of later steps is forgotten, because they are
    /// made again.
    pub(super) fn resume(folder: &Path, step: u64) -> Result<Self, TrainError> {
        let path = folder.join(METRICS);
        let mut lines = read(&path)?;
        lines.retain(|l| l.step() <= step);
        let text = lines.iter().map(to_json).collect::<Result<String, _>>();
        let text = text.map_err(|e| TrainError::file(&path, e.to_string()))?;
        write_whole(&path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path);
        let events_path = folder.join("events");
        let failed = TrainError::io("write", &events_path);
        Ok(Self {
            file: file.map_err(TrainError::io("write", &path))?,
            path,
            events: EventFile::create(&events_path, step + 1).map_err(failed)?,
            events_path,
            lines,
        })
    }

    pub(super) fn add(&mut self, line: Line) -> Result<(), TrainError> {
        let text = to_json(&line).map_err(|e| TrainError::file(&self.path, e.to_string()))?;
        let written = self.file.write_all(text.as_bytes());
        written.map_err(TrainError::io("write", &self.path))?;
        let events = match &line {
            Line::Train(line) => self.train_events(line),
            Line::Validation(line) => self.validation_events(line),
        };
        events.map_err(TrainError::io("write", &self.events_path))?;
        self.lines.push(line);
        Ok(())
    }

    pub(super) fn picture(
        &mut self,
        step: u64,
        name: &str,
        picture: &Picture,
    ) -> Result<(), TrainError> {
        let done = self.events.image(step, name, picture);
        done.map_err(TrainError::io("write", &self.events_path))
    }

    /// Brings everything to the disk.
    pub(super) fn flush(&mut self) -> Result<(), TrainError> {
        let events = self.events.flush();
        events.map_err(TrainError::io("write", &self.events_path))?;
        let metrics = self.file.sync_data();
        metrics.map_err(TrainError::io("write", &self.path))
    }

    fn train_events(&mut self, line: &TrainLine) -> std::io::Result<()> {
        let Some(loss) = line.loss else {
            return Ok(());
        };
        let mut scalar = |tag: &str, value: f64| self.events.scalar(line.step, tag, value as f32);
        scalar("loss/train", loss)?;
        for (name, loss) in &line.channels {
            scalar(&format!("loss/train/{name}"), *loss)?;
        }
        scalar("speed/samples_per_s", line.samples_per_s)?;
        scalar("speed/data_wait", line.data_wait)
    }

    fn validation_events(&mut self, line: &ValidationLine) -> std::io::Result<()> {
        let mut scalar = |tag: &str, value: Option<f64>| match value {
            Some(value) => self.events.scalar(line.step, tag, value as f32),
            None => Ok(()),
        };
        scalar("loss/val", line.evaluation.loss)?;
        for (name, channel) in &line.evaluation.channels {
            scalar(&format!("loss/val/{name}"), channel.loss)?;
            scalar(&format!("dice/val/{name}"), channel.scores.dice)?;
            scalar(&format!("iou/val/{name}"), channel.scores.iou)?;
            let precision = channel.scores.average_precision;
            scalar(&format!("average_precision/val/{name}"), precision)?;
        }
        self.events.flush()
    }
}

fn to_json(line: &Line) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string(line)? + "\n")
}

/// The lines of the file `path`; none where there is no such file. A last line that a crash cut short is left out.
pub(super) fn read(path: &Path) -> Result<Vec<Line>, TrainError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(TrainError::io("read", path)(e)),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate().map(|(i, line)| {
        let wrong = |e| TrainError::file(path, format!("line {}: {e}", i + 1));
        serde_json::from_str(line).map_err(wrong)
    });
    lines.collect()
}

//! The measurements of a training: `metrics.jsonl` with a JSON object per line, and TensorBoard event files.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use pointshard::trainer_api::Picture;

use super::atomic_write::write_atomic;
use super::error::TrainError;
use super::evaluate::Evaluation;
use super::events::EventFile;

/// An entry of `metrics.jsonl`: a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HistoryEntry {
    /// A step of the training.
    Train(StepEntry),
    /// A validation.
    Validation(ValidationEntry),
}

/// A step of the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEntry {
    /// Number of the step, from 1.
    pub step: u64,
    /// Loss before the step; null if the step was skipped because of `min_nonzero`.
    pub loss: Option<f64>,
    /// The loss of each channel.
    pub channels: IndexMap<String, f64>,
    /// Learning rate of the step.
    #[serde(default)]
    pub lr: f64,
    /// Samples per second since losses were last fetched from the device.
    pub samples_per_s: f64,
    /// Fraction of that time spent waiting for data.
    pub data_wait: f64,
}

/// A validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationEntry {
    /// After this step.
    pub step: u64,
    /// The result.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

impl HistoryEntry {
    /// The step of this entry.
    pub fn step(&self) -> u64 {
        match self {
            Self::Train(entry) => entry.step,
            Self::Validation(entry) => entry.step,
        }
    }
}

/// The history of a run, open for writing.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    file: File,
    events: EventFile,
    events_path: PathBuf,
    pub entries: Vec<HistoryEntry>,
}

/// Name of the history in the run folder.
pub(super) const METRICS: &str = "metrics.jsonl";

impl History {
    /// Continues the history in `folder` after `step`. Entries of later steps are deleted, because those steps run again.
    pub(super) fn resume(folder: &Path, step: u64) -> Result<Self, TrainError> {
        let path = folder.join(METRICS);
        let mut entries = read(&path)?;
        entries.retain(|entry| entry.step() <= step);
        let text = entries.iter().map(to_json).collect::<Result<String, _>>();
        let text = text.map_err(|e| TrainError::file(&path, e.to_string()))?;
        write_atomic(&path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path);
        let events_path = folder.join("events");
        let failed = TrainError::io("write", &events_path);
        Ok(Self {
            file: file.map_err(TrainError::io("write", &path))?,
            path,
            events: EventFile::create(&events_path, step + 1).map_err(failed)?,
            events_path,
            entries,
        })
    }

    pub(super) fn add(&mut self, entry: HistoryEntry) -> Result<(), TrainError> {
        let text = to_json(&entry).map_err(|e| TrainError::file(&self.path, e.to_string()))?;
        let written = self.file.write_all(text.as_bytes());
        written.map_err(TrainError::io("write", &self.path))?;
        let events = match &entry {
            HistoryEntry::Train(step) => self.step_events(step),
            HistoryEntry::Validation(validation) => self.validation_events(validation),
        };
        events.map_err(TrainError::io("write", &self.events_path))?;
        self.entries.push(entry);
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

    /// Flushes everything to disk.
    pub(super) fn flush(&mut self) -> Result<(), TrainError> {
        let events = self.events.flush();
        events.map_err(TrainError::io("write", &self.events_path))?;
        let metrics = self.file.sync_data();
        metrics.map_err(TrainError::io("write", &self.path))
    }

    fn step_events(&mut self, entry: &StepEntry) -> std::io::Result<()> {
        let Some(loss) = entry.loss else {
            return Ok(());
        };
        let mut scalar = |tag: &str, value: f64| self.events.scalar(entry.step, tag, value as f32);
        scalar("loss/train", loss)?;
        for (name, loss) in &entry.channels {
            scalar(&format!("loss/train/{name}"), *loss)?;
        }
        scalar("lr", entry.lr)?;
        scalar("speed/samples_per_s", entry.samples_per_s)?;
        scalar("speed/data_wait", entry.data_wait)
    }

    fn validation_events(&mut self, entry: &ValidationEntry) -> std::io::Result<()> {
        let mut scalar = |tag: &str, value: Option<f64>| match value {
            Some(value) => self.events.scalar(entry.step, tag, value as f32),
            None => Ok(()),
        };
        scalar("loss/val", entry.evaluation.loss)?;
        for (name, channel) in &entry.evaluation.channels {
            scalar(&format!("loss/val/{name}"), channel.loss)?;
            scalar(&format!("dice/val/{name}"), channel.scores.dice)?;
            scalar(&format!("iou/val/{name}"), channel.scores.iou)?;
            let precision = channel.scores.average_precision;
            scalar(&format!("average_precision/val/{name}"), precision)?;
            let assignment = channel.assignment.as_ref().and_then(|a| a.accuracy);
            scalar(&format!("assignment/val/{name}"), assignment)?;
        }
        self.events.flush()
    }
}

fn to_json(entry: &HistoryEntry) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string(entry)? + "\n")
}

/// The entries of the file `path`; none if it doesn't exist. An incomplete last line, left by a crash, is ignored.
pub(super) fn read(path: &Path) -> Result<Vec<HistoryEntry>, TrainError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(TrainError::io("read", path)(e)),
    };
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let entries = complete.lines().enumerate().map(|(i, line)| {
        let invalid = |e| TrainError::file(path, format!("line {}: {e}", i + 1));
        serde_json::from_str(line).map_err(invalid)
    });
    entries.collect()
}

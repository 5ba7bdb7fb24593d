//! The folder of a run: its files, and whether a training can resume from them.
//!
//! ```text
//! RUN/last.safetensors    weights and optimizer state after the last validation: a training resumes from here
//! RUN/best.safetensors    weights with the lowest validation loss
//! RUN/model.pt            the best weights as a TorchScript module; written at the end
//! RUN/model.onnx          the same as an ONNX model, unless the weights are too many for the format
//! RUN/metrics.jsonl       a JSON object per step and per validation
//! RUN/events/             the same for TensorBoard
//! RUN/report.html         charts and pictures; written at the end
//! RUN/steps/N.safetensors inputs, outputs and gradients of step N (with --record)
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use pointshard::trainer_api::TrainConfig;

use super::atomic_write::remove_leftovers;
use super::checkpoint::Checkpoint;
use super::error::TrainError;

/// The folder of a run.
#[derive(Clone, Debug)]
pub(super) struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Opens the folder `root`. Creates it if it doesn't exist, and removes temporary files of dead runs.
    pub(super) fn open(root: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(root).map_err(TrainError::io("create", root))?;
        remove_leftovers(root);
        Ok(Self {
            root: root.to_owned(),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn last(&self) -> PathBuf {
        self.root.join("last.safetensors")
    }

    pub(super) fn best(&self) -> PathBuf {
        self.root.join("best.safetensors")
    }

    pub(super) fn module(&self) -> PathBuf {
        self.root.join("model.pt")
    }

    pub(super) fn onnx(&self) -> PathBuf {
        self.root.join("model.onnx")
    }

    pub(super) fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The file with the record of a step.
    pub(super) fn step(&self, step: u64) -> Result<PathBuf, TrainError> {
        let folder = self.steps();
        std::fs::create_dir_all(&folder).map_err(TrainError::io("create", &folder))?;
        Ok(folder.join(format!("{step}.safetensors")))
    }

    fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    /// Whether a new training starts. Without a checkpoint, all files are from a run that died before its first validation.
    pub(super) fn starts_anew(&self, force: bool) -> bool {
        force || !self.last().exists()
    }

    /// The checkpoint to resume from; `None` to start. A folder with another training is an error, unless `force` deletes
    /// that training.
    pub(super) fn checkpoint(
        &self,
        config: &TrainConfig,
        dataset: &str,
        force: bool,
    ) -> Result<Option<Checkpoint>, TrainError> {
        if self.starts_anew(force) {
            self.clear()?;
            return Ok(None);
        }
        let checkpoint = Checkpoint::read(&self.last())?;
        let difference = if checkpoint.header.dataset == dataset {
            difference(&checkpoint.header.config, config)
        } else {
            Some("its dataset has changed".to_owned())
        };
        match difference {
            None => Ok(Some(checkpoint)),
            Some(difference) => Err(TrainError::OtherRun {
                folder: self.root.clone(),
                difference,
            }),
        }
    }
}

impl RunFolder {
    /// Deletes the training in the folder.
    fn clear(&self) -> Result<(), TrainError> {
        let metrics = self.root.join(super::history::METRICS);
        // Delete the checkpoint first: after a crash, the remaining files are not taken for a training.
        let files = [
            self.last(),
            self.best(),
            self.module(),
            self.onnx(),
            self.report(),
            metrics,
        ];
        for path in files {
            remove_file(&path)?;
        }
        let is_events = |name: &str| name.starts_with("events.out.tfevents.");
        remove_files(&self.root.join("events"), is_events)?;
        let is_step = |name: &str| {
            let number = name.strip_suffix(".safetensors");
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        remove_files(&self.steps(), is_step)
    }
}

/// Removes a file if it exists.
fn remove_file(path: &Path) -> Result<(), TrainError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(TrainError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Removes the files of a training in `folder`, and the folder if it is empty then.
fn remove_files(folder: &Path, is_ours: impl Fn(&str) -> bool) -> Result<(), TrainError> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(TrainError::io("read", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(TrainError::io("read", folder))?;
        if entry.file_name().to_str().is_some_and(&is_ours) {
            remove_file(&entry.path())?;
        }
    }
    match std::fs::remove_dir(folder) {
        Err(e) if e.kind() != ErrorKind::DirectoryNotEmpty => {
            Err(TrainError::io("remove", folder)(e))
        }
        _ => Ok(()),
    }
}

/// Keys that may change when a training resumes: duration, device and speed.
const MAY_DIFFER: [&str; 5] = ["steps", "patience", "workers", "prefetch", "device"];

/// The first key whose values differ, apart from those in [`MAY_DIFFER`].
fn difference(old: &TrainConfig, new: &TrainConfig) -> Option<String> {
    let keys = |config: &TrainConfig| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(keys)) => keys,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (keys(old), keys(new));
    let all = old.keys().chain(new.keys());
    let mut differing =
        all.filter(|k| !MAY_DIFFER.contains(&k.as_str()) && old.get(*k) != new.get(*k));
    let key = differing.next()?;
    let shown =
        |value: Option<&serde_json::Value>| value.map_or("nothing".into(), |v| v.to_string());
    Some(format!(
        "its `{key}` is {}, the config's is {}",
        shown(old.get(key)),
        shown(new.get(key))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleting_a_training_keeps_other_files() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path();
        let ours = [
            "last.safetensors",
            "model.onnx",
            "report.html",
            "events/events.out.tfevents.1700000000.000000000.pointshard.0",
            "steps/3.safetensors",
        ];
        let foreign = ["notes.txt", "events/notes.txt", "steps/best.safetensors"];
        for name in ours.iter().chain(&foreign) {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        RunFolder::open(root).unwrap().clear().unwrap();
        for name in ours {
            assert!(!root.join(name).exists(), "{name}");
        }
        for name in foreign {
            assert!(root.join(name).exists(), "{name}");
        }
    }
}

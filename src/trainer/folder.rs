//! A run's folder: what lies in it under which name, and whether a training may go on there.
//!
//! ```text
//! RUN/last.safetensors    weights and the optimizer's state after the last validation: a training goes on from here
//! RUN/best.safetensors    weights with the least validation loss
//! RUN/model.pt            the best weights as a TorchScript module; written at the end
//! RUN/metrics.jsonl       a JSON object per step and per validation
//! RUN/events/             the same for TensorBoard
//! RUN/report.html         curves and pictures; written at the end
//! RUN/steps/N.safetensors all that went into and came out of step N, where that was asked for
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::config::TrainConfig;
use super::error::TrainError;
use super::part::sweep;

/// A run's folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder `root`, made where it is missing, without what dead runs left half-written.
    pub(super) fn open(root: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(root).map_err(TrainError::io("make", root))?;
        sweep(root);
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

    pub(super) fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The file of what went into and came out of a step.
    pub(super) fn step(&self, step: u64) -> Result<PathBuf, TrainError> {
        let folder = self.steps();
        std::fs::create_dir_all(&folder).map_err(TrainError::io("make", &folder))?;
        Ok(folder.join(format!("{step}.safetensors")))
    }

    fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    /// The checkpoint to go on from; None to begin. Refuses a folder that holds another training, unless `force`
    /// says to forget it.
    pub(super) fn checkpoint(
        &self,
        config: &TrainConfig,
        dataset: &str,
        force: bool,
    ) -> Result<Option<Checkpoint>, TrainError> {
        // Without it there is nothing to go on from: what lies there is of a run that died before its first validation.
        if force || !self.last().exists() {
            self.clear()?;
            return Ok(None);
        }
        let checkpoint = Checkpoint::read(&self.last())?;
        let difference = match checkpoint.header.dataset == dataset {
            false => Some("its dataset has changed".to_owned()),
            true => difference(&checkpoint.header.config, config),
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

impl Folder {
    /// Forgets the training that lies there.
    fn clear(&self) -> Result<(), TrainError> {
        let metrics = self.root.join(super::history::METRICS);
        // That which trainings go on from goes first: what a crash leaves is no training.
        let files = [
            self.last(),
            self.best(),
            self.module(),
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

/// Removes a file, if there is one.
fn remove_file(path: &Path) -> Result<(), TrainError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(TrainError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Removes the files right in `folder` that a training writes there, and the folder where it holds nothing else.
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

/// What a training may be resumed with other values of: how long, where and how fast.
const MAY_DIFFER: [&str; 4] = ["steps", "workers", "prefetch", "device"];

/// The first key whose values differ so that it is another training.
fn difference(was: &TrainConfig, is: &TrainConfig) -> Option<String> {
    let keys = |config: &TrainConfig| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(keys)) => keys,
        _ => serde_json::Map::new(),
    };
    let (was, is) = (keys(was), keys(is));
    let all = was.keys().chain(is.keys());
    let mut differing =
        all.filter(|k| !MAY_DIFFER.contains(&k.as_str()) && was.get(*k) != is.get(*k));
    let key = differing.next()?;
    let shown =
        |value: Option<&serde_json::Value>| value.map_or("nothing".into(), |v| v.to_string());
    Some(format!(
        "its `{key}` is {}, the config's is {}",
        shown(was.get(key)),
        shown(is.get(key))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_is_forgotten_without_the_files_of_others() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path();
        let ours = [
            "last.safetensors",
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
        Folder::open(root).unwrap().clear().unwrap();
        for name in ours {
            assert!(!root.join(name).exists(), "{name}");
        }
        for name in foreign {
            assert!(root.join(name).exists(), "{name}");
        }
    }
}

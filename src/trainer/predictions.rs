//! Predictions on disk: a Zarr v3 group with one sharded array `probability`, `[sample, channel, z, y, x]`, sample by
//! sample those of the split that they are of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use zarrs::array::codec::{Crc32cCodec, ZstdCodec};
use zarrs::array::{Array, ArrayBuilder};
use zarrs::filesystem::FilesystemStore;

use super::error::TrainError;
use super::evaluate::Predicted;
use super::part::{PartFolder, sweep};
use crate::dataset::{Dataset, group_metadata};

/// What probabilities are stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Stored {
    /// As they are.
    #[default]
    Float32,
    /// Times 255, rounded: a quarter of the space.
    Uint8,
}

/// What predictions are of.
pub(super) struct About<'a> {
    pub dataset: &'a Dataset,
    pub split: &'a str,
    pub model: &'a Path,
    pub image: &'a str,
    pub targets: &'a [String],
    /// Voxels z, y, x, of the middle of each sample that is predicted.
    pub window: [usize; 3],
    pub stored: Stored,
}

/// A group that is being written. It gets its name when it is whole.
pub(super) struct Predictions {
    part: PartFolder,
    group: PathBuf,
    array: Array<FilesystemStore>,
    stored: Stored,
    /// Values of a shard, so far.
    values: Vec<f32>,
    shard_values: usize,
    shards: u64,
}

const ARRAY: &str = "probability";
/// Size of a shard that is aimed at, in bytes before compression.
const SHARD_BYTES: usize = 64 << 20;

impl Predictions {
    /// Begins `folder/<split>.zarr` for predictions of the shape `[_, channel, z, y, x]`.
    pub(super) fn begin(
        folder: &Path,
        force: bool,
        about: &About<'_>,
        shape: [usize; 5],
    ) -> Result<Self, TrainError> {
        let group = folder.join(format!("{}.zarr", about.split));
        if group.exists() && !force {
            let problem =
                "predictions lie there already; --force replaces them, --out writes elsewhere";
            return Err(TrainError::config(group.display().to_string(), problem));
        }
        let foreign = foreign_file(&group, &group).map_err(TrainError::io("read", &group))?;
        if let Some(foreign) = foreign {
            let problem = format!(
                "`infer` did not write {}: nothing was deleted; move it away, or choose another folder with --out",
                foreign.display()
            );
            return Err(TrainError::config(group.display().to_string(), problem));
        }
        sweep(folder);
        let part = PartFolder::begin(folder).map_err(TrainError::io("write", folder))?;
        let [_, channels, z, y, x] = shape;
        let sample_values = channels * z * y * x;
        let value_bytes = match about.stored {
            Stored::Float32 => 4,
            Stored::Uint8 => 1,
        };
        let splits = &about.dataset.manifest().splits;
        let samples = splits.get(about.split).map_or(0, |s| s.samples);
        let shard = (SHARD_BYTES / (sample_values * value_bytes).max(1)).max(1) as u64;
        let shard = shard.min(samples.max(1));
        let with = |n: u64| [&[n][..], &[channels, z, y, x].map(|n| n as u64)].concat();
        let failed = |e: String| TrainError::file(&group, e);
        let store = FilesystemStore::new(part.path()).map_err(|e| failed(e.to_string()))?;
        let mut builder = match about.stored {
            Stored::Float32 => ArrayBuilder::new(with(samples), with(shard), "float32", 0.0f32),
            Stored::Uint8 => ArrayBuilder::new(with(samples), with(shard), "uint8", 0u8),
        };
        let array = builder
            .subchunk_shape(with(1))
            .bytes_to_bytes_codecs(vec![
                Arc::new(ZstdCodec::new(1, false)),
                Arc::new(Crc32cCodec::new()),
            ])
            .dimension_names(Some(["sample", "channel", "z", "y", "x"]))
            .attributes(attributes(about))
            .build(Arc::new(store), &format!("/{ARRAY}"))
            .map_err(|e| failed(e.to_string()))?;
        array.store_metadata().map_err(|e| failed(e.to_string()))?;
        let arrays = serde_json::to_value(array.metadata()).map_err(|e| failed(e.to_string()))?;
        let arrays = Map::from_iter([(ARRAY.to_owned(), arrays)]);
        let metadata = group_metadata(Map::new(), arrays)?;
        let path = part.path().join("zarr.json");
        fs::write(&path, metadata).map_err(TrainError::io("write", &path))?;
        Ok(Self {
            part,
            array,
            stored: about.stored,
            values: Vec::new(),
            shard_values: shard as usize * sample_values,
            shards: 0,
            group,
        })
    }

    /// Adds a batch, in the order of the samples.
    pub(super) fn add(&mut self, predicted: &Predicted<'_>) -> Result<(), TrainError> {
        let mut left = predicted.probabilities;
        while !left.is_empty() {
            let room = self.shard_values - self.values.len();
            let (now, later) = left.split_at(room.min(left.len()));
            self.values.extend_from_slice(now);
            left = later;
            if self.values.len() == self.shard_values {
                self.store()?;
            }
        }
        Ok(())
    }

    /// Gives the group its name, which is given back.
    pub(super) fn finish(mut self) -> Result<PathBuf, TrainError> {
        if !self.values.is_empty() {
            self.values.resize(self.shard_values, 0.0);
            self.store()?;
        }
        let done = self.part.finish(&self.group);
        done.map_err(TrainError::io("write", &self.group))?;
        Ok(self.group)
    }

    fn store(&mut self) -> Result<(), TrainError> {
        let chunk = [self.shards, 0, 0, 0, 0];
        let values = std::mem::take(&mut self.values);
        let done = match self.stored {
            Stored::Float32 => self.array.store_chunk(&chunk, values),
            Stored::Uint8 => {
                let bytes = values.iter().map(|p| (p * 255.0).round() as u8);
                self.array.store_chunk(&chunk, bytes.collect::<Vec<u8>>())
            }
        };
        done.map_err(|e| TrainError::file(&self.group, e.to_string()))?;
        self.shards += 1;
        Ok(())
    }
}

/// The first file at or below `path` that predictions in `group` do not have; `None` where all are theirs.
fn foreign_file(path: &Path, group: &Path) -> io::Result<Option<PathBuf>> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !kind.is_dir() {
        let is_ours = kind.is_file() && path.strip_prefix(group).is_ok_and(is_of_predictions);
        return Ok((!is_ours).then(|| path.to_owned()));
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let foreign = foreign_file(&entry.path(), group)?;
        if foreign.is_some() {
            return Ok(foreign);
        }
    }
    Ok(None)
}

/// Whether a group of predictions has a file of this name.
fn is_of_predictions(name: &Path) -> bool {
    let parts: Option<Vec<&str>> = name.iter().map(|part| part.to_str()).collect();
    match parts.as_deref() {
        Some(["zarr.json"] | [ARRAY, "zarr.json"]) => true,
        Some([ARRAY, "c", chunk @ ..]) => {
            chunk.len() == 5 && chunk.iter().all(|n| n.bytes().all(|b| b.is_ascii_digit()))
        }
        _ => false,
    }
}

fn attributes(about: &About<'_>) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut add = |key: &str, value: Value| attributes.insert(key.to_owned(), value);
    add(
        "description",
        json!("probabilities that a network predicts"),
    );
    add("network", json!(about.model.display().to_string()));
    add("image", json!(about.image));
    add("channels", json!(about.targets));
    let [z, y, x] = about.window;
    add("window_voxels", json!([x, y, z]));
    add("dataset_digest", json!(about.dataset.manifest().digest));
    if about.stored == Stored::Uint8 {
        // As CF conventions have it: xarray makes probabilities of it again.
        add("scale_factor", json!(1.0 / 255.0));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_predictions_do_not_have_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("val.zarr");
        let foreign = || foreign_file(&group, &group).unwrap();
        assert_eq!(foreign(), None);
        for name in [
            "zarr.json",
            "probability/zarr.json",
            "probability/c/0/0/0/0/0",
        ] {
            let path = group.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(foreign(), None);
        for name in [
            "img/zarr.json",
            "probability/c/0/notes.txt",
            "probability/c/x/0/0/0/0",
        ] {
            let path = group.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            assert_eq!(foreign(), Some(path.clone()));
            fs::remove_file(path).unwrap();
        }
    }
}

//! Writes predictions: a Zarr v3 group with a sharded array `probability`, `[sample, channel, z, y, x]`, in the order of the
//! samples of the split, and with the columns of the split that say which sample each is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use serde_json::{Map, Value, json};
use zarrs::array::codec::{Crc32cCodec, ZstdCodec};
use zarrs::array::{Array, ArrayBuilder, Element};
use zarrs::filesystem::FilesystemStore;

use pointshard::trainer_api::{InputsConfig, ProbabilityType, group_metadata};
use pointshard::{Dataset, SplitReader};

use super::atomic_write::{PendingFolder, remove_leftovers};
use super::error::TrainError;
use super::evaluate::PredictedBatch;

/// Where predictions come from, and how they are stored.
pub(super) struct PredictionInfo<'a> {
    pub dataset: &'a Dataset,
    pub split: &'a str,
    pub model: &'a Path,
    pub inputs: &'a InputsConfig,
    pub targets: &'a [String],
    /// Voxels z, y, x of the predicted window in the center of each sample.
    pub window: [usize; 3],
    pub probability_type: ProbabilityType,
}

/// A group that is being written. It gets its final name when it is complete.
pub(super) struct PredictionWriter {
    folder: PendingFolder,
    group: PathBuf,
    array: Array<FilesystemStore>,
    probability_type: ProbabilityType,
    /// Values of the current shard so far.
    values: Vec<f32>,
    shard_values: usize,
    shards: u64,
}

const ARRAY: &str = "probability";
/// Target size of a shard in bytes before compression.
const SHARD_BYTES: usize = 64 << 20;

impl PredictionWriter {
    /// Creates `folder/<split>.zarr` for predictions of the shape `[_, channel, z, y, x]`.
    pub(super) fn create(
        folder: &Path,
        force: bool,
        info: &PredictionInfo<'_>,
        shape: [usize; 5],
    ) -> Result<Self, TrainError> {
        let group = folder.join(format!("{}.zarr", info.split));
        check_replaceable(&group, force)?;
        remove_leftovers(folder);
        let pending = PendingFolder::create(folder).map_err(TrainError::io("write", folder))?;
        let [_, channels, z, y, x] = shape;
        let sample_values = channels * z * y * x;
        let splits = &info.dataset.manifest().splits;
        let samples = splits.get(info.split).map_or(0, |s| s.samples);
        let shard_samples = info.shard_samples(sample_values).min(samples.max(1));
        let store = FilesystemStore::new(pending.path())
            .map_err(|e| TrainError::file(&group, e.to_string()))?;
        let array = info
            .array(store, samples, shard_samples, shape)
            .map_err(|e| TrainError::file(&group, e))?;
        let split = info.dataset.split(info.split)?;
        let columns = columns(&split, pending.path()).map_err(|e| TrainError::file(&group, e))?;
        let probability = serde_json::to_value(array.metadata())
            .map_err(|e| TrainError::file(&group, e.to_string()))?;
        let mut arrays = Map::from_iter([(ARRAY.to_owned(), probability)]);
        arrays.extend(columns);
        let metadata = group_metadata(Map::new(), arrays)?;
        let path = pending.path().join("zarr.json");
        fs::write(&path, metadata).map_err(TrainError::io("write", &path))?;
        Ok(Self {
            folder: pending,
            array,
            probability_type: info.probability_type,
            values: Vec::new(),
            shard_values: shard_samples as usize * sample_values,
            shards: 0,
            group,
        })
    }

    /// Adds a batch; batches must be in the order of the samples.
    pub(super) fn add(&mut self, predicted: &PredictedBatch<'_>) -> Result<(), TrainError> {
        let mut remaining = predicted.probabilities;
        while !remaining.is_empty() {
            let missing = self.shard_values - self.values.len();
            let (now, later) = remaining.split_at(missing.min(remaining.len()));
            self.values.extend_from_slice(now);
            remaining = later;
            if self.values.len() == self.shard_values {
                self.store()?;
            }
        }
        Ok(())
    }

    /// Completes the group and returns its path.
    pub(super) fn finish(mut self) -> Result<PathBuf, TrainError> {
        if !self.values.is_empty() {
            self.values.resize(self.shard_values, 0.0);
            self.store()?;
        }
        let renamed = self.folder.rename_to(&self.group);
        renamed.map_err(TrainError::io("write", &self.group))?;
        Ok(self.group)
    }

    fn store(&mut self) -> Result<(), TrainError> {
        let chunk = [self.shards, 0, 0, 0, 0];
        let values = std::mem::take(&mut self.values);
        let stored = match self.probability_type {
            ProbabilityType::Float32 => self.array.store_chunk(&chunk, values),
            ProbabilityType::Uint8 => {
                let bytes = values.iter().map(|p| (p * 255.0).round() as u8);
                self.array.store_chunk(&chunk, bytes.collect::<Vec<u8>>())
            }
        };
        stored.map_err(|e| TrainError::file(&self.group, e.to_string()))?;
        self.shards += 1;
        Ok(())
    }
}

/// Columns that say which sample each is.
const IDS: &str = "annotation_id";
const CENTERS: &str = "center_nm";

/// Copies the columns of the split into `folder`, and returns their metadata.
fn columns(split: &SplitReader, folder: &Path) -> Result<[(String, Value); 2], String> {
    let ids = split.column::<u64>(IDS).map_err(|e| e.to_string())?;
    let centers = split.column::<f64>(CENTERS).map_err(|e| e.to_string())?;
    let samples = ids.len() as u64;
    let mut of_ids = ArrayBuilder::new(vec![samples], vec![samples.max(1)], "uint64", 0u64);
    of_ids.dimension_names(Some(["sample"]));
    let (shape, chunk) = (vec![samples, 3], vec![samples.max(1), 3]);
    let mut of_centers = ArrayBuilder::new(shape, chunk, "float64", 0.0f64);
    of_centers.dimension_names(Some(["sample", "xyz"]));
    Ok([
        (IDS.to_owned(), write_column(folder, IDS, &of_ids, &ids)?),
        (
            CENTERS.to_owned(),
            write_column(folder, CENTERS, &of_centers, &centers)?,
        ),
    ])
}

/// Writes a column as one chunk, and returns its metadata.
fn write_column<T: Element>(
    folder: &Path,
    name: &str,
    builder: &ArrayBuilder,
    values: &[T],
) -> Result<Value, String> {
    let store = FilesystemStore::new(folder).map_err(|e| e.to_string())?;
    let array = builder.build(Arc::new(store), &format!("/{name}"));
    let array = array.map_err(|e| e.to_string())?;
    array.store_metadata().map_err(|e| e.to_string())?;
    if !values.is_empty() {
        let first = vec![0; array.shape().len()];
        array
            .store_chunk(&first, values)
            .map_err(|e| e.to_string())?;
    }
    serde_json::to_value(array.metadata()).map_err(|e| e.to_string())
}

/// Fails if `group` exists and `force` is off, or if it contains a file that is not part of predictions.
fn check_replaceable(group: &Path, force: bool) -> Result<(), TrainError> {
    if group.exists() && !force {
        let problem = "predictions already present; overwrite them with --force, or choose another folder with --out";
        return Err(TrainError::config(group.display().to_string(), problem));
    }
    let foreign = foreign_file(group, group).map_err(TrainError::io("read", group))?;
    if let Some(foreign) = foreign {
        let problem = format!(
            "`infer` did not write {}: nothing was deleted; move it away, or choose another folder with --out",
            foreign.display()
        );
        return Err(TrainError::config(group.display().to_string(), problem));
    }
    Ok(())
}

impl PredictionInfo<'_> {
    /// Samples per shard, for samples of that many values.
    fn shard_samples(&self, sample_values: usize) -> u64 {
        let value_bytes = match self.probability_type {
            ProbabilityType::Float32 => 4,
            ProbabilityType::Uint8 => 1,
        };
        (SHARD_BYTES / (sample_values * value_bytes).max(1)).max(1) as u64
    }

    /// Creates the array and writes its metadata.
    fn array(
        &self,
        store: FilesystemStore,
        samples: u64,
        shard_samples: u64,
        [_, channels, z, y, x]: [usize; 5],
    ) -> Result<Array<FilesystemStore>, String> {
        let with = |n: u64| [&[n][..], &[channels, z, y, x].map(|n| n as u64)].concat();
        let (shape, shard) = (with(samples), with(shard_samples));
        let mut builder = match self.probability_type {
            ProbabilityType::Float32 => ArrayBuilder::new(shape, shard, "float32", 0.0f32),
            ProbabilityType::Uint8 => ArrayBuilder::new(shape, shard, "uint8", 0u8),
        };
        let array = builder
            .subchunk_shape(with(1))
            .bytes_to_bytes_codecs(vec![
                Arc::new(ZstdCodec::new(1, false)),
                Arc::new(Crc32cCodec::new()),
            ])
            .dimension_names(Some(["sample", "channel", "z", "y", "x"]))
            .attributes(attributes(self))
            .build(Arc::new(store), &format!("/{ARRAY}"))
            .map_err(|e| e.to_string())?;
        array.store_metadata().map_err(|e| e.to_string())?;
        Ok(array)
    }
}

/// The first file at or below `path` that is not part of the predictions in `group`, if any.
fn foreign_file(path: &Path, group: &Path) -> io::Result<Option<PathBuf>> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !kind.is_dir() {
        let is_known = kind.is_file() && path.strip_prefix(group).is_ok_and(is_prediction_file);
        return Ok((!is_known).then(|| path.to_owned()));
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

/// Whether a group of predictions may contain a file with this name.
fn is_prediction_file(name: &Path) -> bool {
    let parts: Option<Vec<&str>> = name.iter().map(|part| part.to_str()).collect();
    match parts.as_deref() {
        Some(["zarr.json"] | [ARRAY | IDS | CENTERS, "zarr.json"]) => true,
        Some([array, "c", chunk @ ..]) => {
            let dimensions = match *array {
                ARRAY => 5,
                IDS => 1,
                CENTERS => 2,
                _ => return false,
            };
            let is_number = |n: &&str| n.bytes().all(|b| b.is_ascii_digit());
            chunk.len() == dimensions && chunk.iter().all(is_number)
        }
        _ => false,
    }
}

fn attributes(info: &PredictionInfo<'_>) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut add = |key: &str, value: Value| attributes.insert(key.to_owned(), value);
    add(
        "description",
        json!("probabilities that a network predicts"),
    );
    add("network", json!(info.model.display().to_string()));
    add("inputs", json!(info.inputs.names()));
    add("channels", json!(info.targets));
    let [z, y, x] = info.window;
    add("window_voxels", json!([x, y, z]));
    add("dataset_digest", json!(info.dataset.manifest().digest));
    if info.probability_type == ProbabilityType::Uint8 {
        // CF conventions: xarray converts the values back to probabilities.
        add("scale_factor", json!(1.0 / 255.0));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_part_of_predictions_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("val.zarr");
        let foreign = || foreign_file(&group, &group).unwrap();
        assert_eq!(foreign(), None);
        for name in [
            "zarr.json",
            "probability/zarr.json",
            "probability/c/0/0/0/0/0",
            "center_nm/c/0/0",
            "annotation_id/c/0",
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
            "center_nm/c/1",
        ] {
            let path = group.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            assert_eq!(foreign(), Some(path.clone()));
            fs::remove_file(path).unwrap();
        }
    }
}

//! What a dataset holds, in short: from its manifest alone.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::dataset::{ArrayEntry, CodecChoice, Dataset, Manifest, SourceEntry, SplitEntry};

/// What a dataset holds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Info {
    /// Its folder or URL.
    pub location: String,
    pub schema_version: u32,
    pub plan_digest: String,
    /// Samples of all splits.
    pub samples: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Voxels of a window, x y z.
    pub window_voxels: [u32; 3],
    /// nm per voxel of the windows, x y z: one per layer group that differs from the others.
    pub resolutions_nm: Vec<[f64; 3]>,
    pub splits: IndexMap<String, SplitInfo>,
    pub arrays: IndexMap<String, ArrayInfo>,
    /// Names of the index columns.
    pub columns: Vec<String>,
    /// The volumes that windows were cut from.
    pub sources: Vec<SourceEntry>,
    /// The collection that was read.
    pub collection: String,
    /// The config with all defaults filled in.
    pub config: Value,
    /// Warnings of the job.
    pub warnings: Vec<String>,
}

/// A split of a dataset.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SplitInfo {
    /// Its Zarr group, relative to the dataset.
    pub path: String,
    pub samples: u64,
    /// Boxes of the split.
    pub boxes: u64,
    /// Annotations in its boxes.
    pub annotations: u64,
    /// Annotations that are no samples, by reason.
    pub dropped: BTreeMap<String, u64>,
    pub shards: u64,
    /// Samples per shard.
    pub shard_samples: u64,
    /// Bytes of its shards.
    pub bytes: u64,
}

/// An array of a dataset.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ArrayInfo {
    pub layer: String,
    pub role: Option<String>,
    pub transform: Value,
    pub data_type: String,
    /// Names of its dimensions.
    pub dimensions: Vec<String>,
    /// Shape of a sample, in the order of `dimensions` after the first.
    pub sample_shape: [u64; 4],
    /// `None` for schema version 1: zstd, level 1.
    pub codec: Option<CodecChoice>,
    /// Bytes of its shards.
    pub bytes: u64,
    /// Bytes of its values.
    pub values_bytes: u64,
    /// Windows that extend past the volume, by split.
    pub padded_windows: IndexMap<String, u64>,
    /// Statistics of the values, by split.
    pub statistics: IndexMap<String, Value>,
}

impl Info {
    /// What `dataset` holds.
    pub fn of(dataset: &Dataset) -> Self {
        let manifest = dataset.manifest();
        let splits = manifest.splits.iter();
        let arrays = manifest.arrays.iter();
        Self {
            location: dataset.location().to_string(),
            schema_version: manifest.schema_version,
            plan_digest: manifest.plan_digest.clone(),
            samples: sum(manifest.splits.values().map(|s| s.samples)),
            bytes: sum(manifest.shards.iter().map(|s| s.bytes))
                .saturating_add(sum(manifest.files.iter().map(|f| f.bytes))),
            window_voxels: manifest.window_voxels,
            resolutions_nm: resolutions(manifest),
            splits: splits
                .map(|(name, split)| (name.clone(), split_info(manifest, name, split)))
                .collect(),
            arrays: arrays
                .map(|(name, array)| (name.clone(), array_info(manifest, name, array)))
                .collect(),
            columns: columns(manifest),
            sources: manifest.sources.clone(),
            collection: manifest.collection.clone(),
            config: manifest.config.clone(),
            warnings: manifest.warnings.clone(),
        }
    }
}

/// The resolutions of the layer groups, each once. Before version 3 there are no groups, and the config has the only one.
fn resolutions(manifest: &Manifest) -> Vec<[f64; 3]> {
    let mut all: Vec<[f64; 3]> = Vec::new();
    let of_config: Option<[f64; 3]> =
        serde_json::from_value(manifest.config["resolution"].clone()).ok();
    let of_groups = manifest.groups.iter().map(|g| g.resolution_nm);
    for resolution in of_groups {
        if !all.contains(&resolution) {
            all.push(resolution);
        }
    }
    if all.is_empty() {
        all.extend(of_config);
    }
    all
}

fn split_info(manifest: &Manifest, name: &str, split: &SplitEntry) -> SplitInfo {
    let boxes = || {
        let boxes = manifest.boxes.iter();
        boxes.filter(|b| b.split.as_deref() == Some(name))
    };
    let mut dropped = BTreeMap::new();
    for (reason, count) in boxes().flat_map(|b| &b.dropped) {
        let all = dropped.entry(reason.clone()).or_insert(0u64);
        *all = all.saturating_add(*count);
    }
    let shards = || manifest.shards.iter().filter(|s| s.split == name);
    SplitInfo {
        path: split.path.clone(),
        samples: split.samples,
        boxes: boxes().count() as u64,
        annotations: sum(boxes().map(|b| b.annotations)),
        dropped,
        shards: shards().count() as u64,
        shard_samples: split.shard_samples,
        bytes: sum(shards().map(|s| s.bytes)),
    }
}

fn array_info(manifest: &Manifest, name: &str, array: &ArrayEntry) -> ArrayInfo {
    let samples = sum(manifest.splits.values().map(|s| s.samples));
    let shards = manifest.shards.iter().filter(|s| s.array == name);
    let values = array
        .sample_shape
        .iter()
        .fold(samples, |n, k| n.saturating_mul(*k));
    ArrayInfo {
        layer: array.layer.clone(),
        role: array.role.clone(),
        transform: array.transform.clone(),
        data_type: array.data_type.name().to_owned(),
        dimensions: array.dimensions.clone(),
        sample_shape: array.sample_shape,
        codec: array.codec,
        bytes: sum(shards.map(|s| s.bytes)),
        values_bytes: values.saturating_mul(array.data_type.size_bytes() as u64),
        padded_windows: array.padded_windows.clone(),
        statistics: array.statistics.clone(),
    }
}

/// Names of the index columns of all splits, each once, in order.
fn columns(manifest: &Manifest) -> Vec<String> {
    let splits = manifest.splits.values();
    let names: BTreeSet<_> = splits.flat_map(|split| manifest.columns(split)).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The sum, or the largest number where the numbers of a forged manifest are too large.
fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

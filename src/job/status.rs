//! What of an output is written.

use serde::Serialize;

use crate::dataset::{Layout, PresentShards};

/// What of an output is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether all shards are present and the manifest is written.
    pub complete: bool,
    /// Number of tasks that the shards are divided into.
    pub tasks: u32,
    /// Number of shards.
    pub shards: u64,
    /// Shards that are present.
    pub present: u64,
    /// The shards of each array, by split.
    pub arrays: Vec<ArrayStatus>,
}

/// The shards of an array in a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArrayStatus {
    /// The split.
    pub split: String,
    /// The array.
    pub array: String,
    /// Number of shards.
    pub shards: u64,
    /// Numbers of the shards that are missing.
    pub missing: Vec<u64>,
}

impl Status {
    /// The status of an output without a manifest.
    pub(super) fn new(tasks: u32, layout: &Layout, present: &PresentShards) -> Self {
        let mut arrays = Vec::new();
        for (split, of_split) in layout.splits.iter().enumerate() {
            for (array, of_array) in layout.arrays.iter().enumerate() {
                let missing = present
                    .missing()
                    .filter(|id| (id.split, id.array) == (split, array));
                arrays.push(ArrayStatus {
                    split: of_split.name.clone(),
                    array: of_array.name.clone(),
                    shards: layout.shards(split),
                    missing: missing.map(|id| id.shard).collect(),
                });
            }
        }
        Self {
            complete: false,
            tasks,
            shards: arrays.iter().map(|a| a.shards).sum(),
            present: present.count(),
            arrays,
        }
    }

    /// The status with what is known about the manifest.
    pub(super) fn with_manifest(self, complete: bool) -> Self {
        Self { complete, ..self }
    }
}

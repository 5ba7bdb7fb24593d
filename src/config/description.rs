//! The job description as the config file writes it.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ArrayConfig, CollectionConfig, LayerConfig, Leaks, Missing, NamedCollectionConfig, Outside,
    PointsConfig, RandomSplitsConfig, Snap, SplitConfig, tagged,
};
use crate::geometry::{AxisOrder, Resolution, WindowRule, WindowSize};

/// A job: which windows to cut, out of which layers, into which splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The schema of this file, for editors. The job ignores it.
    #[serde(rename = "$schema", default, skip_serializing)]
    pub(crate) schema: Option<String>,
    /// The collection of bounding boxes: the path of a file or folder, or an object for another kind of source.
    /// Relative paths count from the config's folder. Either `collection` or `collections` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) collection: Option<CollectionConfig>,
    /// Several collections: name, then the path of a file or folder, or an object. The name and a slash are the beginning of the
    /// ids of its boxes.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) collections: IndexMap<String, NamedCollectionConfig>,
    /// Size of a voxel of the windows in nm, x y z. Every layer must have a scale of this resolution.
    #[schemars(with = "[f64; 3]", extend("items" = serde_json::json!({"type": "number", "exclusiveMinimum": 0})))]
    pub(crate) resolution: Resolution,
    /// Size of a window in voxels, x y z.
    #[schemars(with = "[u32; 3]", extend("items" = serde_json::json!({"type": "integer", "minimum": 1, "maximum": 65536})))]
    pub(crate) window: WindowSize,
    /// Which voxel a window starts at, where its exact start is between two voxels.
    #[serde(default, skip_serializing_if = "WindowRule::is_default")]
    pub(crate) rule: WindowRule,
    /// Which annotations become samples.
    pub(crate) points: PointsConfig,
    /// The arrays to write: output name, then the layer that the array is cut out of.
    #[schemars(length(min = 1))]
    pub(crate) arrays: IndexMap<String, ArrayConfig>,
    /// What the metadata of volume layers lack: the layer's name, as in `arrays`, then its resolution, offset and axes, and
    /// what 403 (forbidden) means for its server.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) layers: IndexMap<String, LayerConfig>,
    /// The splits to write: name, then the tags that a box must all have to belong to the split, or an object with `all`,
    /// `any` and `none`. Optional with `random_splits`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) splits: IndexMap<String, SplitConfig>,
    /// Splits that boxes are assigned to at random, by fractions or as folds of a cross-validation. Boxes that belong to one of
    /// `splits` take no part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) random_splits: Option<RandomSplitsConfig>,
    /// Whether the z of `resolution` is replaced, per layer group, by the smallest z that all its layers have. The size of
    /// windows in voxels stays the same.
    #[serde(default)]
    pub(crate) flexible_z: bool,
    /// Whether the corners of boxes are moved before points are tested against the boxes.
    #[serde(default)]
    pub(crate) snap: Snap,
    /// What happens to samples whose window extends past the volume of a layer.
    #[serde(default)]
    pub(crate) outside: Outside,
    /// The order of the arrays' axes after `sample`.
    #[serde(default)]
    pub(crate) axis_order: AxisOrder,
    /// What happens when windows of two splits share voxels.
    #[serde(default, deserialize_with = "tagged::leaks")]
    pub(crate) leaks: Leaks,
    /// What a missing chunk means.
    #[serde(default)]
    pub(crate) missing: Missing,
    /// Samples per shard file. By default, as many as make a shard of the largest array about 128 MiB before
    /// compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub(crate) shard_samples: Option<u32>,
}

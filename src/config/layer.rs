//! What a layer's metadata lack: its position in the world, the order of its axes, what some answers of its server mean, and
//! the roots of its supervoxels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RootsConfig;
use crate::geometry::{MAX_VOXEL, Resolution};

/// What the metadata of a volume layer lack. Zarr arrays, N5 datasets and HDF5 datasets without such metadata need the
/// first three keys, TIFF stacks the first one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Size of a voxel in nm, x y z, of an array without this metadata. It takes precedence over the array's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>", extend("items" = serde_json::json!({"type": "number", "exclusiveMinimum": 0})))]
    pub resolution: Option<Resolution>,
    /// Position of the array's first voxel, x y z, in voxels of the config's `resolution`: its lower corner is at
    /// `voxel_offset * resolution`. By default from the metadata, such as `offset` in the attributes of an N5 dataset;
    /// without such metadata, 0 0 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voxel_offset: Option<[i64; 3]>,
    /// The array's axes, one letter each, in the order of its metadata: of `shape` in Zarr and HDF5 (`zyx`, `tczyx`), of
    /// `dimensions` in N5 (`xyz`, `xyzc`). By default the names in the metadata. Names that differ from those are an error. In
    /// TIFF only `zyx`: each page is a section, whatever the file states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z]{3,8}$"))]
    pub axes: Option<String>,
    /// What 403 (forbidden) means for a chunk. Buckets that cannot be listed answer 403 for missing chunks. Metadata are not
    /// chunks: for them, 403 is always an error.
    #[serde(default, skip_serializing_if = "Forbidden::is_error")]
    pub forbidden: Forbidden,
    /// What it means when all chunks that windows touch are missing. Some writers do not store chunks of zeros; then the
    /// layer is zero there, and the path is right.
    #[serde(default, skip_serializing_if = "Empty::is_error")]
    pub empty: Empty,
    /// The roots of the layer's supervoxels, as of a PyChunkedGraph (`graphene://`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<RootsConfig>,
}

/// What 403 (forbidden) means for a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Forbidden {
    /// An error.
    #[default]
    Error,
    /// The chunk is missing.
    Missing,
}

/// What it means when all chunks that windows touch are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Empty {
    /// An error: the path is probably wrong.
    #[default]
    Error,
    /// The layer has its fill value there.
    Allow,
}

impl Empty {
    fn is_error(&self) -> bool {
        *self == Self::Error
    }
}

impl Forbidden {
    fn is_error(&self) -> bool {
        *self == Self::Error
    }
}

impl LayerConfig {
    /// Whether it gives the position of the layer's voxels, or the order of axes.
    pub(crate) fn places_voxels(&self) -> bool {
        self.resolution.is_some() || self.voxel_offset.is_some() || self.axes.is_some()
    }

    /// The first invalid value, if there is one: the key, and what was found and expected.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let out_of_range = |v: &i64| !(-MAX_VOXEL..=MAX_VOXEL).contains(v);
        if let Some(offset) = self.voxel_offset.filter(|o| o.iter().any(out_of_range)) {
            let problem = format!("found {offset:?}, expected at most {MAX_VOXEL} either way");
            return Some(("voxel_offset", problem));
        }
        let of_roots = self.roots.as_ref().and_then(RootsConfig::problem);
        if of_roots.is_some() {
            return of_roots;
        }
        let axes = self.axes.as_deref()?;
        let once = |wanted: char| axes.chars().filter(|c| *c == wanted).count() == 1;
        let letters = axes.len() <= 8 && axes.chars().all(|c| c.is_ascii_lowercase() && once(c));
        if letters && "xyz".chars().all(once) {
            return None;
        }
        let problem = format!(
            "found {axes:?}, expected one small letter per axis, none twice, with x, y and z among them: \"zyx\", \"czyx\""
        );
        Some(("axes", problem))
    }
}

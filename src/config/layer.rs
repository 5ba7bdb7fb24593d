//! What a layer's source does not say about itself: where it lies in the world, the order of its axes, and what its
//! server means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{MAX_VOXEL, Resolution};

/// What is known of a volume layer beside what its source says. Zarr arrays and N5 datasets without
/// multiscale metadata need the first three.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Size of a voxel in nm, x y z, of an array that does not state it. It goes before what the array states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>", extend("items" = serde_json::json!({"type": "number", "exclusiveMinimum": 0})))]
    pub resolution: Option<Resolution>,
    /// Where the array's first voxel lies, x y z, in voxels of the config's `resolution`: its lower corner
    /// is at `voxel_offset * resolution`. Without it, what the source states, such as `offset` in the attributes of
    /// an N5 dataset; where that is nothing, 0 0 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voxel_offset: Option<[i64; 3]>,
    /// The array's axes, one letter each, in the order of its metadata: of `shape` in Zarr (`zyx`, `tczyx`), of
    /// `dimensions` in N5 (`xyz`, `xyzc`). Without it, the names that the source gives them; other names than
    /// those are an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z]{3,8}$"))]
    pub axes: Option<String>,
    /// What it means when a server answers 403 (forbidden) for a chunk. Buckets that do not let their objects be
    /// listed answer so for those that are not stored. Metadata are not chunks: they must be there.
    #[serde(default, skip_serializing_if = "Forbidden::is_error")]
    pub forbidden: Forbidden,
    /// What it means when no chunk that windows touch is stored. Some writers do not store chunks of zeros: then a
    /// layer of which nothing is stored there is all zeros, and no wrong path.
    #[serde(default, skip_serializing_if = "Empty::is_error")]
    pub empty: Empty,
}

/// What an answer of 403 for a chunk means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Forbidden {
    /// An error.
    #[default]
    Error,
    /// The chunk is not stored.
    Missing,
}

/// What it means when no chunk that windows touch is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Empty {
    /// An error: the path is probably wrong.
    #[default]
    Error,
    /// The layer holds its fill value there.
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
    /// Whether it says where the layer's voxels lie, or in which order.
    pub(crate) fn says_where(&self) -> bool {
        self.resolution.is_some() || self.voxel_offset.is_some() || self.axes.is_some()
    }

    /// What is wrong with it, if anything: the key, and what was found and expected.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let out_of_range = |v: &i64| !(-MAX_VOXEL..=MAX_VOXEL).contains(v);
        if let Some(offset) = self.voxel_offset.filter(|o| o.iter().any(out_of_range)) {
            let problem = format!("found {offset:?}, expected at most {MAX_VOXEL} either way");
            return Some(("voxel_offset", problem));
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

//! What a layer's source does not say about itself: where it lies in the world, and the order of its axes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{MAX_VOXEL, Resolution};

/// What is known of a volume layer beside what its source says. Zarr arrays and N5 datasets without
/// multiscale metadata need it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Size of a voxel in nm, x y z, of an array that does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>", extend("items" = serde_json::json!({"type": "number", "exclusiveMinimum": 0})))]
    pub resolution: Option<Resolution>,
    /// Where the array's first voxel lies, x y z, in voxels of the config's `resolution`: its lower corner
    /// is at `voxel_offset * resolution`. Without it, what the source says; where that is nothing, 0 0 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voxel_offset: Option<[i64; 3]>,
    /// The array's axes, one letter each, in the order of its shape (the order that zarr-python prints):
    /// `zyx`, `xyz`, `tczyx`. Without it, the names that the source gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z]{3,8}$"))]
    pub axes: Option<String>,
}

impl LayerConfig {
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

//! The objects of a segmentation as annotations: one for each object in a box.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PropertyFilter;
use crate::geometry::Resolution;

/// The objects of a segmentation as annotations: one for each object in a box. Its id is the object's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectsConfig {
    /// Name of the segmentation in the boxes' layer groups.
    pub layer: String,
    /// The position of an object.
    #[serde(default)]
    pub anchor: ObjectAnchor,
    /// Objects with fewer voxels in the box are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_voxels: Option<u64>,
    /// Objects with more voxels in the box are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_voxels: Option<u64>,
    /// What happens to objects that have voxels at a face of the box, so that they may extend past it.
    #[serde(default)]
    pub at_faces: AtFaces,
    /// Size in nm, x y z, of the voxels that are read, if it differs from the job's `resolution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>")]
    pub resolution: Option<Resolution>,
}

/// The position of an object, always the first corner of a voxel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectAnchor {
    /// The mean of its voxels' indices, rounded half to even. It may be outside of the object.
    #[default]
    Centroid,
    /// The voxel of the object that is nearest, in nm, to the rounded centroid.
    Inside,
    /// The middle of its bounding box, rounded half to even.
    Box,
}

/// What happens to objects that have voxels at a face of the box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AtFaces {
    /// Only their voxels in the box count.
    #[default]
    Clip,
    /// They are dropped, unless the volume ends there.
    Drop,
}

/// The property with the number of an object's voxels in the box.
pub(crate) const VOXELS: &str = "voxels";

/// The property that is 1 for objects with voxels at a face of the box, unless the volume ends there.
pub(crate) const AT_FACE: &str = "at_face";

impl ObjectsConfig {
    /// The first invalid value, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        let reversed = self
            .max_voxels
            .filter(|max| *max < self.min_voxels.unwrap_or(1));
        let max = reversed?;
        let min = self.min_voxels.unwrap_or(1);
        Some(format!(
            "`objects.max_voxels` is {max}, expected at least {min}"
        ))
    }

    /// The filters on properties that follow from it.
    pub(crate) fn filters(&self) -> Vec<(&'static str, PropertyFilter)> {
        let range = |min: Option<u64>, max: Option<u64>| PropertyFilter {
            min: min.map(|v| v as f64),
            max: max.map(|v| v as f64),
            one_of: None,
        };
        let mut filters = Vec::new();
        if self.min_voxels.is_some() || self.max_voxels.is_some() {
            filters.push((VOXELS, range(self.min_voxels, self.max_voxels)));
        }
        if self.at_faces == AtFaces::Drop {
            filters.push((AT_FACE, range(None, Some(0))));
        }
        filters
    }
}

//! Random points that are no annotations, as samples.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::Resolution;

/// Random points in the boxes that are no annotations. They become samples like annotations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NegativesConfig {
    /// How many of them a box has for each of its annotations that `filter` and `related` keep.
    #[schemars(range(min = 0))]
    pub per_annotation: f64,
    /// Minimum distance in nm from every annotation, also from those outside of the box. The distance from a line is that from
    /// its nearest point.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub min_distance_nm: f64,
    /// They are placed only where this volume is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<NegativesMask>,
    /// The same seed places the same points.
    #[serde(default)]
    pub seed: u64,
}

/// Where negatives may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NegativesMask {
    /// Name of the volume layer in the boxes' layer groups.
    pub layer: String,
    /// Size in nm, x y z, of the voxels that are read, if it differs from the job's `resolution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>")]
    pub resolution: Option<Resolution>,
}

/// The property that is 1 for negatives and 0 for annotations.
pub(crate) const NEGATIVE: &str = "negative";

/// Most negatives for each annotation.
const MAX_PER_ANNOTATION: f64 = 1000.0;

impl NegativesConfig {
    /// The first invalid value, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        let found = self.per_annotation;
        if !(found > 0.0 && found <= MAX_PER_ANNOTATION) {
            return Some(format!(
                "`per_annotation` is {found}, expected a number greater than 0, at most {MAX_PER_ANNOTATION}"
            ));
        }
        let found = self.min_distance_nm;
        (!(found >= 0.0 && found.is_finite()))
            .then(|| format!("`min_distance_nm` is {found}, expected nm, at least 0"))
    }
}

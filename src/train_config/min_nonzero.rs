//! Which batches are skipped because they have too few voxels with data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Minimum fractions of nonzero voxels in a batch, outside of the voxels that `loss.crop_pad` ignores. Batches below are
/// skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinNonzero {
    /// Minimum for the inputs that have values other than 0 and 1.
    #[schemars(range(min = 0, max = 1))]
    pub image: f64,
    /// Minimum for the masks.
    #[schemars(range(min = 0, max = 1))]
    pub mask: f64,
}

//! The names of the spatial axes, and the order of axes in arrays.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names of the spatial axes, in the order of every triple in this crate.
pub const AXES: [&str; 3] = ["x", "y", "z"];

/// The order of an array's axes after `sample`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AxisOrder {
    /// Channel, z, y, x.
    #[default]
    Czyx,
    /// Channel, x, y, z, as in zetta_utils.
    Cxyz,
}

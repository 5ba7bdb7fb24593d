//! Which objects the output of the network selects from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The segmentation whose objects are assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignmentConfig {
    /// An array with the ids of the objects in each window, such as the cells. 0 is no object.
    pub segmentation: String,
}

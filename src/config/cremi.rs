//! The annotations of a CREMI file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The annotations of a CREMI file (HDF5): by default a line from the pre- to the postsynaptic site of each pair of partners.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CremiConfig {
    /// Path or URL of the file, relative to the config's folder.
    pub file: String,
    /// Read the annotations of this type as points, instead of lines between partners: `presynaptic_site`,
    /// `postsynaptic_site`, or another one in the file.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub annotation_type: Option<String>,
}

//! An earlier output, of which pointshard may delete what it wrote.

use serde::{Deserialize, Serialize};

/// An earlier output that is being deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierOutput {
    /// Its groups.
    pub groups: Vec<String>,
    /// Names of its arrays and columns.
    pub members: Vec<String>,
}

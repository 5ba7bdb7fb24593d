//! The unit of coordinates that a config or a table writes as numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::Resolution;

/// The unit of coordinates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LengthUnit {
    /// Nanometres.
    #[default]
    Nm,
    /// Micrometres.
    Um,
    /// Voxels of `resolution`; voxel `i` covers `i` to `i + 1`.
    Voxel,
}

impl LengthUnit {
    /// nm per unit along x, y, z. Voxels are those of `resolution`.
    pub(crate) fn nm(self, resolution: Option<Resolution>) -> [f64; 3] {
        match self {
            Self::Nm => [1.0; 3],
            Self::Um => [1000.0; 3],
            Self::Voxel => resolution.map_or([1.0; 3], |r| r.nm()),
        }
    }

    /// What is wrong with the unit together with `resolution`, if anything.
    pub(super) fn problem(self, resolution: Option<Resolution>) -> Option<&'static str> {
        match (self, resolution) {
            (Self::Voxel, None) => Some(
                "has the unit `voxel` without `resolution`, expected `resolution`: nm per voxel along x, y, z",
            ),
            (Self::Nm | Self::Um, Some(_)) => Some(
                "has `resolution` with a unit that needs none, expected it with the unit `voxel` only",
            ),
            _ => None,
        }
    }
}

/// What is wrong with `delimiter` as the character between the fields of a table, if anything: it, and what is expected.
pub(super) fn delimiter_problem(delimiter: Option<char>) -> Option<String> {
    let c = delimiter?;
    let is_bad = !c.is_ascii() || c.is_alphanumeric() || "\"\n\r.+-".contains(c);
    is_bad.then(|| format!("{c:?}, expected a character such as ',' ';' or a tab"))
}

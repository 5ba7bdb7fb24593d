//! Small choices of a job: what to do about leaks, missing chunks, padded windows, and corners of boxes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens when windows of two splits share voxels of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leaks {
    /// The job fails before anything is written.
    #[default]
    Error,
    /// The job prints a warning and continues.
    Warn,
    /// Leaks are not searched for.
    Allow,
    /// Samples of this split that share voxels with another one's are dropped and counted.
    DropFrom(String),
}

/// Whether the corners of boxes are moved before points are tested against the boxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Snap {
    /// Corners stay as given.
    #[default]
    None,
    /// As in zetta_utils: truncated to whole nm, then rounded down to whole voxels, `floor(round(x / r, 10)) * r`.
    Zetta,
}

/// What happens to samples whose window extends past the volume of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// The window is padded with the fill value.
    #[default]
    Pad,
    /// The sample is dropped and counted.
    Drop,
}

/// What a missing chunk means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It reads as the layer's fill value (0 unless a Zarr array has another one), and is counted.
    #[default]
    Zeros,
    /// The job fails.
    Error,
}

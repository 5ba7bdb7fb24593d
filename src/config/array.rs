//! One output array: the layer that it is cut out of, and what is done to its values on the way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CodecConfig, Interpolation, tagged};
use crate::data_type::DataType;
use crate::geometry::{Resolution, WindowSize};

/// One output array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArrayConfig {
    /// Name of the volume layer in the boxes' layer groups.
    pub layer: String,
    /// What the array is for: trainers read it in the attributes. A `mask` is named after the array that it
    /// masks: `TARGET_mask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What is done to every value.
    #[serde(
        default,
        skip_serializing_if = "Transform::is_none",
        deserialize_with = "tagged::transform"
    )]
    pub transform: Transform,
    /// Type of the array's values. Without it, `uint8` for masks, `float32` for `scale`, else the layer's own.
    /// A value that the type cannot hold is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<DataType>,
    /// Size of this array's windows in voxels, x y z, where it is not that of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[u32; 3]>")]
    pub window: Option<WindowSize>,
    /// Size in nm, x y z, of the voxels that are read, where they are not those of the windows: values are
    /// interpolated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>")]
    pub data_resolution: Option<Resolution>,
    /// How voxels of `data_resolution` become voxels of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// What voxels hold, after the transform, that lie outside of the volume or are not stored. Without it, what the
    /// layer's own fill value becomes (0 but for Zarr arrays that say otherwise).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<f64>,
    /// Samples of which a smaller share of this array's values is not 0 are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub min_nonzero_fraction: Option<f64>,
    /// How the samples are compressed.
    #[serde(default, skip_serializing_if = "CodecConfig::is_auto")]
    pub codec: CodecConfig,
}

/// What an array is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Input of the network.
    Image,
    /// What the network shall give.
    Target,
    /// Where a target counts.
    Mask,
}

/// What is done to every value of an array.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// 1 where the value is not 0.
    Nonzero,
    /// 1 where the value is this one.
    Equals(u64),
    /// 1 where the value is one of these.
    In(Vec<u64>),
    /// 1 where the value is this or more.
    Threshold(f64),
    /// The value times a factor, plus a summand.
    Scale(Scale),
    /// 1 where the value is that of the one object at a point of the sample's annotation.
    ObjectAt(ObjectAt),
    /// 1 where the voxel lies inside of the layer's volume.
    Inside,
}

/// A factor and a summand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Values are multiplied by this first.
    #[serde(default = "one")]
    pub multiply: f64,
    /// This is added then.
    #[serde(default)]
    pub add: f64,
}

fn one() -> f64 {
    1.0
}

/// Which object of a segmentation a mask shows: each sample's own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectAt {
    /// The point of the annotation.
    pub point: ObjectPoint,
    /// Where the point lies on background (0), the nearest voxel that is none within this many nm counts.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub radius_nm: f64,
    /// What becomes of samples at whose point no object is found.
    #[serde(default)]
    pub missing: MissingObject,
}

/// A point of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectPoint {
    /// The one that its window is centred on.
    Anchor,
    /// The first end of a line.
    Start,
    /// The last end of a line.
    End,
}

/// What becomes of samples without an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingObject {
    /// They are dropped, and counted.
    #[default]
    Drop,
    /// Their mask is empty, and they are counted.
    Keep,
}

impl Role {
    /// Its name in configs and attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Target => "target",
            Self::Mask => "mask",
        }
    }
}

impl Transform {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl ArrayConfig {
    /// What cannot be, if anything: the key below the array, and what was found and expected.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        match &self.transform {
            Transform::In(ids) if ids.is_empty() => {
                let expected = "found no value, expected at least one".to_owned();
                return Some((".transform.in", expected));
            }
            Transform::Threshold(t) if !t.is_finite() => {
                return Some((".transform.threshold", "expected a number".to_owned()));
            }
            Transform::ObjectAt(at) if !(at.radius_nm >= 0.0 && at.radius_nm <= MAX_RADIUS_NM) => {
                let problem = format!(
                    "found {}, expected nm from 0 to {MAX_RADIUS_NM}",
                    at.radius_nm
                );
                return Some((".transform.object_at.radius_nm", problem));
            }
            _ => {}
        }
        let share = 0.0..=1.0;
        if let Some(found) = self.min_nonzero_fraction.filter(|f| !share.contains(f)) {
            let problem = format!("found {found}, expected a share from 0 to 1");
            return Some((".min_nonzero_fraction", problem));
        }
        if let Some(problem) = self.codec.problem() {
            return Some(problem);
        }
        let problem = match (self.data_resolution, self.interpolation) {
            (Some(_), None) if self.transform != Transform::Inside => Some(format!(
                "`data_resolution` is given without `interpolation`, expected {}",
                Interpolation::SUITED
            )),
            (None, Some(_)) => Some(
                "`interpolation` is given without `data_resolution`, expected both or none"
                    .to_owned(),
            ),
            _ => None,
        };
        if let Some(problem) = problem {
            return Some(("", problem));
        }
        let problem = unsuited(self.interpolation?, &self.transform)?;
        Some((".interpolation", problem.to_owned()))
    }
}

/// Why values that were interpolated so cannot be transformed so, if they cannot: what is expected instead.
fn unsuited(interpolation: Interpolation, transform: &Transform) -> Option<&'static str> {
    match (interpolation, transform) {
        (_, Transform::None | Transform::Scale(_)) => None,
        (Interpolation::Nearest | Interpolation::Majority, _)
        | (Interpolation::Any, Transform::Nonzero | Transform::Inside) => None,
        (Interpolation::Any, _) => Some(
            "`any` gives 0 and 1, which are not the values that this `transform` is about; expected `nearest` or `majority`, which keep values, or the `transform` \"none\" or \"nonzero\"",
        ),
        (Interpolation::Area(_) | Interpolation::Linear(_), _) => Some(
            "a mask is made of voxels as they are, not of their means; expected `nearest` or `majority`, or `any` with the `transform` \"none\" or \"nonzero\"",
        ),
    }
}

/// Largest radius around a point in which an object is searched, in nm.
const MAX_RADIUS_NM: f64 = 100_000.0;

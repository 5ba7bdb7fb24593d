//! One output array: the layer that it is cut out of, and how its values are transformed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CodecConfig, Interpolation, ObjectAt, tagged};
use crate::data_type::DataType;
use crate::geometry::{Resolution, WindowSize};

/// One output array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArrayConfig {
    /// Name of the volume layer in the boxes' layer groups.
    pub layer: String,
    /// What the array is for; trainers find it in the attributes. A `mask` is named after the array that it masks:
    /// `TARGET_mask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How every value is transformed.
    #[serde(
        default,
        skip_serializing_if = "Transform::is_none",
        deserialize_with = "tagged::transform"
    )]
    pub transform: Transform,
    /// Data type of the array. By default `uint8` for masks, `float32` for `scale`, otherwise the layer's data type. A value
    /// that does not fit the type is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<DataType>,
    /// Size of this array's windows in voxels, x y z, if it differs from `window` of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[u32; 3]>")]
    pub window: Option<WindowSize>,
    /// Size in nm, x y z, of the voxels that are read, if it differs from `resolution`. Values are interpolated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<[f64; 3]>")]
    pub data_resolution: Option<Resolution>,
    /// How voxels of `data_resolution` become voxels of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// Value, after the transform, of voxels outside the volume and of missing chunks. By default the layer's fill value,
    /// transformed (the fill value is 0 unless a Zarr array has another one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<f64>,
    /// Samples are dropped if a smaller fraction of this array's values is nonzero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub min_nonzero_fraction: Option<f64>,
    /// How samples are compressed.
    #[serde(default, skip_serializing_if = "CodecConfig::is_auto")]
    pub codec: CodecConfig,
}

/// What an array is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Input of the network.
    Image,
    /// What the network should predict.
    Target,
    /// Where a target is valid.
    Mask,
}

/// How every value of an array is transformed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// The value is kept.
    #[default]
    None,
    /// 1 where the value is nonzero.
    Nonzero,
    /// 1 where the value is equal to this one.
    Equals(u64),
    /// 1 where the value is one of these.
    In(Vec<u64>),
    /// 1 where the value is greater than or equal to this one.
    Threshold(f64),
    /// The value is multiplied by a factor, then a number is added.
    Scale(Scale),
    /// 1 where the value is the id of the sample's object: the one at a point of its annotation, with an id, or under a mask.
    ObjectAt(ObjectAt),
    /// 1 where the voxel is inside the layer's volume.
    Inside,
}

/// A factor, and a number that is added.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// First, values are multiplied by this.
    #[serde(default = "one")]
    pub multiply: f64,
    /// Then this is added.
    #[serde(default)]
    pub add: f64,
}

fn one() -> f64 {
    1.0
}

impl Role {
    /// The name in configs and attributes.
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
    /// Whether a sample may have several objects in the array.
    pub(crate) fn shows_several_objects(&self) -> bool {
        matches!(&self.transform, Transform::ObjectAt(at) if at.shows_several())
    }

    /// The first invalid value, if there is one: the key below the array, and what was found and expected.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        match &self.transform {
            Transform::In(ids) if ids.is_empty() => {
                let expected = "found no value, expected at least one".to_owned();
                return Some((".transform.in", expected));
            }
            Transform::Threshold(t) if !t.is_finite() => {
                return Some((".transform.threshold", "expected a number".to_owned()));
            }
            Transform::ObjectAt(at) => {
                if let Some((key, problem)) = at.problem() {
                    return Some((key, problem));
                }
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
                Interpolation::CHOICES
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
        let problem = incompatible(self.interpolation?, &self.transform)?;
        Some((".interpolation", problem.to_owned()))
    }
}

/// Why this transform cannot follow this interpolation, if it cannot: what is expected instead.
fn incompatible(interpolation: Interpolation, transform: &Transform) -> Option<&'static str> {
    match (interpolation, transform) {
        (_, Transform::None | Transform::Scale(_)) => None,
        (Interpolation::Nearest | Interpolation::Majority, _)
        | (Interpolation::Any, Transform::Nonzero | Transform::Inside) => None,
        (Interpolation::Any, _) => Some(
            "`any` gives 0 and 1, not the values that this `transform` compares with; expected `nearest` or `majority`, which keep values, or the `transform` \"none\" or \"nonzero\"",
        ),
        (Interpolation::Area(_) | Interpolation::Linear(_), _) => Some(
            "a mask cannot be computed from means of voxels; expected `nearest` or `majority`, or `any` with the `transform` \"none\" or \"nonzero\"",
        ),
    }
}

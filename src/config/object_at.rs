//! Which object of a segmentation a mask shows, per sample.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which object of a segmentation a mask shows, per sample: the one at `point`, the one with `id`, or the `majority` under another
/// array's mask. Exactly one of these is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectAt {
    /// The object at this point of the annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    point: Option<ObjectPoint>,
    /// For `point`: if it is on background (0), the nearest non-background voxel within this distance is used, in nm.
    #[serde(default)]
    #[schemars(range(min = 0))]
    radius_nm: f64,
    /// The object with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<ObjectIdFrom>,
    /// The object that most voxels of this other array's mask belong to. The windows of both arrays have the same size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    majority: Option<String>,
    /// What happens to samples without an object.
    #[serde(default)]
    pub missing: MissingObject,
}

/// A point of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectPoint {
    /// The point that the window is centered on.
    Anchor,
    /// The first end of a line.
    Start,
    /// The last end of a line.
    End,
}

/// What says the id of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectIdFrom {
    /// The annotation's id is the object's id.
    Annotation,
    /// This property of the annotation is the object's id.
    Property(String),
}

/// What happens to samples without an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingObject {
    /// The sample is dropped and counted.
    #[default]
    Drop,
    /// The mask is empty, and the sample is counted.
    Keep,
}

/// How the object of a sample is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ObjectSearch<'c> {
    /// At a point, or as the nearest one within a radius.
    AtPoint { point: ObjectPoint, radius_nm: f64 },
    /// By its id.
    WithId(&'c ObjectIdFrom),
    /// As the one that most voxels of this array's mask belong to.
    Majority(&'c str),
}

/// The key below an array.
const RADIUS: &str = ".transform.object_at.radius_nm";

/// Largest `radius_nm`.
const MAX_RADIUS_NM: f64 = 100_000.0;

impl ObjectAt {
    /// The object at a point, or the nearest one within a radius. Other samples are dropped.
    #[cfg(test)]
    pub(crate) fn at(point: ObjectPoint, radius_nm: f64) -> Self {
        Self {
            point: Some(point),
            radius_nm,
            id: None,
            majority: None,
            missing: MissingObject::Drop,
        }
    }

    /// How the object of a sample is found.
    pub(crate) fn search(&self) -> ObjectSearch<'_> {
        match (&self.id, &self.majority) {
            (Some(id), _) => ObjectSearch::WithId(id),
            (_, Some(array)) => ObjectSearch::Majority(array),
            (None, None) => ObjectSearch::AtPoint {
                // A config without any of the three is not valid.
                point: self.point.unwrap_or(ObjectPoint::Anchor),
                radius_nm: self.radius_nm,
            },
        }
    }

    /// The first invalid value, if there is one: the key below the array, and what was found and expected.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let given = [
            self.point.is_some(),
            self.id.is_some(),
            self.majority.is_some(),
        ];
        let given = given.into_iter().filter(|is_given| *is_given).count();
        if given != 1 {
            let found = if given == 0 { "none" } else { "several" };
            let problem = format!("found {found} of `point`, `id`, `majority`, expected one");
            return Some((".transform.object_at", problem));
        }
        let found = self.radius_nm;
        if !(0.0..=MAX_RADIUS_NM).contains(&found) {
            let problem = format!("found {found}, expected nm from 0 to {MAX_RADIUS_NM}");
            return Some((RADIUS, problem));
        }
        (self.point.is_none() && found > 0.0).then(|| {
            let problem = format!("found {found} without `point`, expected both or none");
            (RADIUS, problem)
        })
    }
}

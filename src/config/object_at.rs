//! Which object of a segmentation a mask shows, per sample.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which object of a segmentation a mask shows, per sample: the one at `point`, those with `id`, or the `majority` under another
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
    /// The object with this id, or the union of several.
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

/// What says the id of an object, or the ids of several objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectIdFrom {
    /// The annotation's id is the object's id.
    Annotation,
    /// This property of the annotation is the object's id. Of a list of properties, each is the id of an object.
    Property(OneOrMore),
    /// The annotation is related to these objects by this relationship, or by one of a list.
    Relationship(OneOrMore),
}

/// A name, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a name, such as \"pre\", or a list of names, such as [\"pre\", \"post\"]"
)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// A list.
    List(Vec<String>),
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

/// Keys below an array.
const RADIUS: &str = ".transform.object_at.radius_nm";
const PROPERTY: &str = ".transform.object_at.id.property";
const RELATIONSHIP: &str = ".transform.object_at.id.relationship";

/// Most names of properties or relationships.
const MAX_NAMES: usize = 64;

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
        if self.point.is_none() && found > 0.0 {
            let problem = format!("found {found} without `point`, expected both or none");
            return Some((RADIUS, problem));
        }
        let (key, names) = match self.id.as_ref()? {
            ObjectIdFrom::Annotation => return None,
            ObjectIdFrom::Property(names) => (PROPERTY, names),
            ObjectIdFrom::Relationship(names) => (RELATIONSHIP, names),
        };
        Some((key, names.problem()?))
    }

    /// Whether a sample may have several objects.
    pub(crate) fn shows_several(&self) -> bool {
        match self.search() {
            ObjectSearch::WithId(ObjectIdFrom::Property(names)) => names.is_list(),
            ObjectSearch::WithId(ObjectIdFrom::Relationship(_)) => true,
            _ => false,
        }
    }

    /// The end of the annotation that the object is at, if it is at one.
    pub(crate) fn end(&self) -> Option<ObjectPoint> {
        match self.search() {
            ObjectSearch::AtPoint { point, .. } if point != ObjectPoint::Anchor => Some(point),
            _ => None,
        }
    }
}

impl OneOrMore {
    /// The names.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::List(names) => names,
        }
    }

    /// Whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// What is wrong with a list, if anything.
    fn problem(&self) -> Option<String> {
        let names = self.names();
        if names.is_empty() {
            return Some("found an empty list, expected at least one name".to_owned());
        }
        if names.len() > MAX_NAMES {
            let found = names.len();
            return Some(format!("found {found} names, expected at most {MAX_NAMES}"));
        }
        let is_repeated = |(i, name): &(usize, &String)| names[..*i].contains(name);
        let (_, name) = names.iter().enumerate().find(is_repeated)?;
        Some(format!("found `{name}` twice, expected each name once"))
    }
}

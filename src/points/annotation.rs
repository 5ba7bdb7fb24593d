//! What an annotation is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::PointNm;

/// The position of an annotation that decides which box it is in, and that is the centre of its window.
///
/// Boxes and ellipsoids have no ends: their anchor is always their centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// The point halfway between the two ends of a line; the middle by length of a polyline.
    #[default]
    Midpoint,
    /// The first end.
    Start,
    /// The last end.
    End,
}

/// Which annotations a box has when annotations are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InBox {
    /// Those whose anchor is in the box.
    ByAnchor,
    /// Those with an anchor and ends whose bounds have a point in common with the box, so that a line may pass through it.
    ByBounds,
}

/// One annotation of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// Its number in the layer.
    pub id: u64,
    /// The position chosen by [`Anchor`].
    pub anchor: PointNm,
    /// First and last end of a line or polyline. For a point, and for the centre of a box or an ellipsoid, both are the
    /// same.
    pub ends: [PointNm; 2],
    /// The values of all properties as stored. [`PropertySpec::bytes`](super::PropertySpec::bytes) returns one of them.
    pub properties: Box<[u8]>,
}

/// A box of a layer of boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedBox {
    /// Its number in the layer.
    pub id: u64,
    /// Two opposite corners, in any order.
    pub corners: [PointNm; 2],
    /// The values of all properties as stored. [`PropertySpec::bytes`](super::PropertySpec::bytes) returns one of them.
    pub properties: Box<[u8]>,
}

//! The bounding boxes of the demo's collection.

use super::noise::Vec3;
use super::volume_shape::{OFFSET, RESOLUTION_NM};
use crate::geometry::{BoxNm, PointNm};

/// A bounding box of the collection.
pub(super) struct DemoBox {
    /// A description. The box's id is derived from it.
    pub(super) what: &'static str,
    /// The tag.
    pub(super) split: &'static str,
    /// Whether no synapse may be in it.
    pub(super) is_empty: bool,
    /// Two opposite corners, in any order.
    pub(super) corners_nm: [[f64; 3]; 2],
}

impl DemoBox {
    /// Whether the box contains `position`, in voxels from the volume's first one: the lower bound is inside, the upper
    /// bound is not.
    pub(super) fn contains(&self, position: Vec3) -> bool {
        let voxel = in_world(position);
        let point = PointNm([0, 1, 2].map(|d| f64::from(voxel[d]) * RESOLUTION_NM[d]));
        let [a, b] = self.corners_nm.map(PointNm);
        BoxNm::from_corners(a, b).is_some_and(|inside| inside.contains(&point))
    }
}

/// The boxes. Those of `train` and `val` are more than a window apart, so that their windows do not overlap.
pub(super) fn boxes() -> Vec<DemoBox> {
    let one = |what, split, a: [f64; 3], b: [f64; 3]| DemoBox {
        what,
        split,
        is_empty: false,
        corners_nm: [a, b],
    };
    vec![
        one(
            "north-west; extends past the west and the upper edge of the volume",
            "train",
            [9480.5, 7275.0, 5872.0],
            [10883.25, 8613.5, 7790.0],
        ),
        one(
            "south-west; corners reversed",
            "train",
            [10969.5, 10112.75, 8216.0],
            [9701.5, 8724.75, 6252.0],
        ),
        DemoBox {
            is_empty: true,
            ..one(
                "between the others; without a synapse",
                "train",
                [10892.0, 7682.25, 6416.0],
                [11008.5, 8406.5, 7608.0],
            )
        },
        one(
            "north-east",
            "val",
            [11546.5, 7313.5, 6224.0],
            [12615.0, 8566.5, 8052.0],
        ),
        one(
            "south-east; extends past the edges of the volume",
            "val",
            [11600.75, 8771.25, 6324.0],
            [12819.5, 10333.5, 8672.0],
        ),
    ]
}

/// A position in the volume in voxels of the world, as in annotations.
pub(super) fn in_world(position: Vec3) -> [f32; 3] {
    [0, 1, 2].map(|d| OFFSET[d] as f32 + position[d])
}

//! Bounds and tags of a box, in one way for the config, tables and layers.

use crate::geometry::{BoxNm, PointNm};

/// The box between two corners in units of `unit_nm`; `None` if a coordinate is not finite.
pub(super) fn bounds(min: [f64; 3], max: [f64; 3], unit_nm: [f64; 3]) -> Option<BoxNm> {
    let nm = |corner: [f64; 3]| PointNm(std::array::from_fn(|d| corner[d] * unit_nm[d]));
    BoxNm::from_corners(nm(min), nm(max))
}

/// The tags that every box has and those of one box, each once.
pub(super) fn with_shared(shared: &[String], own: impl Iterator<Item = String>) -> Vec<String> {
    let mut tags = shared.to_vec();
    for tag in own {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

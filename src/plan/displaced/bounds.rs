//! The smallest box around other boxes.

use crate::geometry::{BoxNm, PointNm};

/// The smallest box that contains all of `boxes`; `None` if there are none.
pub(super) fn bounds_of(boxes: &[BoxNm]) -> Option<BoxNm> {
    let first = boxes.first()?;
    let (mut min, mut max) = (first.min(), first.max());
    for b in boxes {
        for d in 0..3 {
            min[d] = min[d].min(b.min()[d]);
            max[d] = max[d].max(b.max()[d]);
        }
    }
    BoxNm::from_corners(PointNm(min), PointNm(max))
}

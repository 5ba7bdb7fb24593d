//! Which rows may be in a box, by the smallest and largest values of their columns.

use crate::points::annotation::InBox;
use crate::points::merge::BoxIndex;

/// The boxes of a job, and the columns that decide which rows are in one.
#[derive(Debug)]
pub(super) struct NearBoxes<'a> {
    pub boxes: &'a BoxIndex<'a>,
    pub unit_nm: [f64; 3],
    /// The columns of the anchor, or of one end of a line of which the middle is the anchor, or of which the bounds decide: x, y, z.
    pub position: [&'a str; 3],
    /// The columns of the other end of the line.
    pub other_end: Option<[&'a str; 3]>,
}

/// A range of values, of which the ends are included.
pub(super) type ValueRange = [f64; 2];

impl NearBoxes<'_> {
    /// The columns whose values decide, each once.
    pub fn columns(&self) -> Vec<&str> {
        let columns = std::iter::once(self.position).chain(self.other_end);
        columns.flatten().collect()
    }

    /// Whether rows with these ranges of values, in the order of [`NearBoxes::columns`], may be in a box.
    pub fn may_contain(&self, ranges: &[ValueRange]) -> bool {
        let (firsts, seconds) = ranges.split_at(ranges.len().min(3));
        let range = |axis: usize| -> ValueRange {
            let first = firsts.get(axis).copied().unwrap_or(UNKNOWN);
            let unit = self.unit_nm[axis];
            match seconds.get(axis) {
                None => first.map(|v| v * unit),
                Some(second) if self.boxes.in_box() == InBox::ByBounds => {
                    [first[0].min(second[0]), first[1].max(second[1])].map(|v| v * unit)
                }
                Some(second) => [0, 1].map(|i| f64::midpoint(first[i] * unit, second[i] * unit)),
            }
        };
        let [x, y, z] = [0, 1, 2].map(range);
        // Conversions and products are rounded.
        let low = [x[0], y[0], z[0]].map(|v| v - v.abs() * ROUNDING);
        let high = [x[1], y[1], z[1]].map(|v| v + v.abs() * ROUNDING);
        self.boxes.is_near(low, high)
    }
}

/// The range of values about which nothing is known.
pub(super) const UNKNOWN: ValueRange = [f64::NEG_INFINITY, f64::INFINITY];

/// Relative difference that a range is wider than the values.
const ROUNDING: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{BoxNm, PointNm};

    #[test]
    fn rows_are_near_if_their_anchor_may_be_in_a_box() {
        let corner = |v| PointNm([v; 3]);
        let boxes = [
            BoxNm::from_corners(corner(100.0), corner(200.0)).unwrap(),
            BoxNm::from_corners(corner(900.0), corner(1000.0)).unwrap(),
        ];
        let index = BoxIndex::new(&boxes, InBox::ByAnchor);
        let (start, end) = (["ax", "ay", "az"], ["bx", "by", "bz"]);
        let by_bounds = BoxIndex::new(&boxes, InBox::ByBounds);
        let near_to = |boxes, other_end| NearBoxes {
            boxes,
            unit_nm: [10.0, 10.0, 10.0],
            position: start,
            other_end,
        };
        let near = |other_end| near_to(&index, other_end);
        let point = near(None);
        assert_eq!(point.columns(), ["ax", "ay", "az"]);
        assert!(point.may_contain(&[[0.0, 10.0], [15.0, 16.0], [15.0, 99.0]]));
        assert!(!point.may_contain(&[[0.0, 9.9], [15.0, 16.0], [15.0, 99.0]]));
        // In x near one box, in y near the other.
        assert!(!point.may_contain(&[[12.0, 13.0], [92.0, 93.0], UNKNOWN]));
        assert!(point.may_contain(&[UNKNOWN, UNKNOWN, UNKNOWN]));
        let middle = near(Some(end));
        assert_eq!(middle.columns(), ["ax", "ay", "az", "bx", "by", "bz"]);
        let (far, farther) = ([0.0, 1.0], [29.0, 30.0]);
        assert!(middle.may_contain(&[far, far, far, farther, farther, farther]));
        assert!(!middle.may_contain(&[far, far, far, far, farther, farther]));
        assert!(middle.may_contain(&[far, far, UNKNOWN, farther, farther, farther]));
        // The line may pass through the box although its middle is elsewhere.
        let line = near_to(&by_bounds, Some(end));
        let farthest = [300.0, 301.0];
        assert!(!middle.may_contain(&[far, far, far, farthest, farther, farther]));
        assert!(line.may_contain(&[far, far, far, farthest, farther, farther]));
        assert!(!line.may_contain(&[far, far, far, farthest, far, farther]));
    }
}

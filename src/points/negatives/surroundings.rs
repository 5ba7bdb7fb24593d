//! The annotations in a box and around it, from which negatives are away.

use rstar::RTree;
use rstar::primitives::Line;

use crate::geometry::PointNm;
use crate::points::annotation::Annotation;

/// The annotations in a box and around it.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    positions: RTree<[f64; 3]>,
    /// The lines between the ends of annotations that have two.
    lines: RTree<Line<[f64; 3]>>,
}

impl Surroundings {
    /// An index of these annotations.
    pub fn of(annotations: &[Annotation]) -> Self {
        let positions = annotations.iter().map(|a| a.anchor.0);
        let lines = annotations.iter().map(|a| {
            let [start, end] = a.ends;
            Line::new(start.0, end.0)
        });
        // A line without a length is at its ends, and a position.
        let lines = lines.filter(|line| line.length_2().is_normal());
        Self {
            positions: RTree::bulk_load(positions.collect()),
            lines: RTree::bulk_load(lines.collect()),
        }
    }

    /// The distance from the nearest annotation: its position, or the nearest point of the line between its ends. Infinite if
    /// there is none.
    pub fn distance_nm(&self, point: &PointNm) -> f64 {
        let position = self.positions.nearest_neighbor(point.0).copied();
        let line = self.lines.nearest_neighbor(point.0);
        let nearest = [position, line.map(|line| line.nearest_point(&point.0))];
        let distances = nearest.into_iter().flatten();
        distances
            .map(|near| PointNm(near).distance_nm(point))
            .fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(anchor: [f64; 3], ends: [[f64; 3]; 2]) -> Annotation {
        Annotation {
            id: 0,
            anchor: PointNm(anchor),
            ends: ends.map(PointNm),
            properties: Box::default(),
        }
    }

    #[test]
    fn the_distance_from_a_line_is_that_from_its_nearest_point() {
        let (start, end) = ([0.0; 3], [100.0, 0.0, 0.0]);
        let distance = |annotations: &[Annotation], point| {
            Surroundings::of(annotations).distance_nm(&PointNm(point))
        };
        let line = [annotation(start, [start, end])];
        assert_eq!(distance(&line, [103.0, 4.0, 0.0]), 5.0);
        assert_eq!(distance(&line, [-3.0, 0.0, 4.0]), 5.0);
        assert_eq!(distance(&line, [50.0, 7.0, 0.0]), 7.0);
        // The position of a line of a table may be beside the line.
        let beside = [annotation([50.0, 20.0, 0.0], [start, end])];
        assert_eq!(distance(&beside, [50.0, 22.0, 0.0]), 2.0);
        let point = [annotation(start, [start; 2])];
        assert_eq!(distance(&point, [3.0, 0.0, 4.0]), 5.0);
        assert_eq!(distance(&[], start), f64::INFINITY);
    }
}

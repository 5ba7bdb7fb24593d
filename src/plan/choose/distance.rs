//! Points with a minimum distance from each other, indexed by the cells of a grid.

use std::collections::HashMap;

use crate::geometry::PointNm;

/// Points, no two of which are closer than the distance with which they were added.
#[derive(Default)]
pub(super) struct MinDistanceIndex {
    /// Cells are two distances wide, so that a point's neighbours are in at most two cells along each axis, and a cell
    /// holds only a few points. The keys are the bits of the cell's number as `f64`, so that no number is too large.
    cells: HashMap<[u64; 3], Vec<PointNm>>,
}

impl MinDistanceIndex {
    /// Adds `point` unless there is a point closer than `distance_nm`. Returns whether it was added.
    pub(super) fn add(&mut self, point: &PointNm, distance_nm: f64) -> bool {
        let side = 2.0 * distance_nm;
        // `+ 0.0`: -0.0 and 0.0 are the same cell.
        let cell = |x: f64| ((x / side).floor() + 0.0).to_bits();
        let numbers = point.0.map(|x| {
            let own = cell(x);
            let mut all = [own, cell(x - distance_nm), cell(x + distance_nm)];
            all.sort_unstable();
            let lower_twice = all[0] == all[1];
            let upper_twice = all[1] == all[2];
            (all, [true, !lower_twice, !upper_twice])
        });
        let along = |d: usize| {
            let (cells, new) = numbers[d];
            (0..3).filter(move |i| new[*i]).map(move |i| cells[i])
        };
        for x in along(0) {
            for y in along(1) {
                for z in along(2) {
                    let points = self.cells.get(&[x, y, z]);
                    let near = |p: &PointNm| point.distance_nm(p) < distance_nm;
                    if points.is_some_and(|points| points.iter().any(near)) {
                        return false;
                    }
                }
            }
        }
        self.cells
            .entry(point.0.map(cell))
            .or_default()
            .push(*point);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_index_keeps_the_same_points_as_a_search_of_all_points(
            points in prop::collection::vec(prop::array::uniform3(-20i8..20), 0..200),
            distance in prop::sample::select(vec![0.4, 1.0, 3.0, 5.0, 17.5, 100.0]),
            unit in prop::sample::select(vec![1.0, 0.1, 4.6, 1e9]),
        ) {
            let distance = distance * unit;
            let mut index = MinDistanceIndex::default();
            let mut all: Vec<PointNm> = Vec::new();
            for p in points {
                let p = PointNm(p.map(|v| f64::from(v) * unit));
                let free = all.iter().all(|q| q.distance_nm(&p) >= distance);
                prop_assert_eq!(index.add(&p, distance), free);
                if free {
                    all.push(p);
                }
            }
        }
    }

    #[test]
    fn a_point_at_exactly_the_minimum_distance_is_kept() {
        let mut index = MinDistanceIndex::default();
        assert!(index.add(&PointNm([0.0; 3]), 5.0));
        assert!(index.add(&PointNm([3.0, 4.0, 0.0]), 5.0));
        assert!(!index.add(&PointNm([3.0, -3.9, 0.0]), 5.0));
    }

    #[test]
    fn a_million_points_are_thinned_quickly() {
        let n = if cfg!(debug_assertions) {
            100_000u64
        } else {
            1_000_000
        };
        let clock = std::time::Instant::now();
        let mut index = MinDistanceIndex::default();
        let at = |i: u64, k: u32| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> k & 0xffff) as f64;
        let kept = (0..n)
            .filter(|i| index.add(&PointNm([at(*i, 0), at(*i, 16), at(*i, 32)]), 400.0))
            .count();
        println!("{kept} of {n} points kept in {:?}", clock.elapsed());
        assert!(kept > 0);
    }
}

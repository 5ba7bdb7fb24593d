//! The voxels of one object: how many, and where.

use super::runs::Run;
use crate::config::ObjectAnchor;
use crate::geometry::VoxelBox;

/// The voxels of an object in a box.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ObjectVoxels {
    pub count: u64,
    /// Sums of the indices along x, y, z.
    sums: [i128; 3],
    min: [i64; 3],
    max: [i64; 3],
}

/// The voxel of an object that is nearest to a position: its squared distance, and its index along z, y, x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NearestVoxel {
    distance: f64,
    zyx: [i64; 3],
}

impl ObjectVoxels {
    /// The voxels of a run.
    pub fn of(run: &Run) -> Self {
        let (first, last) = (i128::from(run.start[0]), i128::from(run.end_x) - 1);
        let count = (run.end_x - run.start[0]) as u64;
        let [_, y, z] = run.start.map(|v| i128::from(v) * i128::from(count));
        Self {
            count,
            sums: [(first + last) * i128::from(count) / 2, y, z],
            min: run.start,
            max: [run.end_x - 1, run.start[1], run.start[2]],
        }
    }

    /// Adds other voxels of the object.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        for d in 0..3 {
            self.sums[d] += other.sums[d];
            self.min[d] = self.min[d].min(other.min[d]);
            self.max[d] = self.max[d].max(other.max[d]);
        }
    }

    /// The voxel that represents the object; for `inside`, the position to which that voxel is nearest.
    pub fn anchor(&self, anchor: ObjectAnchor) -> [i64; 3] {
        std::array::from_fn(|d| match anchor {
            ObjectAnchor::Centroid | ObjectAnchor::Inside => {
                rounded_quotient(self.sums[d], self.count.into())
            }
            ObjectAnchor::Box => {
                rounded_quotient(i128::from(self.min[d]) + i128::from(self.max[d]), 2)
            }
        })
    }

    /// Whether a voxel is at a face of `part` that is no face of `whole`.
    pub fn is_at_face(&self, part: &VoxelBox, whole: &VoxelBox) -> bool {
        (0..3).any(|d| {
            let first = self.min[d] == part.start[d] && part.start[d] > whole.start[d];
            let last = self.max[d] + 1 == part.end[d] && part.end[d] < whole.end[d];
            first || last
        })
    }
}

impl NearestVoxel {
    /// The voxel of a run that is nearest to the voxel `to`. `nm` is the size of a voxel.
    pub fn of(run: &Run, to: [i64; 3], nm: [f64; 3]) -> Self {
        let [x, y, z] = [
            to[0].clamp(run.start[0], run.end_x - 1),
            run.start[1],
            run.start[2],
        ];
        let squares = [x - to[0], y - to[1], z - to[2]];
        let squares: [f64; 3] = std::array::from_fn(|d| (squares[d] as f64 * nm[d]).powi(2));
        Self {
            distance: squares[0] + squares[1] + squares[2],
            zyx: [z, y, x],
        }
    }

    /// The nearer one of both: the first along z, y, x if they are equally near.
    pub fn or(self, other: Self) -> Self {
        let is_nearer = match other.distance.total_cmp(&self.distance) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => other.zyx < self.zyx,
            std::cmp::Ordering::Greater => false,
        };
        if is_nearer { other } else { self }
    }

    /// The voxel.
    pub fn voxel(&self) -> [i64; 3] {
        let [z, y, x] = self.zyx;
        [x, y, z]
    }
}

/// `sum / count`, rounded half to even as `numpy.round` does.
fn rounded_quotient(sum: i128, count: i128) -> i64 {
    let (whole, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
    let is_up = match (2 * rest).cmp(&count) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    (whole + i128::from(is_up)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: [i64; 3], voxels: i64) -> Run {
        Run {
            object: 1,
            start,
            end_x: start[0] + voxels,
        }
    }

    #[test]
    fn quotients_are_rounded_half_to_even() {
        let rounded = [(5, 2), (7, 2), (-5, 2), (-7, 2), (10, 4), (11, 4), (9, 4)];
        let rounded = rounded.map(|(sum, count)| rounded_quotient(sum, count));
        assert_eq!(rounded, [2, 4, -2, -4, 2, 3, 2]);
    }

    #[test]
    fn voxels_add_up_to_their_mean_and_bounds() {
        let mut voxels = ObjectVoxels::of(&run([-3, 7, 2], 4));
        voxels.add(&ObjectVoxels::of(&run([10, 9, 2], 1)));
        assert_eq!(voxels.count, 5);
        // (-3 - 2 - 1 + 0 + 10) / 5 and (4 * 7 + 9) / 5.
        assert_eq!(voxels.anchor(ObjectAnchor::Centroid), [1, 7, 2]);
        assert_eq!(voxels.anchor(ObjectAnchor::Box), [4, 8, 2]);
        let part = |start: [i64; 3], end: [i64; 3]| VoxelBox { start, end };
        let whole = part([-3, 0, 0], [20, 20, 20]);
        assert!(!voxels.is_at_face(&part([-3, 0, 0], [20, 20, 20]), &whole));
        assert!(voxels.is_at_face(&part([-3, 0, 0], [11, 20, 20]), &whole));
        assert!(voxels.is_at_face(&part([-3, 7, 0], [20, 20, 20]), &whole));
        assert!(!voxels.is_at_face(&part([-3, 6, 0], [20, 20, 20]), &whole));
    }

    #[test]
    fn the_nearest_voxel_is_the_first_one_of_those_that_are_equally_near() {
        let nearest = |run: &Run| NearestVoxel::of(run, [0; 3], [4.0, 4.0, 40.0]);
        assert_eq!(nearest(&run([-5, 1, 0], 3)).voxel(), [-3, 1, 0]);
        assert_eq!(nearest(&run([-5, 1, 0], 9)).voxel(), [0, 1, 0]);
        let (a, b) = (run([0, 2, 0], 1), run([-2, 0, 0], 1));
        for (first, second) in [(&a, &b), (&b, &a)] {
            let both = nearest(first).or(nearest(second));
            assert_eq!(both.voxel(), [-2, 0, 0]);
        }
        let far = nearest(&run([0, 0, 1], 1));
        assert_eq!(far.or(nearest(&a)).voxel(), [0, 2, 0]);
    }
}

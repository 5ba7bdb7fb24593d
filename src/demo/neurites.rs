//! The cells of the demo tissue: neurites as chains of tapered segments, and which of them owns a point.
//!
//! A point belongs to the neurite with the nearest surface (distance to the axis minus the radius), after the point was
//! displaced by smooth noise. So neurites fill the space and have curved borders, as in neuropil.

use super::noise::{Noise, Rng, Vec3, along, dot, length, minus, scaled};

/// Length of a segment of a neurite's axis.
const STEP_NM: f32 = 170.0;
/// A direction with more space than this is not better, nm.
const ENOUGH_ROOM_NM: f32 = 250.0;
/// Distance that neurites grow past the volume, nm.
const MARGIN_NM: f32 = 250.0;
/// Maximum slope of distances between surfaces: 1, plus the taper of a segment.
const STEEPEST: f32 = 1.4;

/// One cell.
pub(super) struct Neurite {
    /// The id in the segmentation.
    pub(super) id: u64,
    /// Difference of the cytoplasm from the average, in grey levels.
    pub(super) shade: f32,
}

/// A piece of a neurite's axis, with a radius that changes linearly along it.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    cell: u8,
    start: Vec3,
    axis: Vec3,
    inverse_square: f32,
    radius: f32,
    taper: f32,
}

impl Segment {
    fn new(cell: u8, start: Vec3, end: Vec3, radius: f32, end_radius: f32) -> Self {
        let axis = minus(end, start);
        Self {
            cell,
            start,
            axis,
            inverse_square: 1.0 / dot(axis, axis).max(1.0),
            radius,
            taper: end_radius - radius,
        }
    }

    /// Distance from `p` to the segment's surface; negative inside.
    #[inline]
    fn distance(&self, p: Vec3) -> f32 {
        self.distance_and_offset(p).0
    }

    /// The distance, and the vector from the axis to `p`.
    #[inline]
    fn distance_and_offset(&self, p: Vec3) -> (f32, Vec3) {
        let q = minus(p, self.start);
        let t = (dot(q, self.axis) * self.inverse_square).clamp(0.0, 1.0);
        let offset = along(q, self.axis, -t);
        (length(offset) - self.radius - self.taper * t, offset)
    }
}

/// The owner of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Owner {
    /// Index of the cell.
    pub(super) cell: u8,
    /// Index of the nearest other cell.
    pub(super) other: u8,
    /// Distance to the border between the two, nm.
    pub(super) depth: f32,
    /// Direction from the cell to the other one; length 1.
    pub(super) normal: Vec3,
}

/// All neurites.
pub(super) struct Neuropil {
    /// The cells, at most 255.
    pub(super) cells: Vec<Neurite>,
    segments: Vec<Segment>,
    coarse: [Noise; 3],
    fine: [Noise; 3],
}

impl Neuropil {
    /// Grows neurites one after the other, each where the most space is left, in a volume of `extent` nm.
    pub(super) fn grow(seed: u64, extent: Vec3, cells: u8) -> Self {
        let mut rng = Rng::new(seed);
        let mut segments = Vec::new();
        let cells = (0..cells)
            .map(|cell| {
                grow_neurite(&mut rng, &mut segments, extent, cell);
                Neurite {
                    id: rng.bits() >> rng.index(24) | 1,
                    shade: 9.0 * (rng.unit() + rng.unit() - 1.0),
                }
            })
            .collect();
        let fields = |n: u64| [0, 1, 2].map(|d| Noise::new(seed ^ (n + d)));
        Self {
            cells,
            segments,
            coarse: fields(0x100),
            fine: fields(0x200),
        }
    }

    /// The position of a point after displacement by noise.
    pub(super) fn warped(&self, p: Vec3) -> Vec3 {
        std::array::from_fn(|d| {
            p[d] + 66.0 * self.coarse[d].at_nm(p, 270.0) + 20.0 * self.fine[d].at_nm(p, 90.0)
        })
    }

    /// The owner of a point before displacement, with the normal before displacement. `None` if the border has no clear
    /// direction.
    pub(super) fn owner_at(&self, p: Vec3) -> Option<Owner> {
        let near = nearby(&self.segments, self.warped(p), 60.0);
        let here = owner(&near, self.warped(p))?;
        // The distance to the border decreases fastest along the normal.
        let inside = |p: Vec3| {
            let there = owner(&near, self.warped(p))?;
            let sign = if there.cell == here.cell { 1.0 } else { -1.0 };
            Some(sign * there.depth)
        };
        let mut slope = [0.0; 3];
        for d in 0..3 {
            let mut step = [0.0; 3];
            step[d] = 14.0;
            slope[d] = inside(along(p, step, -1.0))? - inside(along(p, step, 1.0))?;
        }
        let steepness = length(slope);
        (steepness > 14.0).then(|| Owner {
            normal: scaled(slope, 1.0 / steepness),
            ..here
        })
    }

    /// All segments, to be narrowed by [`nearby`].
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// The candidates that can be the nearest segment, or the nearest segment of another cell, for a point within `radius` of
/// `center` (both after displacement).
pub(super) fn nearby(candidates: &[Segment], center: Vec3, radius: f32) -> Vec<Segment> {
    let distances: Vec<f32> = candidates.iter().map(|s| s.distance(center)).collect();
    let mut first = (f32::INFINITY, u8::MAX);
    let mut second = f32::INFINITY;
    for (segment, &distance) in candidates.iter().zip(&distances) {
        if segment.cell == first.1 {
            first.0 = first.0.min(distance);
        } else if distance < first.0 {
            second = first.0;
            first = (distance, segment.cell);
        } else {
            second = second.min(distance);
        }
    }
    let limit = second + 2.0 * STEEPEST * radius;
    let near = candidates.iter().zip(distances);
    near.filter(|(_, distance)| *distance <= limit)
        .map(|(segment, _)| *segment)
        .collect()
}

/// The owner of a point after displacement among `candidates`. `None` if these belong to fewer than two cells.
pub(super) fn owner(candidates: &[Segment], p: Vec3) -> Option<Owner> {
    let mut first = (f32::INFINITY, [0.0; 3], u8::MAX);
    let mut second = first;
    for segment in candidates {
        let (distance, offset) = segment.distance_and_offset(p);
        if distance < first.0 {
            if segment.cell != first.2 {
                second = first;
            }
            first = (distance, offset, segment.cell);
        } else if segment.cell != first.2 && distance < second.0 {
            second = (distance, offset, segment.cell);
        }
    }
    if second.2 == u8::MAX {
        return None;
    }
    let unit = |offset: Vec3| scaled(offset, 1.0 / length(offset).max(1.0));
    let gradient = minus(unit(first.1), unit(second.1));
    let steepness = length(gradient).max(0.4);
    Some(Owner {
        cell: first.2,
        other: second.2,
        depth: (second.0 - first.0) / steepness,
        normal: scaled(gradient, 1.0 / steepness),
    })
}

/// Grows one neurite in both directions from a free point.
fn grow_neurite(rng: &mut Rng, segments: &mut Vec<Segment>, extent: Vec3, cell: u8) {
    let clearance = |segments: &[Segment], p: Vec3| {
        let near = segments.iter().map(|s| s.distance(p));
        near.fold(1000.0, f32::min)
    };
    let origin = (0..14)
        .map(|_| [0, 1, 2].map(|d| rng.range(-60.0, extent[d] + 60.0)))
        .map(|p| (clearance(segments, p), p))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or([0.0; 3], |(_, p)| p);
    let caliber = match rng.index(10) {
        0..5 => rng.range(25.0, 75.0),
        5..8 => rng.range(75.0, 150.0),
        _ => rng.range(150.0, 260.0),
    };
    let steps = 2 + rng.index(15);
    let others = segments.len();
    let heading = rng.direction();
    for sign in [1.0, -1.0] {
        let mut place = origin;
        let mut direction = scaled(heading, sign);
        let mut radius = caliber;
        for _ in 0..steps {
            // Segments that are too far away to matter are left out.
            let near: Vec<Segment> = segments[..others]
                .iter()
                .filter(|s| s.distance(place) < ENOUGH_ROOM_NM + STEEPEST * 1.3 * STEP_NM)
                .copied()
                .collect();
            let best = (0..6)
                .map(|_| along(direction, rng.in_ball(), 0.75))
                .map(|turn| scaled(turn, 1.0 / length(turn).max(0.1)))
                .map(|turn| {
                    let room = clearance(&near, along(place, turn, 1.3 * STEP_NM));
                    (room.min(ENOUGH_ROOM_NM), turn)
                })
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let Some((room, turn)) = best else { break };
            // A neurite does not cross the axis of another one.
            if room < -40.0 {
                break;
            }
            let next = along(place, turn, STEP_NM);
            let swollen = if rng.index(6) == 0 { 1.7 } else { 1.0 };
            let wanted = (caliber * swollen * rng.range(0.75, 1.3)).min(320.0);
            let limit = 0.35 * STEP_NM;
            let next_radius = radius + (wanted - radius).clamp(-limit, limit);
            segments.push(Segment::new(cell, place, next, radius, next_radius));
            (place, direction, radius) = (next, turn, next_radius);
            if (0..3).any(|d| !(-MARGIN_NM..extent[d] + MARGIN_NM).contains(&place[d])) {
                break;
            }
        }
    }
    if segments.len() == others {
        let end = along(origin, heading, 60.0);
        segments.push(Segment::new(cell, origin, end, caliber, caliber));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_the_candidates_never_changes_the_owner() {
        let neuropil = Neuropil::grow(5, [1500.0, 1500.0, 1000.0], 40);
        let mut rng = Rng::new(1);
        for _ in 0..300 {
            let center = [0, 1, 2].map(|_| rng.range(100.0, 1000.0));
            let near = nearby(neuropil.segments(), center, 90.0);
            let p = along(center, rng.in_ball(), 90.0);
            assert_eq!(owner(&near, p), owner(neuropil.segments(), p));
        }
    }

    #[test]
    fn the_normal_points_to_the_other_cell() {
        let neuropil = Neuropil::grow(5, [1500.0, 1500.0, 1000.0], 40);
        let mut rng = Rng::new(2);
        let (mut hits, mut tries) = (0, 0);
        for _ in 0..3000 {
            let p = [0, 1, 2].map(|_| rng.range(100.0, 1000.0));
            let here = owner(neuropil.segments(), p).unwrap();
            if here.depth < 20.0 {
                tries += 1;
                let there = owner(
                    neuropil.segments(),
                    along(p, here.normal, here.depth + 10.0),
                );
                hits += usize::from(there.unwrap().cell == here.other);
            }
        }
        assert!(tries > 50 && hits * 10 >= tries * 9, "{hits} of {tries}");
    }
}

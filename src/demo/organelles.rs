//! Structures inside the cells of the demo tissue: mitochondria, and synapses with their vesicles.

use super::boxes::boxes;
use super::noise::{Rng, Vec3, along, dot, length, minus};
use super::tissue::Tissue;
use super::volume_shape::SHAPE;

/// Minimum distance between two synapses.
const BETWEEN_SYNAPSES_NM: f32 = 215.0;

/// A mitochondrion: a capsule inside one cell.
pub(super) struct Mitochondrion {
    pub(super) cell: u8,
    pub(super) center: Vec3,
    pub(super) axis: Vec3,
    pub(super) half_length: f32,
    pub(super) radius: f32,
    /// Direction across the cristae.
    pub(super) across: Vec3,
}

impl Mitochondrion {
    /// Distance of a point from the surface; negative inside.
    pub(super) fn distance(&self, p: Vec3) -> f32 {
        let q = minus(p, self.center);
        let t = dot(q, self.axis).clamp(-self.half_length, self.half_length);
        length(along(q, self.axis, -t)) - self.radius
    }

    /// Maximum distance of a part from the center.
    pub(super) fn reach(&self) -> f32 {
        1.2 * self.radius + self.half_length
    }
}

/// A synapse: where the presynaptic cell releases onto the postsynaptic one.
pub(super) struct Synapse {
    pub(super) id: u64,
    /// Index of the presynaptic cell.
    pub(super) pre: u8,
    /// Index of the postsynaptic cell.
    pub(super) post: u8,
    /// A point on the border of the two cells, in the tissue, nm.
    pub(super) center: Vec3,
    /// Direction from pre to post.
    pub(super) normal: Vec3,
    /// Radius of the density, nm.
    pub(super) radius: f32,
    /// The center, the end in the presynaptic cell and the end in the postsynaptic cell, in voxels from the volume's first.
    pub(super) positions: [Vec3; 3],
    /// Centers of the vesicles, in the tissue, nm.
    pub(super) vesicles: Vec<Vec3>,
    pub(super) confidence: f32,
}

impl Synapse {
    /// The center, in voxels from the volume's first one.
    pub(super) fn center_position(&self) -> Vec3 {
        self.positions[0]
    }
}

/// Places mitochondria where cells are thick enough.
pub(super) fn place_mitochondria(tissue: &Tissue, seed: u64, wanted: usize) -> Vec<Mitochondrion> {
    let mut rng = Rng::new(seed ^ 0x3170);
    let mut placed: Vec<Mitochondrion> = Vec::new();
    for _ in 0..60_000 {
        if placed.len() == wanted {
            break;
        }
        let voxel = [0, 1, 2].map(|d| rng.index(SHAPE[d]));
        let center = tissue.place(voxel);
        let Some(index) = tissue.index_at(center) else {
            continue;
        };
        let depth = tissue.depth(index);
        let cell = tissue.owner(index);
        if depth < 75.0 {
            continue;
        }
        let radius = (depth * rng.range(0.6, 0.85)).min(rng.range(75.0, 140.0));
        let half_length = radius * rng.range(0.7, 3.2);
        let axis = roomiest_direction(tissue, &mut rng, cell, center, half_length);
        let mut same_cell = placed.iter().filter(|other| other.cell == cell);
        let free = same_cell.all(|other| {
            length(minus(other.center, center)) > 150.0 + other.half_length + half_length
        });
        if free {
            placed.push(Mitochondrion {
                cell,
                center,
                axis,
                half_length,
                radius,
                across: rng.direction(),
            });
        }
    }
    placed
}

/// The one of some random directions that stays deepest inside the cell.
fn roomiest_direction(tissue: &Tissue, rng: &mut Rng, cell: u8, center: Vec3, reach: f32) -> Vec3 {
    let room = |direction: Vec3| -> f32 {
        let places = (-3..=3).map(|i| along(center, direction, reach * i as f32 / 3.0));
        let depths = places.map(|p| match tissue.index_at(p) {
            Some(i) if tissue.owner(i) == cell => tissue.depth(i).min(90.0),
            _ => 0.0,
        });
        depths.sum()
    };
    let directions = (0..14).map(|_| rng.direction());
    directions
        .max_by(|a, b| room(*a).total_cmp(&room(*b)))
        .unwrap_or([1.0, 0.0, 0.0])
}

/// Places `inside` synapses in the boxes that may have some, and `outside` ones elsewhere.
pub(super) fn place_synapses(
    tissue: &Tissue,
    mitochondria: &[Mitochondrion],
    seed: u64,
    inside: usize,
    outside: usize,
) -> Vec<Synapse> {
    let mut rng = Rng::new(seed ^ 0x5a9e);
    let mut placed: Vec<Synapse> = Vec::new();
    let boxes = boxes();
    let mut missing = [outside, inside];
    for _ in 0..2_000_000 {
        if missing == [0, 0] {
            break;
        }
        let voxel = [0, 1, 2].map(|d| rng.index(SHAPE[d]));
        let Some(synapse) = synapse_at(tissue, mitochondria, &mut rng, &placed, voxel) else {
            continue;
        };
        let position = synapse.center_position();
        let mut around = boxes.iter().filter(|b| b.contains(position)).peekable();
        let count = &mut missing[usize::from(around.peek().is_some())];
        if *count > 0 && !around.any(|b| b.is_empty) {
            *count -= 1;
            placed.push(synapse);
        }
    }
    placed
}

/// A contact of two cells with space for a synapse.
struct Contact {
    /// Index of the presynaptic cell.
    pre: u8,
    /// Index of the postsynaptic cell.
    post: u8,
    /// Direction from pre to post.
    normal: Vec3,
}

impl Contact {
    /// The contact at `center`, if it is suitable.
    fn find(tissue: &Tissue, center: Vec3) -> Option<Self> {
        let here = tissue.neuropil.owner_at(center)?;
        // The section cuts the contact nearly at a right angle.
        if here.normal[2].abs() > 0.4 {
            return None;
        }
        // The presynaptic side is the thicker one, because vesicles need space.
        let depth_in = |cell: u8, distance: f32| {
            let index = tissue.index_at(along(center, here.normal, distance))?;
            (tissue.cell(index) == Some(cell)).then(|| tissue.depth(index))
        };
        let room_here = depth_in(here.cell, -130.0).unwrap_or(0.0);
        let room_there = depth_in(here.other, 130.0).unwrap_or(0.0);
        if room_here.max(room_there) < 30.0 {
            return None;
        }
        let (pre, post, sign) = if room_here >= room_there {
            (here.cell, here.other, 1.0)
        } else {
            (here.other, here.cell, -1.0)
        };
        Some(Self {
            pre,
            post,
            normal: here.normal.map(|v| v * sign),
        })
    }

    /// Positions of `center`, of an end in the presynaptic cell and of an end in the postsynaptic cell. Both ends have the
    /// same distance, so that the midpoint of the line is the center.
    fn positions(&self, tissue: &Tissue, center: Vec3) -> Option<[Vec3; 3]> {
        let end_in = |cell: u8, distance: f32| {
            let place = along(center, self.normal, distance);
            let index = tissue.index_at(place)?;
            (tissue.cell(index) == Some(cell)).then_some(place)
        };
        let distances = [60.0, 50.0, 70.0, 40.0, 32.0, 26.0];
        let mut ends = distances
            .into_iter()
            .filter_map(|distance| end_in(self.pre, -distance).zip(end_in(self.post, distance)));
        let (pre_end, post_end) = ends.next()?;
        let mut positions = [[0.0; 3]; 3];
        for (position, place) in positions.iter_mut().zip([center, pre_end, post_end]) {
            *position = tissue.position(place)?;
        }
        Some(positions)
    }
}

/// The synapse at a voxel, if there is a suitable contact of two cells.
fn synapse_at(
    tissue: &Tissue,
    mitochondria: &[Mitochondrion],
    rng: &mut Rng,
    placed: &[Synapse],
    voxel: [usize; 3],
) -> Option<Synapse> {
    let voxel_center = tissue.place(voxel);
    if tissue.depth(tissue.index_at(voxel_center)?) > 7.0 {
        return None;
    }
    let is_apart = |s: &Synapse| length(minus(s.center, voxel_center)) >= BETWEEN_SYNAPSES_NM;
    if !placed.iter().all(is_apart) {
        return None;
    }
    let contact = Contact::find(tissue, voxel_center)?;
    // Anchors are not at centers of voxels.
    let offset = [
        rng.range(-3.0, 3.0),
        rng.range(-3.0, 3.0),
        rng.range(-12.0, 12.0),
    ];
    let center = along(voxel_center, offset, 1.0);
    let positions = contact.positions(tissue, center)?;
    let is_blocked = |p: Vec3, room: f32| mitochondria.iter().any(|m| m.distance(p) < room);
    if is_blocked(along(center, contact.normal, -60.0), 70.0) {
        return None;
    }
    let mut synapse = Synapse {
        id: rng.bits() >> rng.index(20) | 1,
        pre: contact.pre,
        post: contact.post,
        center,
        normal: contact.normal,
        radius: rng.range(75.0, 165.0),
        positions,
        vesicles: Vec::new(),
        confidence: (rng.range(0.55, 1.0) * 1000.0).round() / 1000.0,
    };
    fill_with_vesicles(tissue, rng, &mut synapse, |p| is_blocked(p, 24.0));
    Some(synapse)
}

/// Adds a cloud of vesicles behind the active zone that do not touch each other.
fn fill_with_vesicles(
    tissue: &Tissue,
    rng: &mut Rng,
    synapse: &mut Synapse,
    blocked: impl Fn(Vec3) -> bool,
) {
    let wanted = 45 + rng.index(75);
    for _ in 0..1200 {
        if synapse.vesicles.len() == wanted {
            return;
        }
        let spread = along([0.0; 3], rng.in_ball(), rng.range(60.0, 250.0));
        let p = along(along(synapse.center, synapse.normal, -110.0), spread, 1.0);
        let Some(index) = tissue.index_at(p) else {
            continue;
        };
        let inside = tissue.owner(index) == synapse.pre && tissue.depth(index) > 28.0;
        let apart = |other: &Vec3| length(minus(*other, p)) > 41.0;
        if inside && synapse.vesicles.iter().all(apart) && !blocked(p) {
            synapse.vesicles.push(p);
        }
    }
}

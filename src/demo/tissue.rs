//! The demo tissue on its voxel grid: the cell of each voxel, the depth of the voxel in the cell, and how dark the membrane
//! makes it.

use rayon::prelude::*;

use super::neurites::{Neuropil, Segment, nearby, owner};
use super::noise::{Rng, Vec3, bump, length, minus};
use super::volume_shape::{RESOLUTION_NM, SHAPE};

/// Voxels of a section.
pub(super) const SECTION: usize = SHAPE[0] * SHAPE[1];
/// Voxels of the volume.
pub(super) const VOXELS: usize = SECTION * SHAPE[2];
/// Size of a voxel in nm.
pub(super) const VOXEL_NM: Vec3 = [
    RESOLUTION_NM[0] as f32,
    RESOLUTION_NM[1] as f32,
    RESOLUTION_NM[2] as f32,
];
/// Voxels closer than this to the border of their cell are membrane, which belongs to no cell in the segmentation, nm.
const MEMBRANE_NM: u8 = 6;
/// Half the width of the dark line where a membrane is cut at a right angle, nm.
const LINE_NM: f32 = 13.0;

/// The voxels of the tissue, arrays in the order z, y, x.
pub(super) struct Tissue {
    /// The cells.
    pub(super) neuropil: Neuropil,
    owner: Vec<u8>,
    depth: Vec<u8>,
    membrane: Vec<u8>,
    /// The displacement of every section, nm.
    shifts: Vec<[f32; 2]>,
}

impl Tissue {
    /// Grows cells and finds the owner of every voxel.
    pub(super) fn grow(seed: u64, cells: u8) -> Self {
        let extent = [0, 1, 2].map(|d| SHAPE[d] as f32 * VOXEL_NM[d]);
        let neuropil = Neuropil::grow(seed, extent, cells);
        let shifts = section_shifts(seed);
        let mut owner = vec![0; VOXELS];
        let mut depth = vec![0; VOXELS];
        let mut membrane = vec![0; VOXELS];
        owner
            .par_chunks_mut(SECTION)
            .zip(depth.par_chunks_mut(SECTION))
            .zip(membrane.par_chunks_mut(SECTION))
            .zip(&shifts)
            .enumerate()
            .for_each(|(z, (((owner, depth), membrane), shift))| {
                let places = (0..SECTION).map(|i| place([i % SHAPE[0], i / SHAPE[0], z], *shift));
                let mut section = Section {
                    neuropil: &neuropil,
                    warped: places.map(|p| neuropil.warped(p)).collect(),
                    owner,
                    depth,
                    membrane,
                };
                section.fill();
            });
        Self {
            neuropil,
            owner,
            depth,
            membrane,
            shifts,
        }
    }

    /// Index of the cell that owns the voxel at `index`.
    pub(super) fn owner(&self, index: usize) -> u8 {
        self.owner[index]
    }

    /// The cell of the voxel at `index`; `None` if it is membrane.
    pub(super) fn cell(&self, index: usize) -> Option<u8> {
        (self.depth[index] >= MEMBRANE_NM).then_some(self.owner[index])
    }

    /// Distance to the border of the cell, nm, at most 255.
    pub(super) fn depth(&self, index: usize) -> f32 {
        f32::from(self.depth[index])
    }

    /// How much of the voxel's section is membrane, 0 to 1.
    pub(super) fn membrane(&self, index: usize) -> f32 {
        f32::from(self.membrane[index]) / 255.0
    }

    /// The center of a voxel in the tissue, before sections were displaced, nm.
    pub(super) fn place(&self, voxel: [usize; 3]) -> Vec3 {
        place(voxel, self.shifts[voxel[2]])
    }

    /// The position of a point in the tissue, in voxels from the volume's first one. `None` if it is outside.
    pub(super) fn position(&self, place: Vec3) -> Option<Vec3> {
        let z = place[2] / VOXEL_NM[2];
        let shift = self.shifts.get(usize::try_from(z.floor() as i64).ok()?)?;
        let position = [
            (place[0] - shift[0]) / VOXEL_NM[0],
            (place[1] - shift[1]) / VOXEL_NM[1],
            z,
        ];
        (0..3)
            .all(|d| (0.0..SHAPE[d] as f32).contains(&position[d]))
            .then_some(position)
    }

    /// Index of the voxel at a point in the tissue. `None` if it is outside the volume.
    pub(super) fn index_at(&self, place: Vec3) -> Option<usize> {
        self.position(place).map(index_of)
    }

    /// Calls `visit(index, place)` for the voxels of section `z` within `radius` nm of `center` in the section's plane.
    pub(super) fn disc(
        &self,
        z: usize,
        center: Vec3,
        radius: f32,
        mut visit: impl FnMut(usize, Vec3),
    ) {
        let shift = self.shifts[z];
        let span = |d: usize| {
            let middle = (center[d] - shift[d]) / VOXEL_NM[d];
            let reach = radius / VOXEL_NM[d];
            let first = (middle - reach).floor().max(0.0) as usize;
            first..((middle + reach).ceil().max(0.0) as usize).min(SHAPE[d])
        };
        for y in span(1) {
            for x in span(0) {
                let p = place([x, y, z], shift);
                let (dx, dy) = (p[0] - center[0], p[1] - center[1]);
                if dx * dx + dy * dy <= radius * radius {
                    visit((z * SHAPE[1] + y) * SHAPE[0] + x, p);
                }
            }
        }
    }

    /// The sections whose middle is within `radius` nm of `center`.
    pub(super) fn sections(center: Vec3, radius: f32) -> std::ops::Range<usize> {
        let edge = |z: f32| (z / VOXEL_NM[2] - 0.5).ceil().max(0.0) as usize;
        edge(center[2] - radius)..edge(center[2] + radius).min(SHAPE[2])
    }
}

/// Index of the voxel that contains `position`, which is inside the volume.
pub(super) fn index_of(position: Vec3) -> usize {
    let [x, y, z] = position.map(|v| v as usize);
    (z * SHAPE[1] + y) * SHAPE[0] + x
}

fn place(voxel: [usize; 3], shift: [f32; 2]) -> Vec3 {
    [
        (voxel[0] as f32 + 0.5) * VOXEL_NM[0] + shift[0],
        (voxel[1] as f32 + 0.5) * VOXEL_NM[1] + shift[1],
        (voxel[2] as f32 + 0.5) * VOXEL_NM[2],
    ]
}

/// A little jitter in every section and one jump, as in poorly aligned volumes.
fn section_shifts(seed: u64) -> Vec<[f32; 2]> {
    let mut rng = Rng::new(seed ^ 0x5ec7);
    (0..SHAPE[2])
        .map(|z| {
            let jump = if z > SHAPE[2] * 2 / 3 { 1.0 } else { 0.0 };
            [14.0, -9.0].map(|far| far * jump + rng.range(-3.5, 3.5))
        })
        .collect()
}

/// The arrays of one section while they are filled.
struct Section<'a> {
    neuropil: &'a Neuropil,
    /// The position of every voxel after displacement by noise.
    warped: Vec<Vec3>,
    owner: &'a mut [u8],
    depth: &'a mut [u8],
    membrane: &'a mut [u8],
}

impl Section<'_> {
    /// Fills the section tile by tile.
    fn fill(&mut self) {
        let all = self.neuropil.segments();
        self.fill_tiles(all, [0, SHAPE[0]], [0, SHAPE[1]], &[64, 16, 8]);
    }

    /// Fills a tile through smaller and smaller tiles, each with fewer candidate segments.
    fn fill_tiles(&mut self, among: &[Segment], x: [usize; 2], y: [usize; 2], edges: &[usize]) {
        let Some((edge, smaller)) = edges.split_first() else {
            for y in y[0]..y[1] {
                for x in x[0]..x[1] {
                    self.fill_voxel(among, y * SHAPE[0] + x);
                }
            }
            return;
        };
        for (x, y) in tiles(x, y, *edge) {
            let near = self.candidates(among, x, y);
            self.fill_tiles(&near, x, y, smaller);
        }
    }

    fn candidates(&self, among: &[Segment], x: [usize; 2], y: [usize; 2]) -> Vec<Segment> {
        let middle = self.warped[y[0].midpoint(y[1]) * SHAPE[0] + x[0].midpoint(x[1])];
        let rows = (y[0]..y[1]).map(|y| &self.warped[y * SHAPE[0]..][x[0]..x[1]]);
        let radius = rows
            .flatten()
            .map(|p| length(minus(*p, middle)))
            .fold(0.0, f32::max);
        nearby(among, middle, radius)
    }

    fn fill_voxel(&mut self, candidates: &[Segment], i: usize) {
        let Some(here) = owner(candidates, self.warped[i]) else {
            return;
        };
        self.owner[i] = here.cell;
        self.depth[i] = here.depth.min(255.0) as u8;
        // A section is a slab: an oblique membrane covers more voxels and is paler.
        let width = LINE_NM + 0.42 * VOXEL_NM[2] * here.normal[2].abs();
        let paleness = (LINE_NM / width).sqrt();
        self.membrane[i] = (255.0 * paleness * bump(here.depth / width)) as u8;
    }
}

/// The tiles of `edge` voxels that cover the ranges `x` and `y`.
fn tiles(
    x: [usize; 2],
    y: [usize; 2],
    edge: usize,
) -> impl Iterator<Item = ([usize; 2], [usize; 2])> {
    let cut = move |[from, to]: [usize; 2]| {
        (from..to)
            .step_by(edge)
            .map(move |start| [start, (start + edge).min(to)])
    };
    cut(y).flat_map(move |y| cut(x).map(move |x| (x, y)))
}

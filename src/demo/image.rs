//! The demo's image: the tissue as in an electron micrograph, section by section.

use rayon::prelude::*;

use super::noise::{Noise, Rng, along, bump, dot, grain, length, minus, smooth_step};
use super::organelles::{Mitochondrion, Synapse};
use super::tissue::{SECTION, Tissue, VOXEL_NM, VOXELS};
use super::volume_shape::SHAPE;

/// Vesicles are spheres of this radius, nm.
const VESICLE_NM: f32 = 20.0;
/// Structures closer than this to the middle of a section are fully visible, nm, because a section is a slab.
const SLAB_NM: f32 = 16.0;

/// What is painted.
pub(super) struct Scene<'a> {
    pub(super) tissue: &'a Tissue,
    pub(super) mitochondria: &'a [Mitochondrion],
    pub(super) synapses: &'a [Synapse],
    pub(super) seed: u64,
}

/// The voxels of the image, z, y, x.
pub(super) fn paint(scene: &Scene<'_>) -> Vec<u8> {
    let painter = Painter {
        scene,
        texture: Noise::new(scene.seed ^ 0xca11),
        offset: Noise::new(scene.seed ^ 0x0ff5),
    };
    let mut image = vec![0; VOXELS];
    let sections = image.par_chunks_mut(SECTION).enumerate();
    sections.for_each(|(z, section)| painter.paint_section(z, section));
    image
}

struct Painter<'a> {
    scene: &'a Scene<'a>,
    texture: Noise,
    offset: Noise,
}

impl Painter<'_> {
    fn paint_section(&self, z: usize, section: &mut [u8]) {
        let mut grey = vec![0.0; SECTION];
        self.paint_cytoplasm(z, &mut grey);
        for mitochondrion in self.scene.mitochondria {
            self.paint_mitochondrion(z, &mut grey, mitochondrion);
        }
        self.paint_membranes(z, &mut grey);
        for synapse in self.scene.synapses {
            self.paint_vesicles(z, &mut grey, synapse);
            self.paint_density(z, &mut grey, synapse);
        }
        self.expose(z, &grey, section);
    }

    fn paint_cytoplasm(&self, z: usize, grey: &mut [f32]) {
        let tissue = self.scene.tissue;
        for y in 0..SHAPE[1] {
            for x in 0..SHAPE[0] {
                let p = tissue.place([x, y, z]);
                let i = y * SHAPE[0] + x;
                let cell = &tissue.neuropil.cells[usize::from(tissue.owner(z * SECTION + i))];
                // Granules: ribosomes, filaments cut across.
                let mut granules = smooth_step(0.30, 0.75, self.texture.at_nm(p, 21.0));
                if granules > 0.0 {
                    granules *= smooth_step(-0.5, 0.5, self.offset.at_nm(p, 230.0));
                }
                // Reticulum: a thin winding sheet where smooth noise is near 0.
                let sheet = self.offset.at_nm(p, 62.0);
                let mut reticulum = bump(sheet / 0.13);
                if reticulum > 0.0 {
                    reticulum *= smooth_step(0.05, 0.4, self.texture.at_nm(p, 240.0))
                        * smooth_step(20.0, 45.0, tissue.depth(z * SECTION + i));
                }
                grey[i] = 170.0 + cell.shade + 9.0 * sheet + 11.0 * self.texture.at_nm(p, 36.0)
                    - 42.0 * granules
                    - 58.0 * reticulum;
            }
        }
    }

    fn paint_membranes(&self, z: usize, grey: &mut [f32]) {
        let tissue = self.scene.tissue;
        for y in 0..SHAPE[1] {
            for x in 0..SHAPE[0] {
                let i = y * SHAPE[0] + x;
                let membrane = tissue.membrane(z * SECTION + i);
                if membrane > 0.0 {
                    let stain = 0.9 + 0.22 * self.offset.at_nm(tissue.place([x, y, z]), 75.0);
                    darken(&mut grey[i], 60.0, membrane * stain);
                }
            }
        }
    }

    fn paint_mitochondrion(&self, z: usize, grey: &mut [f32], one: &Mitochondrion) {
        if !Tissue::sections(one.center, one.reach()).contains(&z) {
            return;
        }
        let tissue = self.scene.tissue;
        tissue.disc(z, one.center, one.reach(), |index, p| {
            if tissue.owner(index) != one.cell || tissue.depth(index) < 22.0 {
                return;
            }
            let uneven = 0.16 * one.radius * self.offset.at_nm(p, 130.0);
            let distance = one.distance(p) + uneven;
            let pixel = &mut grey[index % SECTION];
            if distance < 0.0 {
                darken(pixel, 116.0, 0.9 * smooth_step(0.0, -12.0, distance));
                let bent =
                    dot(minus(p, one.center), one.across) + 30.0 * self.offset.at_nm(p, 150.0);
                let phase = (bent / 44.0 - (bent / 44.0).floor() - 0.5).abs() * 2.0;
                // A crista is visible where it is cut at a right angle.
                let seen = (1.0 - one.across[2].abs()).max(0.35)
                    * smooth_step(-0.45, 0.1, self.texture.at_nm(p, 80.0));
                darken(pixel, 62.0, 0.85 * seen * smooth_step(0.5, 0.1, phase));
            }
            darken(pixel, 70.0, 0.9 * bump(distance / 13.0));
        });
    }

    fn paint_vesicles(&self, z: usize, grey: &mut [f32], synapse: &Synapse) {
        let tissue = self.scene.tissue;
        for vesicle in &synapse.vesicles {
            let far = off_section(z, vesicle[2]);
            if far >= VESICLE_NM {
                continue;
            }
            let radius = (VESICLE_NM * VESICLE_NM - far * far).sqrt();
            tissue.disc(z, *vesicle, radius + 8.0, |index, p| {
                if tissue.owner(index) != synapse.pre {
                    return;
                }
                let (dx, dy) = (p[0] - vesicle[0], p[1] - vesicle[1]);
                let from_wall = (dx * dx + dy * dy).sqrt() - (radius - 4.0);
                let pixel = &mut grey[index % SECTION];
                if from_wall < 0.0 {
                    *pixel += 14.0 * smooth_step(0.0, -10.0, from_wall);
                }
                darken(pixel, 78.0, 0.85 * bump(from_wall / 9.5));
            });
        }
    }

    /// The T-bar on the presynaptic side and the density on the postsynaptic side.
    fn paint_density(&self, z: usize, grey: &mut [f32], synapse: &Synapse) {
        let tissue = self.scene.tissue;
        let reach = synapse.radius + 70.0;
        if !Tissue::sections(synapse.center, reach).contains(&z) {
            return;
        }
        let far = off_section(z, synapse.center[2]);
        tissue.disc(z, synapse.center, reach, |index, p| {
            let mut q = minus(p, synapse.center);
            q[2] = far * q[2].signum();
            let lateral = length(along(q, synapse.normal, -dot(q, synapse.normal)));
            let depth = tissue.depth(index);
            let behind = tissue.owner(index) == synapse.pre;
            // Only the contact itself, not the far side of a thin cell or voxels around a corner.
            let ahead = dot(q, synapse.normal) * if behind { -1.0 } else { 1.0 };
            let contact = smooth_step(42.0, 26.0, (ahead - depth).abs());
            let within = contact * smooth_step(synapse.radius, 0.7 * synapse.radius, lateral);
            let stain = if !behind {
                within * smooth_step(34.0, 14.0, depth)
            } else {
                let membrane = 0.8 * within * smooth_step(16.0, 7.0, depth);
                let pedestal = smooth_step(24.0, 13.0, lateral) * smooth_step(62.0, 48.0, depth);
                let platform = smooth_step(62.0, 46.0, lateral) * bump((depth - 52.0) / 19.0);
                membrane.max(contact * pedestal).max(contact * platform)
            };
            let patchy = 0.92 + 0.12 * self.texture.at_nm(p, 30.0);
            darken(&mut grey[index % SECTION], 40.0, stain * patchy);
        });
    }

    /// Grey levels as a camera records them: blur, grain, and the brightness of the section.
    fn expose(&self, z: usize, grey: &[f32], section: &mut [u8]) {
        let [width, height] = [SHAPE[0], SHAPE[1]];
        let mut rng = Rng::new(self.scene.seed ^ 0xb4e5 ^ (z as u64) << 20);
        let gain = rng.range(1.10, 1.24);
        // Some sections are thicker and darker.
        let offset = rng.range(-5.0, 5.0) - if z % 23 == 17 { 13.0 } else { 0.0 };
        let seed = self.scene.seed ^ 0x9a17;
        let shot = |i: usize| 15.0 * grain(seed, (z * SECTION + i) as u64);
        let noisy: Vec<f32> = (0..SECTION).map(|i| grey[i] + shot(i)).collect();
        for y in 0..height {
            let rows = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
            for x in 0..width {
                let columns = [x.saturating_sub(1), x, (x + 1).min(width - 1)];
                let weight = [0.22, 0.56, 0.22];
                let mut sum = 0.0;
                for (row, wy) in rows.iter().zip(weight) {
                    for (column, wx) in columns.iter().zip(weight) {
                        sum += wy * wx * noisy[row * width + column];
                    }
                }
                let i = y * width + x;
                let shading = 6.0
                    * self
                        .offset
                        .at_nm([x as f32, y as f32, z as f32 * 90.0], 170.0);
                let camera = 3.0 * grain(seed ^ 1, (z * SECTION + i) as u64);
                let value = 128.0 + (sum - 128.0) * gain + offset + shading + camera;
                section[i] = value.clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Distance of `z` nm from the slab of section `section`, nm.
fn off_section(section: usize, z: f32) -> f32 {
    let middle = (section as f32 + 0.5) * VOXEL_NM[2];
    ((z - middle).abs() - SLAB_NM).max(0.0)
}

/// Moves a grey level towards the darker `target`.
fn darken(grey: &mut f32, target: f32, amount: f32) {
    if *grey > target {
        *grey += (target - *grey) * amount.clamp(0.0, 1.0);
    }
}

/// Half the resolution in x and y: the mean of four voxels. Shape of the result, and its voxels.
pub(super) fn halved(image: &[u8]) -> ([usize; 3], Vec<u8>) {
    let shape = [SHAPE[0] / 2, SHAPE[1] / 2, SHAPE[2]];
    let mut half = vec![0; shape.iter().product()];
    for (i, mean) in half.iter_mut().enumerate() {
        let (x, y, z) = (
            i % shape[0],
            i / shape[0] % shape[1],
            i / (shape[0] * shape[1]),
        );
        let first = (z * SHAPE[1] + 2 * y) * SHAPE[0] + 2 * x;
        let four = [first, first + 1, first + SHAPE[0], first + SHAPE[0] + 1];
        let sum: u32 = four.iter().map(|v| u32::from(image[*v])).sum();
        *mean = ((sum + 2) / 4) as u8;
    }
    (shape, half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_middle_of_a_section_is_not_off_it() {
        assert_eq!(off_section(2, 100.0), 0.0);
        assert_eq!(off_section(0, 60.0), 24.0);
    }

    #[test]
    fn half_the_resolution_is_the_rounded_mean_of_four() {
        let mut image = vec![10; VOXELS];
        image[0] = 12;
        image[SHAPE[0] + 1] = 12;
        let (shape, half) = halved(&image);
        assert_eq!(half.len(), shape.iter().product::<usize>());
        assert_eq!((half[0], half[1]), (11, 10));
    }
}

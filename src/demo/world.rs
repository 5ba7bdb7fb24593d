//! The demo's world: everything that is written, in memory.

use std::path::Path;

use rayon::prelude::*;

use super::annotations::{self, Annotation};
use super::boxes::in_world;
use super::noise::{along, dot, length, minus};
use super::organelles::{self, Synapse};
use super::precomputed::{DataType, Encoding, Scale, Volume};
use super::tissue::{self, Tissue, VOXELS};
use super::{DemoError, image};

const SEED: u64 = 0x706f_696e_7473;
const CELLS: u8 = 245;
const MITOCHONDRIA: usize = 85;
const SYNAPSES_IN_BOXES: usize = 60;
const SYNAPSES_OUTSIDE: usize = 12;
/// Maximum distance of labels from their synapse, nm.
const LABEL_NM: f32 = 220.0;

/// How far the density of a synapse extends from the border of the cells into the postsynaptic one, nm. In the presynaptic one,
/// it is the membrane.
const DENSITY_NM: f32 = 32.0;

/// Everything that is written, in memory.
pub(super) struct World {
    pub(super) tissue: Tissue,
    pub(super) synapses: Vec<Synapse>,
    pub(super) image: Vec<u8>,
    /// Bit 0: `label0`; bit 1: `label1`.
    pub(super) labels: Vec<u8>,
    /// The synapse whose density a voxel belongs to: its position and 1; 0 for none.
    densities: Vec<u8>,
}

impl World {
    /// Grows the tissue and paints its image.
    pub(super) fn make() -> Self {
        let tissue = Tissue::grow(SEED, CELLS);
        let mitochondria = organelles::place_mitochondria(&tissue, SEED, MITOCHONDRIA);
        let synapses = organelles::place_synapses(
            &tissue,
            &mitochondria,
            SEED,
            SYNAPSES_IN_BOXES,
            SYNAPSES_OUTSIDE,
        );
        let image = image::paint(&image::Scene {
            tissue: &tissue,
            mitochondria: &mitochondria,
            synapses: &synapses,
            seed: SEED,
        });
        let labels = labels(&tissue, &synapses);
        let densities = densities(&tissue, &synapses);
        Self {
            tissue,
            synapses,
            image,
            labels,
            densities,
        }
    }

    /// The id of the synapse whose density a voxel belongs to; 0 for none.
    pub(super) fn density(&self, index: usize) -> u64 {
        let synapse = usize::from(self.densities[index]).checked_sub(1);
        synapse.map_or(0, |s| self.synapses[s].id)
    }

    /// The id of a voxel in the segmentation.
    pub(super) fn segment(&self, index: usize) -> u64 {
        let cell = self.tissue.cell(index);
        cell.map_or(0, |c| self.tissue.neuropil.cells[usize::from(c)].id)
    }

    /// Number of cells in the segmentation.
    pub(super) fn visible_cells(&self) -> usize {
        let mut seen = [false; 256];
        for index in 0..VOXELS {
            if let Some(cell) = self.tissue.cell(index) {
                seen[usize::from(cell)] = true;
            }
        }
        seen.iter().filter(|s| **s).count()
    }

    /// Writes the layers of voxels into folders below `dir`.
    pub(super) fn write_volumes(&self, dir: &Path) -> Result<(), DemoError> {
        let (half_shape, half) = image::halved(&self.image);
        let image = |index: usize| u64::from(self.image[index]);
        let half = |index: usize| u64::from(half[index]);
        Volume {
            kind: "image",
            data_type: DataType::Uint8,
            encoding: Encoding::RawGzip,
            chunk: [64, 64, 16],
            scales: vec![
                Scale::full(&image),
                Scale {
                    factor: [2, 2, 1],
                    shape: half_shape,
                    value: &half,
                },
            ],
        }
        .write(&dir.join("img"))?;
        for (bit, name) in ["label0", "label1"].into_iter().enumerate() {
            let label = |index: usize| u64::from(self.labels[index] >> bit & 1);
            Volume {
                kind: "segmentation",
                data_type: DataType::Uint8,
                encoding: Encoding::RawGzip,
                chunk: [96, 96, 16],
                scales: vec![Scale::full(&label)],
            }
            .write(&dir.join(name))?;
        }
        let segment = |index: usize| self.segment(index);
        let density = |index: usize| self.density(index);
        let of_ids: [(&str, &(dyn Fn(usize) -> u64 + Sync)); 2] =
            [("seg", &segment), ("synseg", &density)];
        for (name, id) in of_ids {
            Volume {
                kind: "segmentation",
                data_type: DataType::Uint64,
                encoding: Encoding::CompressedSegmentation,
                chunk: [128, 128, 32],
                scales: vec![Scale::full(id)],
            }
            .write(&dir.join(name))?;
        }
        Ok(())
    }

    /// Writes `points` and `lines` below `dir`.
    pub(super) fn write_annotations(&self, dir: &Path) -> Result<(), DemoError> {
        let annotations = |of: fn(&Synapse) -> Vec<[f32; 3]>| -> Vec<Annotation> {
            let synapses = self.synapses.iter();
            synapses.map(|s| annotation(s, of(s))).collect()
        };
        let points = annotations(|s| vec![in_world(s.positions[0])]);
        annotations::write_layer(&dir.join("points"), "POINT", &points)?;
        let lines = annotations(|s| vec![in_world(s.positions[1]), in_world(s.positions[2])]);
        annotations::write_layer(&dir.join("lines"), "LINE", &lines)
    }
}

/// For every voxel near a synapse: bit 0 if the presynaptic cell owns it, bit 1 if the postsynaptic one.
fn labels(tissue: &Tissue, synapses: &[Synapse]) -> Vec<u8> {
    let mut labels = vec![0; VOXELS];
    let sections = labels.par_chunks_mut(tissue::SECTION).enumerate();
    sections.for_each(|(z, section)| {
        let near = |s: &&Synapse| Tissue::sections(s.center, LABEL_NM).contains(&z);
        for synapse in synapses.iter().filter(near) {
            tissue.disc(z, synapse.center, LABEL_NM, |index, p| {
                if length(minus(p, synapse.center)) > LABEL_NM {
                    return;
                }
                let cell = tissue.cell(index);
                let label = &mut section[index % tissue::SECTION];
                *label |= u8::from(cell == Some(synapse.pre));
                *label |= u8::from(cell == Some(synapse.post)) << 1;
            });
        }
    });
    labels
}

/// For every voxel the synapse whose density it belongs to: its position and 1; 0 for none. Where two meet, the first one.
fn densities(tissue: &Tissue, synapses: &[Synapse]) -> Vec<u8> {
    let mut densities = vec![0; VOXELS];
    let sections = densities.par_chunks_mut(tissue::SECTION).enumerate();
    sections.for_each(|(z, section)| {
        for (synapse, number) in synapses.iter().zip(1..) {
            let reach = synapse.radius + DENSITY_NM;
            if !Tissue::sections(synapse.center, reach).contains(&z) {
                continue;
            }
            tissue.disc(z, synapse.center, reach, |index, p| {
                let from_center = minus(p, synapse.center);
                let ahead = dot(from_center, synapse.normal);
                let lateral = length(along(from_center, synapse.normal, -ahead));
                let is_near = lateral <= synapse.radius && ahead.abs() <= 2.0 * DENSITY_NM;
                let is_density = match tissue.cell(index) {
                    None => [synapse.pre, synapse.post].contains(&tissue.owner(index)),
                    Some(cell) => cell == synapse.post && tissue.depth(index) <= DENSITY_NM,
                };
                let density = &mut section[index % tissue::SECTION];
                if is_near && is_density && *density == 0 {
                    *density = number;
                }
            });
        }
    });
    densities
}

fn annotation(synapse: &Synapse, positions: Vec<[f32; 3]>) -> Annotation {
    let kind = match synapse.radius {
        ..105.0 => 0,
        105.0..135.0 => 1,
        _ => 2,
    };
    let thickness_nm = 24.0;
    let volume_nm3 = std::f32::consts::PI * synapse.radius * synapse.radius * thickness_nm;
    Annotation {
        id: synapse.id,
        positions,
        confidence: synapse.confidence,
        size: (volume_nm3 / tissue::VOXEL_NM.iter().product::<f32>()) as u32,
        kind,
    }
}

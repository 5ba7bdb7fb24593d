//! A small synthetic collection for people without data: neuropil as in an electron micrograph, the segmentations of its
//! cells and of its synapses, the synapses as points and as lines, the voxels of pre- and postsynaptic cells near them, and
//! boxes of two splits.
//!
//! The input is a folder; the output are layers in Neuroglancer's precomputed format, `collection.json` and `config.json`,
//! always with the same bytes. The steps are:
//!
//! 1. `neurites` grows cells; `tissue` finds the cell of every voxel.
//! 2. `organelles` places mitochondria and synapses; `image` paints the tissue.
//! 3. `precomputed`, `annotations` and `collection` write the files.

mod annotations;
mod boxes;
mod collection;
mod error;
mod files;
mod folder;
mod image;
mod neurites;
mod noise;
mod organelles;
mod precomputed;
mod report;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tissue;
mod volume_shape;
mod world;

use std::path::Path;

use boxes::{DemoBox, boxes};
use files::{create_dir, write_json};
use organelles::Synapse;
use volume_shape::{RESOLUTION_NM, SHAPE};
use world::World;

pub use error::DemoError;
pub use report::{BoxReport, DemoReport, LayerReport};

const LAYERS: [LayerReport; 7] = [
    LayerReport {
        name: "img",
        what: "electron microscopy (synthetic), two scales",
        encoding: "uint8 raw, gzip",
    },
    LayerReport {
        name: "label0",
        what: "voxels of presynaptic cells near their synapse",
        encoding: "uint8 raw, gzip",
    },
    LayerReport {
        name: "label1",
        what: "voxels of postsynaptic cells near their synapse",
        encoding: "uint8 raw, gzip",
    },
    LayerReport {
        name: "seg",
        what: "cells",
        encoding: "uint64 compressed_segmentation",
    },
    LayerReport {
        name: "synseg",
        what: "synaptic densities; the id of each is that of its synapse",
        encoding: "uint64 compressed_segmentation",
    },
    LayerReport {
        name: "points",
        what: "synapses, centre",
        encoding: "precomputed annotations, POINT",
    },
    LayerReport {
        name: "lines",
        what: "synapses, from the presynaptic to the postsynaptic cell",
        encoding: "precomputed annotations, LINE",
    },
];

/// Writes a small synthetic collection to the folder `dir` and describes it.
///
/// A folder that already contains this demo is not changed.
///
/// # Errors
/// A folder or file cannot be written, or the folder contains other files; then nothing in it is changed.
pub fn write_collection(dir: &Path) -> Result<DemoReport, DemoError> {
    let report = folder::fill(dir, write_files)?;
    Ok(DemoReport {
        config: dir.join("config.json"),
        ..report
    })
}

fn write_files(dir: &Path) -> Result<DemoReport, DemoError> {
    create_dir(dir)?;
    let world = World::make();
    world.write_volumes(dir)?;
    world.write_annotations(dir)?;
    let boxes = boxes();
    write_json(
        &dir.join("collection.json"),
        &collection::collection(&LAYERS, &boxes),
    )?;
    let config = dir.join("config.json");
    write_json(&config, &collection::config())?;
    Ok(DemoReport {
        config,
        volume_voxels: SHAPE.map(|n| n as u64),
        resolution_nm: RESOLUTION_NM,
        cells: world.visible_cells(),
        synapses: world.synapses.len(),
        boxes: boxes.iter().map(|b| report(b, &world.synapses)).collect(),
        layers: LAYERS.to_vec(),
    })
}

/// The description of a box, with the number of synapses in it.
fn report(one: &DemoBox, synapses: &[Synapse]) -> BoxReport {
    let inside = synapses
        .iter()
        .filter(|s| one.contains(s.center_position()));
    BoxReport {
        what: one.what,
        split: one.split,
        synapses: inside.count(),
    }
}

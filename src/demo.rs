//! A small synthetic collection for those who have no data at hand: neuropil as an electron microscope would
//! show it, the segmentation of its cells, its synapses as points and as lines, the voxels of the pre- and
//! postsynaptic cells near them, and boxes of two splits.
//!
//! Goes in: a folder. Comes out: layers in Neuroglancer's precomputed form, `collection.json` and
//! `config.json`, the same bytes every time. The tissue is made in the order of these steps:
//!
//! 1. `neurites` grows cells; `tissue` finds which of them owns every voxel.
//! 2. `organelles` places mitochondria and synapses; `image` paints what is seen of all that.
//! 3. `precomputed`, `annotations` and `collection` write it down.

mod annotations;
mod boxes;
mod collection;
mod folder;
mod image;
mod neurites;
mod noise;
mod organelles;
mod precomputed;
impl Fault for DemoError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::CreateDir { source, .. } | Self::Write { source, .. } => {
                FaultKind::of_write(source)
            }
            Self::Read { source, .. } => FaultKind::of_read(source),
            Self::Foreign { .. } => FaultKind::Usage,
            Self::Compress { .. } => FaultKind::Data,
        }
    }
}

#[cfg(test)]
mod tests;
mod tissue;
mod world;

use std::path::{Path, PathBuf};

use crate::fault::{Fault, FaultKind};
use boxes::boxes;
use world::World;

/// Voxels of the volume, x, y, z; no multiple of a chunk, so that the last chunks are truncated.
const SHAPE: [usize; 3] = [388, 372, 58];
/// The volume's first voxel; even in x and y, for the second scale of the image.
const OFFSET: [usize; 3] = [1200, 900, 150];
/// Size of a voxel, nm.
const RESOLUTION_NM: [f64; 3] = [8.0, 8.0, 40.0];
/// Window of the job description, voxels.
const WINDOW: [u32; 3] = [64, 64, 16];

/// What [`write_collection`] made.
#[derive(Clone, Debug)]
pub struct DemoReport {
    /// The job description, `config.json` in the folder.
    pub config: PathBuf,
    /// Voxels of the volume, x, y, z.
    pub volume_voxels: [u64; 3],
    /// nm per voxel, x, y, z.
    pub resolution_nm: [f64; 3],
    /// Number of cells in the segmentation.
    pub cells: usize,
    /// Number of synapses, in boxes or not: points, and lines.
    pub synapses: usize,
    /// The boxes, in the collection's order.
    pub boxes: Vec<BoxReport>,
    /// The layers, in the collection's order; each is a folder of that name.
    pub layers: Vec<LayerReport>,
}

/// One bounding box of the demo.
#[derive(Clone, Debug)]
pub struct BoxReport {
    /// What is special about it.
    pub what: &'static str,
    /// Its tag, which is also the split it belongs to.
    pub split: &'static str,
    /// How many synapses have their centre in it.
    pub synapses: usize,
}

/// One layer of the demo.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// Its name, and that of its folder.
    pub name: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// How it is stored.
    pub encoding: &'static str,
}

/// Why the demo could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A folder could not be made.
    #[error("cannot create the folder {}", path.display())]
    CreateDir {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folder holds something else.
    #[error("{} is not empty, and its {} is not the one that this demo writes: nothing was changed; choose another folder, or move {} away to make the demo anew", folder.display(), file.display(), folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The first file, relative to it, that is missing or different.
        file: PathBuf,
    },
    /// A chunk could not be compressed.
    #[error("cannot compress {}", path.display())]
    Compress {
        /// The chunk's file.
        path: PathBuf,
        /// What the compressor says.
        source: libdeflater::CompressionError,
    },
}

const LAYERS: [LayerReport; 6] = [
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

/// Writes a small synthetic collection below `dir` and returns what it made.
///
/// A folder that holds this demo already is left as it is.
///
/// # Errors
/// If a folder or file cannot be written, or the folder holds something else; nothing in it is changed then.
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
        cells: world.cells_seen(),
        synapses: world.synapses.len(),
        boxes: boxes.iter().map(|b| b.report(&world.synapses)).collect(),
        layers: LAYERS.to_vec(),
    })
}

fn create_dir(path: &Path) -> Result<(), DemoError> {
    std::fs::create_dir_all(path).map_err(|source| DemoError::CreateDir {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    std::fs::write(path, bytes).map_err(|source| DemoError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), DemoError> {
    write(path, format!("{value:#}\n").as_bytes())
}

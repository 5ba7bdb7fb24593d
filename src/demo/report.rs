//! What the demo consists of, for people.

use std::path::PathBuf;

/// What [`write_collection`](super::write_collection) wrote.
#[derive(Clone, Debug)]
pub struct DemoReport {
    /// The config, `config.json` in the folder.
    pub config: PathBuf,
    /// Voxels of the volume, x, y, z.
    pub volume_voxels: [u64; 3],
    /// nm per voxel, x, y, z.
    pub resolution_nm: [f64; 3],
    /// Number of cells in the segmentation.
    pub cells: usize,
    /// Number of synapses, inside and outside of boxes; each is a point and a line.
    pub synapses: usize,
    /// The boxes, in the order of the collection.
    pub boxes: Vec<BoxReport>,
    /// The layers, in the order of the collection; each is a folder with its name.
    pub layers: Vec<LayerReport>,
}

/// One bounding box of the demo.
#[derive(Clone, Debug)]
pub struct BoxReport {
    /// A description.
    pub what: &'static str,
    /// The tag, which is also the name of its split.
    pub split: &'static str,
    /// Number of synapses whose center is in the box.
    pub synapses: usize,
}

/// One layer of the demo.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// The name of the layer and its folder.
    pub name: &'static str,
    /// A description.
    pub what: &'static str,
    /// How it is encoded.
    pub encoding: &'static str,
}

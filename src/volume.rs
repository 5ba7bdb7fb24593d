//! Volumes: decoded blocks of a layer on its own storage grid.

pub mod compressed_segmentation;

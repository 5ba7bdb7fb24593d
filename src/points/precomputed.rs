//! Neuroglancer's precomputed annotations, read through their spatial index.
//!
//! The input is the folder of a layer and some boxes. The cells that the boxes need are read once each, in parallel, and
//! each cell becomes one batch of annotations. All levels are read: according to the format each annotation is on one
//! level, but some writers put every annotation on every level.

mod boxes;
mod by_id;
mod cells;
mod entries;
mod grid;
mod index;
mod info;
mod layer;
mod record;
mod related;
#[cfg(test)]
mod tests;

pub(super) use self::layer::PrecomputedLayer;

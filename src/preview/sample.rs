//! Samples to show: which ones, the facts about each, and their voxels as bytes that a page or a picture can draw.

mod array;
mod choice;
mod facts;
mod voxels;

pub(super) use array::{ArrayKind, ShownArray, reference, shown_arrays};
pub use choice::SampleChoice;
pub(super) use choice::{choose, in_order};
pub(super) use facts::{SampleFacts, read_facts};
pub(super) use voxels::{Meaning, ShownVoxels, VoxelReader};

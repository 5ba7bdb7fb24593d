//! pointshard cuts training windows around annotated points out of connectomics volumes, once,
//! into Zarr v3 shards.
//!
//! The rooms, and how data goes through them:
//!
//! ```text
//! config ─► collection ─► points ─►┐
//!                                  ├─► plan ─► extract ─► dataset ─► check
//! storage ─► volume (and its cache)┘              ▲
//!                  └──────────────────────────────┘
//! ```
//! [`config`] is the job description, [`collection`] the boxes and their layers, [`points`] the annotations
//! inside them, [`volume`] the voxels, [`neuroglancer`] what the formats of both share. [`plan`] is the pure
//! table of samples, [`extract`] turns it into shards, [`dataset`] is what stands on disk, [`check`] proves it.
//! [`loader`] turns the shards of a split into training batches, with threads that decode ahead; `trainer`, with the
//! feature `tch`, learns from them.
//! [`job`] goes the whole way; [`init`] drafts a first config, and [`demo`] makes a collection for those who have none at hand. [`geometry`] is
//! the only place that rounds a coordinate.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
pub mod blocks;
pub mod check;
#[doc(hidden)]
pub mod cli;
pub mod collection;
pub mod config;
pub mod data_type;
pub mod dataset;
pub mod demo;
pub mod extract;
pub mod fault;
pub mod geometry;
pub mod init;
pub mod job;
pub mod loader;
pub mod neuroglancer;
pub mod plan;
pub mod points;
pub mod preview;
pub mod select;
pub mod storage;
#[cfg(feature = "tch")]
pub mod trainer;
pub mod volume;
pub mod voxels;

// The integration tests share this module, which knows the library by its name.
#[cfg(test)]
extern crate self as pointshard;
#[cfg(test)]
#[path = "../tests/support.rs"]
mod support;

//! pointshard cuts training windows around annotated points out of connectomics volumes, once,
//! into Zarr v3 shards.

pub mod collection;
pub mod config;
pub mod demo;
pub mod geometry;
pub mod points;
pub mod storage;
pub mod volume;

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
mod blocks;
mod check;
#[doc(hidden)]
pub mod cli;
mod collection;
mod config;
mod data_type;
mod dataset;
mod demo;
mod extract;
mod fault;
mod geometry;
mod init;
mod job;
#[cfg_attr(
    not(feature = "tch"),
    allow(
        dead_code,
        unused_imports,
        reason = "only the trainer and the benchmarks load batches"
    )
)]
mod loader;
mod neuroglancer;
mod plan;
mod points;
#[cfg_attr(
    not(feature = "tch"),
    allow(
        dead_code,
        unused_imports,
        reason = "only the trainer draws pages so far"
    )
)]
mod preview;
mod select;
mod storage;
#[cfg(feature = "tch")]
mod trainer;
mod volume;
mod voxels;

pub use check::{Finding, Report as CheckReport, check};
pub use config::{Config, ConfigError};
pub use dataset::{Dataset, DatasetError, Manifest};
pub use extract::Progress;
pub use fault::{Fault, FaultKind};
pub use job::{Job, JobError, Outcome, RunOptions};
pub use storage::{Network, RetryPolicy, Storage};

// The integration tests share this module, which knows the library by its name.
#[cfg(test)]
extern crate self as pointshard;
#[cfg(test)]
#[path = "../tests/support.rs"]
mod support;

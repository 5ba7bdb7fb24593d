//! pointshard builds training datasets for connectomics. It cuts a window around each annotated point out of image,
//! label and mask volumes, and writes Zarr v3 shards with an index and a manifest.
//!
//! Most people run the program `pointshard`. This library offers the same steps to Rust programs:
//!
//! - [`Config`] is the description of a job, a JSON file. The program's `docs/config.md` explains every key.
//! - [`Job`] reads the collection of boxes and the annotations, plans the samples, and writes the dataset.
//! - [`Dataset`] reads a finished dataset: its manifest, its index columns, and single samples.
//! - [`check`] decodes every sample of a dataset and compares it with the manifest.
//!
//! Errors implement [`Fault`], which says whether the config, the data or the environment is at fault.
//!
//! ```
//! use pointshard::{CheckLevel, CheckOptions, Dataset, Job, Progress, RunOptions, Storage, check};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let dir = folder.path();
//!
//! // A volume with one chunk of 64 x 64 x 64 voxels, and two points.
//! let info = json!({
//!     "type": "image", "data_type": "uint8", "num_channels": 1,
//!     "scales": [{"key": "8_8_8", "size": [64, 64, 64], "resolution": [8, 8, 8],
//!         "voxel_offset": [0, 0, 0], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"}],
//! });
//! std::fs::create_dir_all(dir.join("em/8_8_8"))?;
//! std::fs::write(dir.join("em/info"), info.to_string())?;
//! std::fs::write(dir.join("em/8_8_8/0-64_0-64_0-64"), [7; 64 * 64 * 64])?;
//! std::fs::write(dir.join("points.csv"), "id,x,y,z\n1,200,200,200\n2,300,300,300\n")?;
//!
//! let config = json!({
//!     "collection": {"boxes": {
//!         "list": [{"min": [0, 0, 0], "max": [512, 512, 512], "tags": ["train"]}],
//!         "layers": {"em": "precomputed://file://./em"},
//!     }},
//!     "resolution": [8, 8, 8],
//!     "window": [32, 32, 32],
//!     "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
//!     "arrays": {"img": {"layer": "em"}},
//!     "splits": {"train": ["train"]},
//! });
//! std::fs::write(dir.join("job.json"), config.to_string())?;
//!
//! // Plan the job, write the dataset, and check it.
//! let (out, storage) = (dir.join("windows"), Storage::default());
//! let options = RunOptions { memory_bytes: 1 << 30, ..RunOptions::default() };
//! let job = Job::prepare(&dir.join("job.json"), options.memory_bytes, &storage)?;
//! job.run(out.as_path(), options, &Progress::default())?;
//! let options = CheckOptions { level: CheckLevel::Full, memory_bytes: options.memory_bytes };
//! assert!(check(&out, options, &storage)?.ok);
//!
//! // A sample is little-endian bytes, shape [channel, z, y, x].
//! let dataset = Dataset::open(&out, &storage)?;
//! let samples = dataset.split("train")?.samples("img")?;
//! assert_eq!(samples.shape(), [2, 1, 32, 32, 32]);
//! assert_eq!(samples.read(0)?, [7; 32 * 32 * 32]);
//! # Ok(())
//! # }
//! ```
//!
//! # Inside
//! Data flows one way, and each module knows only those before it:
//!
//! ```text
//! config ─► collection ─► points ─► plan ─► select ─► extract ─► dataset ─► check ─► preview
//!                                              ▲         ▲
//! storage ─► volume ─► blocks ─► voxels ───────┴─────────┘
//! ```
//! `storage` reads bytes, `hdf5` finds datasets and chunks in files, `volume` decodes blocks of a layer, `blocks` caches
//! them, `voxels` copies, converts and resamples values. `plan` is the table of samples, `select` reads from the volumes what
//! the plan depends on, `extract` cuts windows and writes shards. `dataset` is the output's one writer and one reader. `geometry`
//! is the only place that rounds a coordinate. `loader` makes training batches of shards; the program
//! `pointshard-train` (feature `tch`, in `src/trainer`) learns from them; `preview` draws pictures and pages of datasets, and links to Neuroglancer; `init` drafts a first config; `demo` generates data.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod blocks;
mod catch_panic;
mod check;
#[doc(hidden)]
pub mod cli;
mod collection;
mod config;
mod data_type;
mod dataset;
mod demo;
mod diff;
mod extract;
mod fault;
mod geometry;
mod hdf5;
mod info;
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
mod train_config;
#[cfg(feature = "tch")]
#[doc(hidden)]
pub mod trainer_api;
mod volume;
mod voxels;

pub use check::{
    CheckLevel, CheckOptions, Finding, FindingKind, Report as CheckReport, Severity, check,
};
pub use config::{Config, ConfigError};
pub use dataset::{Dataset, DatasetError, Manifest, SampleArray, SplitReader};
pub use extract::Progress;
pub use fault::{Fault, FaultKind};
pub use job::{Job, JobError, Outcome, RunOptions};
pub use storage::{Location, LocationError, Network, RemoteLocation, RetryPolicy, Storage};

// The integration tests share this module, which knows the library by its name.
#[cfg(test)]
extern crate self as pointshard;
#[cfg(test)]
#[path = "../tests/support.rs"]
mod support;

//! The built-in trainer (feature `tch`): shows that a network can learn from a dataset, without any Python code.
//!
//! [`TrainConfig`] selects arrays, network and loss. [`train`] writes or resumes a run folder with weights, metrics, a
//! TorchScript module, an ONNX model and a report. [`infer`] writes the predictions of a split as a Zarr group. The network and the loss
//! use libtorch; everything else is plain Rust.

mod assignment;
mod atomic_write;
mod average;
mod balance;
mod checkpoint;
mod config;
mod device;
mod device_batch;
mod error;
mod evaluate;
mod events;
mod export;
mod history;
mod infer;
mod loss;
mod metrics;
mod min_nonzero;
mod model;
mod optimizer;
mod predictions;
mod report;
mod run;
mod run_folder;
mod schedule;
mod step_record;
mod verdict;
mod worst;

pub use config::TrainConfig;
pub use device::set_threads;
pub use error::TrainError;
pub use evaluate::Evaluation;
pub use infer::{InferOptions, ProbabilityType, infer};
pub use run::{TrainOptions, TrainOutcome, TrainProgress, train};

//! The bundled trainer (feature `tch`): proof that a dataset can be learnt from, before a line of Python is written.
//!
//! [`TrainConfig`] says which arrays, which network and which loss; [`train`] makes a run's folder of it (weights,
//! metrics, a TorchScript module, a report), and can go on with one; [`infer`] writes predictions of a split beside
//! the samples. The network and the loss compute with libtorch, all else is plain Rust.

mod checkpoint;
mod config;
mod curves;
mod device;
mod error;
mod evaluate;
mod events;
mod export;
mod feed;
mod folder;
mod history;
mod infer;
mod loss;
mod metrics;
mod model;
mod optimizer;
mod part;
mod predictions;
mod record;
mod run;

pub use config::TrainConfig;
pub use device::set_threads;
pub use error::TrainError;
pub use evaluate::{ChannelEvaluation, Evaluation};
pub use infer::{InferOptions, Inferred, Stored, infer};
pub use metrics::{CurvePoint, Scores};
pub use run::{TrainOptions, TrainProgress, Trained, train};

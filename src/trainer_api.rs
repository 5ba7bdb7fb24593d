//! What the program `pointshard-train` uses of this library (feature `tch`). Not part of the public interface.

pub use crate::cli::{
    Failure, InferArgs, Printer, ProbabilityType, Rows, Status, TrainArgs, TrainerCommand,
    trainer_main, with_progress,
};
pub use crate::config::Role;
pub use crate::dataset::group_metadata;
pub use crate::loader::{
    ArrayNames, Augmentation, Batch, Crop, InputArray, Loader, LoaderError, LoaderOptions, Scaling,
    Values,
};
pub use crate::preview::{Chart, ContactSheet, Picture, PictureRow, Report, Series, Table};
pub use crate::storage::{Existing, write_atomic};
pub use crate::train_config::{
    Activation, Algorithm, Balance, ClassWeights, ComputeDevice, InputsConfig, LossConfig,
    MinNonzero, ModelConfig, Norm, OptimizerConfig, Precision, Reduction, Skip, TrainConfig,
    duplicate,
};

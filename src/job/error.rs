//! Why a job failed.

use crate::collection::CollectionError;
use crate::config::ConfigError;
use crate::dataset::DatasetError;
use crate::extract::ExtractError;
use crate::fault::{Fault, FaultKind};
use crate::plan::{DisplacedLayers, PlanError};
use crate::points::PointsError;
use crate::select::SelectError;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The config cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The collection cannot be used.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// The plan cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The annotations cannot be read.
    #[error("cannot read the annotation layer `{layer}`")]
    Points {
        /// Its name in the config.
        layer: String,
        /// Why.
        source: PointsError,
    },
    /// The dataset would be empty.
    #[error("the job has no sample: {why}")]
    NoSample {
        /// Why no annotation is a sample.
        why: String,
    },
    /// No window touches a layer.
    #[error(transparent)]
    Displaced(#[from] DisplacedLayers),
    /// The metadata of sources are not those that the plan was made with.
    #[error(
        "sources have changed since the plan was written: restore them, or start again with --force: {what}"
    )]
    SourcesChanged {
        /// The sources, one line each.
        what: String,
    },
    /// Shards cannot be written.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The output cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl From<SelectError> for JobError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Extract(e) => Self::Extract(e),
            SelectError::Plan(e) => Self::Plan(e),
        }
    }
}

impl Fault for JobError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Config(e) => e.kind(),
            Self::Collection(e) => e.kind(),
            Self::Plan(e) => e.kind(),
            Self::Points { source, .. } => source.kind(),
            Self::Displaced(e) => e.kind(),
            Self::Extract(e) => e.kind(),
            Self::Dataset(e) => e.kind(),
            Self::NoSample { .. } | Self::SourcesChanged { .. } => FaultKind::Data,
        }
    }
}

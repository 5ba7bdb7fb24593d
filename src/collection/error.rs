//! Why a collection cannot be used.

use super::ApiError;
use crate::fault::{Fault, FaultKind};
use crate::neuroglancer::viewer_state::StateError;
use crate::points::PointsError;
use crate::storage::{DocumentError, LocationError, OverBudget};

/// Why a collection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// A file could not be read or parsed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The viewer state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The layer of boxes cannot be used.
    #[error(transparent)]
    Boxes(#[from] PointsError),
    /// A path or URL is invalid.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The web API cannot be used.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// One of several collections cannot be used.
    #[error("the collection `{name}` cannot be read")]
    Named {
        /// Its name in the config.
        name: String,
        /// Why.
        source: Box<CollectionError>,
    },
    /// The boxes of a collection exceed the memory budget.
    #[error(
        "the boxes of {collection} take more than {over}; allow more with --memory, or split the collection"
    )]
    TooLarge {
        /// The collection.
        collection: String,
        /// The limit.
        over: OverBudget,
    },
    /// A required list is missing.
    #[error(
        "{file} has no list `{list}`; expected the four lists collections, layer_groups, layers and annotations of zetta_utils' web API"
    )]
    NoList {
        /// The collection file.
        file: String,
        /// The list.
        list: &'static str,
    },
    /// The property that `tag_property` names does not exist or has no labels.
    #[error("{file}: properties: {problem}")]
    TagProperty {
        /// The layer of boxes.
        file: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file is not a table of boxes.
    #[error("{file} is not a table of boxes: {problem}")]
    BoxTable {
        /// The file.
        file: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A row is invalid.
    #[error("{file}: {row}: {problem}")]
    Row {
        /// The collection file.
        file: String,
        /// The row, with its id if it has one.
        row: String,
        /// What was found and what was expected.
        problem: String,
    },
}

impl CollectionError {
    /// Whether the file exists but is not a collection file, so that it may be a viewer state.
    pub(crate) fn may_be_a_state(&self) -> bool {
        match self {
            Self::NoList { .. } => true,
            Self::Document(e) => e.is_about_contents(),
            _ => false,
        }
    }
}

impl Fault for CollectionError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Document(e) => e.kind(),
            Self::State(e) => e.kind(),
            Self::Boxes(e) => e.kind(),
            Self::Location(e) => e.kind(),
            Self::Api(e) => e.kind(),
            Self::Named { source, .. } => source.kind(),
            Self::TagProperty { .. } => FaultKind::Usage,
            Self::NoList { .. }
            | Self::TooLarge { .. }
            | Self::Row { .. }
            | Self::BoxTable { .. } => FaultKind::Data,
        }
    }
}

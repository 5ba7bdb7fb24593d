//! Why annotations could not be had. Every message names the file, what was found and what was expected.

use crate::fault::{Fault, FaultKind};
use crate::geometry::TransformError;
use crate::neuroglancer::ShardError;
use crate::neuroglancer::viewer_state::StateError;
use crate::storage::{DocumentError, StorageError};

/// Why annotations could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PointsError {
    /// The source's URL names a format that does not hold annotations, or is not read.
    #[error(
        "{location} is written as `{found}`; annotations are read from `precomputed` (`neuroglancer-precomputed`): \
         `points.layer` names an annotation layer, `arrays.NAME.layer` a volume"
    )]
    Format {
        /// Where the layer lies.
        location: String,
        /// The format named.
        found: String,
    },
    /// The info could not be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// There is a volume in its place.
    #[error(
        "{location} holds a volume ({document}), not annotations: `points.layer` names an annotation layer, \
         `arrays.NAME.layer` a volume"
    )]
    Volume {
        /// Where the layer should lie.
        location: String,
        /// What says so.
        document: &'static str,
    },
    /// The viewer state that holds them could not be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file is not the table that the config describes.
    #[error("{object} is not the table that `points.csv` describes: {problem}")]
    Table {
        /// The file, and the line where there is one.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A table has other columns than the config names.
    #[error("{object} is not the table that `points.csv` describes: {problem}")]
    Columns {
        /// The file.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A row of a state or a table says what cannot be.
    #[error("{object}: `{field}` is {found}; expected {expected}")]
    Row {
        /// The file and the row.
        object: String,
        /// The member or column.
        field: String,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Two ids that are texts have one number.
    #[error(
        "{object}: the ids {first:?} and {second:?} both become the number {number}: give one of them another id"
    )]
    IdCollision {
        /// The list of annotations.
        object: String,
        /// One id.
        first: String,
        /// The other.
        second: String,
        /// What both become.
        number: u64,
    },
    /// The info says what cannot be.
    #[error("{object}: `{field}` is {found}; expected {expected}")]
    Info {
        /// The info file.
        object: String,
        /// The member, as a path.
        field: String,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// What a viewer state does to the layer cannot be done to annotations.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// The info redirects to where no layer is read from.
    #[error("{object}: at `redirect`: {problem}")]
    Redirect {
        /// The info file.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A cell could not be had from its shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A cell is damaged, and there is a common reason for it.
    #[error("{problem}{hint}")]
    Hinted {
        /// What is wrong.
        problem: Box<PointsError>,
        /// What may be behind it.
        hint: &'static str,
    },
    /// The layer has no relationship of that name.
    #[error(
        "`points.choose.related.{name}`: {object} has no relationship `{name}`; it has {known}{}",
        hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default()
    )]
    NoRelationship {
        /// The name in the config.
        name: String,
        /// The layer.
        object: String,
        /// What there is.
        known: String,
        /// The nearest of them.
        hint: Option<String>,
    },
    /// A file does not have the length that its count and the info's properties give.
    #[error(
        "{object} has {found_bytes} bytes; expected {expected_bytes}, for a count of {count} annotations of \
         {record_bytes} bytes each and their ids: the file is damaged, or its writer encodes properties in another way"
    )]
    CellLength {
        /// The file.
        object: String,
        /// Its length.
        found_bytes: usize,
        /// The length that it should have; more than a file can have where the count is absurd.
        expected_bytes: u128,
        /// The count that it begins with.
        count: u64,
        /// Bytes of a record, id not included.
        record_bytes: usize,
    },
    /// A file is not a list of annotations.
    #[error("{object} is not a list of annotations: found {found}; expected {expected}")]
    Cell {
        /// The file.
        object: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// One id stands for two annotations.
    #[error(
        "the id {id} stands for two annotations: {first} in {first_object} and {second} in {second_object}; \
         expected one geometry per id: mend the layer"
    )]
    Conflict {
        /// The id.
        id: u64,
        /// One geometry.
        first: String,
        /// The file that holds it.
        first_object: String,
        /// The other geometry.
        second: String,
        /// The file that holds it.
        second_object: String,
    },
    /// The boxes need more cells than can be right.
    #[error(
        "{object}: the boxes touch {found} cells of `{level}`, more than the {limit} that are read at a time: \
         check `chunk_size`, the units of `dimensions`, and the boxes; --memory decides how many"
    )]
    TooManyCells {
        /// The info file.
        object: String,
        /// The level, as a path in the info.
        level: String,
        /// Cells that they touch, at least.
        found: u128,
        /// The limit.
        limit: u64,
    },
}

impl PointsError {
    /// The error with what may be behind it, which is often nothing.
    pub(super) fn with_hint(self, hint: &'static str) -> Self {
        match hint {
            "" => self,
            hint => Self::Hinted {
                problem: Box::new(self),
                hint,
            },
        }
    }
}

impl Fault for PointsError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Document(e) => e.kind(),
            Self::State(e) => e.kind(),
            Self::Transform(e) => e.kind(),
            Self::Storage(e) => e.kind(),
            Self::Shard(e) => e.kind(),
            Self::Hinted { problem, .. } => problem.kind(),
            Self::NoRelationship { .. } | Self::Columns { .. } => FaultKind::Usage,
            Self::Format { .. }
            | Self::Volume { .. }
            | Self::Table { .. }
            | Self::Row { .. }
            | Self::IdCollision { .. }
            | Self::Info { .. }
            | Self::Redirect { .. }
            | Self::CellLength { .. }
            | Self::Cell { .. }
            | Self::Conflict { .. }
            | Self::TooManyCells { .. } => FaultKind::Data,
        }
    }
}

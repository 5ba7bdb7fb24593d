//! Why annotations cannot be read. Every message names the file, what was found and what was expected.

use crate::data_type::DataType;
use crate::fault::{Fault, FaultKind};
use crate::geometry::TransformError;
use crate::hdf5::Hdf5Error;
use crate::neuroglancer::ShardError;
use crate::neuroglancer::viewer_state::StateError;
use crate::storage::{DocumentError, StorageError};
use crate::volume::VolumeError;

/// Why annotations cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PointsError {
    /// The format in the source's URL has no annotations, or is not supported.
    #[error(
        "{location} has the format `{found}`; expected `precomputed` (`neuroglancer-precomputed`) for annotations: \
         `points.layer` names an annotation layer, `arrays.NAME.layer` names a volume"
    )]
    Format {
        /// The layer's location.
        location: String,
        /// The format.
        found: String,
    },
    /// The info could not be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The location has a volume instead of annotations.
    #[error(
        "{location} is a volume ({document}), not annotations: `points.layer` names an annotation layer, \
         `arrays.NAME.layer` names a volume"
    )]
    Volume {
        /// The layer's location.
        location: String,
        /// The volume's document.
        document: &'static str,
    },
    /// The volume whose objects are the annotations cannot be read.
    #[error(transparent)]
    Voxels(#[from] VolumeError),
    /// The volume whose objects are the annotations has no scale of the resolution.
    #[error("at `{key}` in the config: {problem}")]
    NoScale {
        /// What sets the resolution.
        key: &'static str,
        /// The resolution, and those of the volume.
        problem: Box<VolumeError>,
    },
    /// The annotations have a property with the name of one that the program adds.
    #[error(
        "the annotations have a property `{id}`, which `{by}` adds; expected annotations without it: rename it, or remove it from `points.table.properties`"
    )]
    PropertyTaken {
        /// The name.
        id: &'static str,
        /// The key in the config that adds it.
        by: &'static str,
    },
    /// Annotations of two layers in a box have the same id.
    #[error(
        "annotations of the layers `{first}` and `{second}` in a box have the same id, {id}; expected different ids: change those of one layer, or use one job per layer"
    )]
    IdInTwoLayers {
        /// The id.
        id: u64,
        /// The first layer.
        first: String,
        /// The second layer.
        second: String,
    },
    /// A chunk of a volume that decides where points are is missing, which the config does not allow.
    #[error("{chunk} is missing, and `missing` in the config is \"error\"")]
    MissingChunk {
        /// The chunk.
        chunk: String,
    },
    /// No chunk of the volume in the boxes is stored.
    #[error(
        "no chunk of {location} that the boxes touch is stored, for example {chunk}. The path or the resolution is probably wrong, or the layer is empty there: correct it, or allow an empty layer with `layers.{layer}.empty`: \"allow\""
    )]
    NoChunk {
        /// The volume.
        location: String,
        /// The name of the layer in the config.
        layer: String,
        /// One of the chunks.
        chunk: String,
    },
    /// The volume whose objects should be the annotations has no ids.
    #[error(
        "{location} has voxels of the type {data_type}; expected a segmentation of whole numbers for `points.objects.layer`"
    )]
    NotASegmentation {
        /// The volume.
        location: String,
        /// The type of its values.
        data_type: DataType,
    },
    /// An HDF5 file cannot be read.
    #[error(transparent)]
    Hdf5(#[from] Hdf5Error),
    /// The annotations of a CREMI file are not as CREMI's tools write them.
    #[error("{object}: {problem}")]
    Cremi {
        /// The file or the dataset.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// No annotation of a CREMI file has the type in the config.
    #[error(
        "{object} has no annotations of the type `{wanted}` (`points.cremi.type`); its types are {known}"
    )]
    CremiType {
        /// The group of annotations.
        object: String,
        /// The type in the config.
        wanted: String,
        /// The types that it has.
        known: String,
    },
    /// The viewer state with the annotations cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file is not the table that the config describes.
    #[error("{object} is not the table that the config describes: {problem}")]
    Table {
        /// The file, and the line where there is one.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A table does not have the columns in the config.
    #[error("{object} is not the table that the config describes: {problem}")]
    Columns {
        /// The file.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A row of a state or a table has an invalid value.
    #[error("{object}: `{field}` is {found}; expected {expected}")]
    Row {
        /// The file and the row.
        object: String,
        /// The member or column.
        field: String,
        /// Its value.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Two text ids are converted to the same number.
    #[error(
        "{object}: the ids {first:?} and {second:?} are both converted to the number {number}: change one of them"
    )]
    IdCollision {
        /// The list of annotations.
        object: String,
        /// The first id.
        first: String,
        /// The second id.
        second: String,
        /// The number of both.
        number: u64,
    },
    /// The info has an invalid value.
    #[error("{object}: `{field}` is {found}; expected {expected}")]
    Info {
        /// The info file.
        object: String,
        /// The path of the member.
        field: String,
        /// Its value.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The transform in a viewer state cannot be applied to annotations.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// The info redirects to an invalid location.
    #[error("{object}: at `redirect`: {problem}")]
    Redirect {
        /// The info file.
        object: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A cell cannot be read from its shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A cell is damaged, and there is a common cause.
    #[error("{problem}{hint}")]
    Hinted {
        /// What is wrong.
        problem: Box<PointsError>,
        /// The possible cause.
        hint: &'static str,
    },
    /// The layer has no relationship of that name.
    #[error(
        "`{key}`: {object} has no relationship `{name}`; it has {known}{}",
        hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default()
    )]
    NoRelationship {
        /// The key in the config.
        key: String,
        /// The name in the config.
        name: String,
        /// The layer.
        object: String,
        /// The names of its relationships.
        known: String,
        /// The most similar of them.
        hint: Option<String>,
    },
    /// The index by id lacks an annotation that is in a box.
    #[error(
        "{object} has no entry for the annotation {id} in its index `by_id`, but the annotation is in a box: the layer is incomplete, or its indexes were written at different times; write the layer again"
    )]
    NotInIndex {
        /// The layer.
        object: String,
        /// The annotation.
        id: u64,
    },
    /// No sample has an annotation in the layer of its ends.
    #[error(
        "`{key}.layer`: {object} has none of the {samples} annotation(s) that are samples, for example {id}: expected annotations with the same ids as those of the samples"
    )]
    NoEnds {
        /// The key in the config.
        key: &'static str,
        /// The layer.
        object: String,
        /// How many annotations were looked up.
        samples: usize,
        /// One of them.
        id: u64,
    },
    /// An annotation is related to too many objects.
    #[error(
        "`{key}`: the annotation {id} of {object} is related to {found} objects; expected at most {limit}, because the column of their ids is as wide"
    )]
    TooManyObjects {
        /// The key in the config.
        key: String,
        /// The layer.
        object: String,
        /// The annotation.
        id: u64,
        /// Number of its objects.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The length of a file does not match its count and the properties in the info.
    #[error(
        "{object} has {found_bytes} bytes; expected {expected_bytes}, for a count of {count} annotations of \
         {record_bytes} bytes each and their ids: the file is damaged, or its writer encodes properties in another way"
    )]
    CellLength {
        /// The file.
        object: String,
        /// Its length in bytes.
        found_bytes: usize,
        /// The expected length. It can be larger than any file if the count is wrong.
        expected_bytes: u128,
        /// The count at its start.
        count: u64,
        /// Bytes of a record without its id.
        record_bytes: usize,
    },
    /// A file is not a list of annotations.
    #[error("{object} is not a list of annotations: found {found}; expected {expected}")]
    Cell {
        /// The file.
        object: String,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Two annotations have the same id.
    #[error(
        "two annotations have the id {id}: {first} in {first_object} and {second} in {second_object}; \
         expected one geometry per id: correct the layer"
    )]
    Conflict {
        /// The id.
        id: u64,
        /// The first geometry.
        first: String,
        /// The file with the first geometry.
        first_object: String,
        /// The second geometry.
        second: String,
        /// The file with the second geometry.
        second_object: String,
    },
    /// The boxes need more cells than the limit.
    #[error(
        "{object}: the boxes overlap {found} cells of `{level}`; expected at most {limit}, which --memory limits: \
         check `chunk_size`, the units of `dimensions`, and the boxes"
    )]
    TooManyCells {
        /// The info file.
        object: String,
        /// The path of the level in the info.
        level: String,
        /// The number of cells that they overlap, or a lower bound.
        found: u128,
        /// The limit.
        limit: u64,
    },
}

impl PointsError {
    /// Adds a hint on the cause, unless it is empty.
    pub(super) fn with_hint(self, hint: &'static str) -> Self {
        if hint.is_empty() {
            return self;
        }
        Self::Hinted {
            problem: Box::new(self),
            hint,
        }
    }
}

impl PointsError {
    /// Whether a table was found, and it lacks something.
    pub(super) fn is_about_columns(&self) -> bool {
        matches!(self, Self::Columns { .. } | Self::Table { .. })
    }

    /// The error of a table that cannot be read as what it begins as.
    pub(super) fn damaged_table(object: &str, problem: impl std::fmt::Display) -> Self {
        Self::Table {
            object: object.to_owned(),
            problem: problem.to_string(),
        }
    }
}

impl Fault for PointsError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Document(e) => e.kind(),
            Self::State(e) => e.kind(),
            Self::Voxels(e) => e.kind(),
            Self::Transform(e) => e.kind(),
            Self::Storage(e) => e.kind(),
            Self::Shard(e) => e.kind(),
            Self::Hdf5(e) => e.kind(),
            Self::Hinted { problem, .. } => problem.kind(),
            Self::NoRelationship { .. }
            | Self::Columns { .. }
            | Self::NoScale { .. }
            | Self::CremiType { .. }
            | Self::PropertyTaken { .. }
            | Self::NotASegmentation { .. } => FaultKind::Usage,
            Self::Format { .. }
            | Self::Volume { .. }
            | Self::Cremi { .. }
            | Self::Table { .. }
            | Self::Row { .. }
            | Self::IdCollision { .. }
            | Self::Info { .. }
            | Self::Redirect { .. }
            | Self::CellLength { .. }
            | Self::Cell { .. }
            | Self::IdInTwoLayers { .. }
            | Self::NotInIndex { .. }
            | Self::NoEnds { .. }
            | Self::TooManyObjects { .. }
            | Self::MissingChunk { .. }
            | Self::NoChunk { .. }
            | Self::Conflict { .. }
            | Self::TooManyCells { .. } => FaultKind::Data,
        }
    }
}

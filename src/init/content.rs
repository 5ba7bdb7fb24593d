//! Contents of layers, as far as a draft needs them.

use crate::config::TableConfig;
use crate::data_type::DataType;
use crate::geometry::{BoxNm, Resolution};
use crate::neuroglancer::GeometryKind;
use crate::storage::{Location, SourceUrl};

/// A layer, opened.
#[derive(Debug)]
pub(super) struct OpenedLayer {
    pub(super) name: String,
    /// Its source; `None` for tables.
    pub(super) source: Option<SourceUrl>,
    pub(super) content: Content,
}

/// The contents of a layer.
#[derive(Debug)]
pub(super) enum Content {
    /// Voxels.
    Volume(VolumeFacts),
    /// Annotations.
    Annotations(AnnotationFacts),
    /// A table of annotations.
    Table(TableConfig, GeometryKind),
    /// A table of boxes.
    BoxTable(Location),
    /// It cannot be used; says why.
    Unusable(String),
}

/// What is known of a volume.
#[derive(Clone, Debug)]
pub(super) struct VolumeFacts {
    /// nm per voxel of each scale, finest first.
    pub(super) scales: Vec<Resolution>,
    /// Where its voxels are.
    pub(super) bounds: BoxNm,
    pub(super) data_type: DataType,
    pub(super) is_labels: bool,
    /// Its resolution, if a person gave it because the volume does not state one.
    pub(super) given_resolution: Option<Resolution>,
}

/// What is known of annotations.
#[derive(Clone, Debug)]
pub(super) struct AnnotationFacts {
    /// Their kind; `None` if a viewer state has several.
    pub(super) kind: Option<GeometryKind>,
    pub(super) extent: Option<BoxNm>,
    /// A property whose values have labels.
    pub(super) labelled_property: Option<String>,
}

impl OpenedLayer {
    pub(super) fn volume(&self) -> Option<&VolumeFacts> {
        match &self.content {
            Content::Volume(facts) => Some(facts),
            _ => None,
        }
    }

    pub(super) fn annotations(&self) -> Option<&AnnotationFacts> {
        match &self.content {
            Content::Annotations(facts) => Some(facts),
            _ => None,
        }
    }
}

impl VolumeFacts {
    /// The scale of this resolution, if there is one.
    pub(super) fn has(&self, resolution: &Resolution) -> bool {
        self.scales.iter().any(|scale| scale.matches(resolution))
    }

    /// Whether its labels are ids of many objects, and not a few classes.
    pub(super) fn holds_ids(&self) -> bool {
        self.is_labels && self.data_type.size_bytes() >= 4 && !self.data_type.is_float()
    }
}

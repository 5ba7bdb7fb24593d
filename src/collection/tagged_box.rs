//! A collection that was read: boxes with tags and layers.

use std::sync::Arc;

use indexmap::IndexMap;

use super::LayerGroup;
use crate::geometry::BoxNm;

/// The boxes of a collection, in its order.
#[derive(Clone, Debug)]
pub struct Collection {
    /// The path or URL that it was read from, for messages.
    pub source: String,
    /// All bounding boxes, with and without tags.
    pub boxes: Vec<TaggedBox>,
    /// The number of annotations that are not bounding boxes, by type.
    pub other_rows: IndexMap<String, usize>,
}

/// One bounding box.
#[derive(Clone, Debug)]
pub struct TaggedBox {
    /// The id, unique in the collection.
    pub id: String,
    /// The tags.
    pub tags: Vec<String>,
    /// The bounds.
    pub bounds: BoxNm,
    /// The layers that samples are cut out of.
    pub layers: Arc<LayerGroup>,
}

//! A collection that was read: boxes with tags and layers.

use std::sync::Arc;

use indexmap::IndexMap;

use super::LayerGroup;
use crate::geometry::BoxNm;

/// The boxes of a collection, in its order.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Its name in the config, if a job has several collections.
    pub name: Option<String>,
    /// The table with its annotations in the config, if it has one of its own.
    pub table: Option<String>,
    /// The path or URL that it was read from, for messages.
    pub source: String,
    /// All bounding boxes, with and without tags.
    pub boxes: Vec<TaggedBox>,
    /// The number of annotations that are not bounding boxes, by type.
    pub other_rows: IndexMap<String, usize>,
}

impl Collection {
    /// The id of one of its boxes, unique in the job: it begins with the name of the collection, if it has one.
    pub fn id_in_job(&self, of_box: &TaggedBox) -> String {
        match &self.name {
            None => of_box.id.clone(),
            Some(name) => format!("{name}/{}", of_box.id),
        }
    }

    /// The path or URL that it was read from, with its name.
    pub fn place(&self) -> String {
        match &self.name {
            None => self.source.clone(),
            Some(name) => format!("{name}: {}", self.source),
        }
    }
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

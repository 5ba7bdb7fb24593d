//! An opened annotation layer of any kind.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::annotation::{Anchor, AnnotatedBox, InBox};
use super::error::PointsError;
use super::in_memory::InMemoryLayer;
use super::objects::ObjectsLayer;
use super::precomputed::PrecomputedLayer;
use super::property::PropertySpec;
use super::report::PointsInBoxes;
use super::several::SeveralLayers;
use super::table::TableLayer;
use crate::config::nearest;
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;
use crate::storage::{SourceUrl, Storage};

/// Lists of ids of the objects that an annotation is related to.
pub(crate) type RelatedObjects = Vec<Box<[u64]>>;

/// An opened annotation layer. For a precomputed layer and a segmentation only its info is read and checked, for a table its
/// header. States are read completely.
#[derive(Debug)]
pub struct PointLayer {
    format: LayerFormat,
}

#[derive(Debug)]
enum LayerFormat {
    Precomputed(Box<PrecomputedLayer>),
    Table(Box<TableLayer>),
    InMemory(InMemoryLayer),
    Objects(ObjectsLayer),
    Several(Box<SeveralLayers>),
}

impl PointLayer {
    /// Reads the info of the precomputed layer at `source`. Later reads stay within the memory of `storage`.
    pub fn open(source: &SourceUrl, storage: &Storage) -> Result<Self, PointsError> {
        match source.format.as_deref() {
            None | Some("precomputed" | "neuroglancer-precomputed") => {
                let transform = source.transform.as_deref();
                let layer = PrecomputedLayer::open(&source.location, transform, storage)?;
                Ok(Self {
                    format: LayerFormat::Precomputed(Box::new(layer)),
                })
            }
            Some(found) => Err(PointsError::Format {
                location: source.location.to_string(),
                found: found.to_owned(),
            }),
        }
    }

    pub(super) fn of_table(layer: TableLayer) -> Self {
        Self {
            format: LayerFormat::Table(Box::new(layer)),
        }
    }

    pub(super) fn of_in_memory(layer: InMemoryLayer) -> Self {
        Self {
            format: LayerFormat::InMemory(layer),
        }
    }

    pub(super) fn of_objects(layer: ObjectsLayer) -> Self {
        Self {
            format: LayerFormat::Objects(layer),
        }
    }

    pub(super) fn of_several(layers: SeveralLayers) -> Self {
        Self {
            format: LayerFormat::Several(Box::new(layers)),
        }
    }

    /// The properties of every annotation, in declared order.
    pub fn properties(&self) -> &[PropertySpec] {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.properties(),
            LayerFormat::Table(layer) => layer.properties(),
            LayerFormat::InMemory(layer) => layer.properties(),
            LayerFormat::Objects(layer) => layer.properties(),
            LayerFormat::Several(layers) => layers.properties(),
        }
    }

    /// The kind of its annotations; `None` if there are several kinds.
    pub(crate) fn kind(&self) -> Option<GeometryKind> {
        match &self.format {
            LayerFormat::Precomputed(layer) => Some(layer.kind()),
            LayerFormat::Table(layer) => Some(layer.kind()),
            LayerFormat::InMemory(layer) => layer.kind(),
            LayerFormat::Objects(_) => Some(GeometryKind::Point),
            LayerFormat::Several(layers) => layers.kind(),
        }
    }

    /// Whether some of its annotations may be lines or polylines.
    pub(crate) fn has_ends(&self) -> bool {
        match &self.format {
            LayerFormat::InMemory(layer) => layer.has_ends(),
            LayerFormat::Several(layers) => layers.has_ends(),
            _ => self.kind().is_some_and(GeometryKind::has_ends),
        }
    }

    /// Whether an annotation depends on the box that it is read for, beside being in it.
    pub(crate) fn depends_on_boxes(&self) -> bool {
        match &self.format {
            LayerFormat::Objects(_) => true,
            LayerFormat::Several(layers) => layers.depends_on_boxes(),
            _ => false,
        }
    }

    /// A description in one line: type of annotations, location, levels, properties.
    pub fn describe(&self) -> String {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.describe(),
            LayerFormat::Table(layer) => layer.describe(),
            LayerFormat::InMemory(layer) => layer.describe(),
            LayerFormat::Objects(layer) => layer.describe(),
            LayerFormat::Several(layers) => layers.describe(),
        }
    }

    /// Every box of a precomputed layer of boxes, by ascending id.
    pub fn boxes(&self) -> Result<Vec<AnnotatedBox>, PointsError> {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.boxes(),
            _ => Err(PointsError::Format {
                location: self.describe(),
                found: "a table".to_owned(),
            }),
        }
    }

    /// The ids of the annotations that every relationship in `wanted` relates to at least one of its listed objects: at least of those
    /// in `boxes`.
    pub fn related(
        &self,
        wanted: &IndexMap<String, Vec<u64>>,
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<HashSet<u64>, PointsError> {
        let known = self.relationships()?;
        let wanted = wanted.iter().map(|(name, objects)| {
            let key = format!("points.choose.related.{name}");
            let position = self.relationship_position(name, &known, &key)?;
            Ok((position, &objects[..]))
        });
        let wanted: Vec<(usize, &[u64])> = wanted.collect::<Result<_, PointsError>>()?;
        if let LayerFormat::Table(layer) = &self.format {
            return layer.related(&wanted, boxes, anchor);
        }
        let mut all: Option<HashSet<u64>> = None;
        for (position, objects) in wanted {
            let ids = match &self.format {
                LayerFormat::Precomputed(layer) => layer.related(position, objects)?,
                LayerFormat::InMemory(layer) => layer.related(position, objects),
                LayerFormat::Table(_) | LayerFormat::Objects(_) | LayerFormat::Several(_) => {
                    HashSet::new()
                }
            };
            all = Some(match all {
                None => ids,
                Some(all) => all.intersection(&ids).copied().collect(),
            });
        }
        Ok(all.unwrap_or_default())
    }

    /// The names of its relationships.
    fn relationships(&self) -> Result<Vec<String>, PointsError> {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.relationships(),
            LayerFormat::InMemory(layer) => Ok(layer.relationships()?.to_vec()),
            LayerFormat::Table(layer) => Ok(layer.relationships().to_vec()),
            LayerFormat::Objects(_) | LayerFormat::Several(_) => Ok(Vec::new()),
        }
    }

    /// The positions of the relationships with these names, which are at `key` in the config.
    ///
    /// # Errors
    /// It has no relationship of this name.
    pub(crate) fn relationship_positions(
        &self,
        names: &[String],
        key: &str,
    ) -> Result<Vec<usize>, PointsError> {
        let known = self.relationships()?;
        let position = |name: &String| self.relationship_position(name, &known, key);
        names.iter().map(position).collect()
    }

    fn relationship_position(
        &self,
        name: &str,
        known: &[String],
        key: &str,
    ) -> Result<usize, PointsError> {
        let position = known.iter().position(|n| n == name);
        position.ok_or_else(|| self.no_relationship(key.to_owned(), name, known))
    }

    /// Fails if annotations cannot be looked up by their ids.
    pub(crate) fn require_index_by_id(&self) -> Result<(), PointsError> {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.require_index_by_id(),
            _ => Ok(()),
        }
    }

    /// For each of these annotations: for each member of `wanted`, which has positions of relationships, the ids of the objects that
    /// these relate it to. `ids` are ascending, each once, of annotations in `boxes`.
    ///
    /// # Errors
    /// The layer has no index by id, or an annotation is not in it.
    pub(crate) fn objects_of(
        &self,
        ids: &[u64],
        wanted: &[Vec<usize>],
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<Vec<RelatedObjects>, PointsError> {
        let found = match &self.format {
            LayerFormat::Precomputed(layer) => layer.objects_of(ids, wanted)?,
            LayerFormat::InMemory(layer) => layer.objects_of(ids, wanted),
            LayerFormat::Table(layer) => layer.objects_of(ids, wanted, boxes, anchor)?,
            LayerFormat::Objects(_) | LayerFormat::Several(_) => Vec::new(),
        };
        let in_index = |(id, objects): (&u64, Option<RelatedObjects>)| {
            objects.ok_or_else(|| PointsError::NotInIndex {
                object: self.object(),
                id: *id,
            })
        };
        ids.iter().zip(found).map(in_index).collect()
    }

    /// The first and last end of each of these annotations; `None` if there is none with this id, or if a coordinate is not finite.
    /// `ids` are ascending, each once.
    ///
    /// # Errors
    /// The layer has no index by id.
    pub(crate) fn ends_of(&self, ids: &[u64]) -> Result<Vec<Option<[PointNm; 2]>>, PointsError> {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.ends_of(ids),
            LayerFormat::InMemory(layer) => Ok(layer.ends_of(ids)),
            // No layer of a layer group or of a state is one of these.
            LayerFormat::Table(_) | LayerFormat::Objects(_) | LayerFormat::Several(_) => {
                Ok(vec![None; ids.len()])
            }
        }
    }

    /// What it is read from, for messages.
    pub(crate) fn object(&self) -> String {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.location(),
            LayerFormat::Table(layer) => layer.object(),
            LayerFormat::InMemory(layer) => layer.object().to_owned(),
            LayerFormat::Objects(layer) => layer.object(),
            LayerFormat::Several(layers) => layers.names(),
        }
    }

    fn no_relationship(&self, key: String, name: &str, names: &[String]) -> PointsError {
        let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
        let known = match (&self.format, quoted.is_empty()) {
            (LayerFormat::Table(_), true) => {
                "none: list the columns with ids of objects in `points.table.relationships`"
                    .to_owned()
            }
            (LayerFormat::Objects(_), _) => {
                "none, because objects have no relationships".to_owned()
            }
            (LayerFormat::Several(_), _) => {
                "none, because relationships are those of one layer, not of several".to_owned()
            }
            (_, true) => "none".to_owned(),
            (_, false) => quoted.join(", "),
        };
        PointsError::NoRelationship {
            key,
            name: name.to_owned(),
            object: self.object(),
            known,
            hint: nearest(name, names.iter().map(String::as_str)).map(str::to_owned),
        }
    }

    /// The bounds of all annotations, inside boxes or not: those in the info of a precomputed layer or of a segmentation, otherwise
    /// the bounds of all anchors. `None` if no annotation has a finite position.
    pub fn extent(&self, anchor: Anchor) -> Result<Option<BoxNm>, PointsError> {
        match &self.format {
            LayerFormat::Precomputed(layer) => Ok(layer.extent()),
            LayerFormat::Table(layer) => layer.extent(anchor),
            LayerFormat::InMemory(layer) => Ok(layer.extent(anchor)),
            LayerFormat::Objects(layer) => Ok(layer.extent()),
            LayerFormat::Several(layers) => layers.extent(anchor),
        }
    }

    /// The annotations whose anchor is in each of `boxes`.
    ///
    /// For a precomputed layer, reads only the cells of the spatial index that the boxes need, each once, in parallel.
    pub fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<PointsInBoxes, PointsError> {
        self.read(boxes, anchor, InBox::ByAnchor)
    }

    /// The annotations that touch each of `boxes`: at least those whose anchor, or a point of the line between whose ends, is in it.
    pub(crate) fn read_touching(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<PointsInBoxes, PointsError> {
        self.read(boxes, anchor, InBox::ByBounds)
    }

    /// The annotations in each of `boxes`, as `in_box` says.
    pub(super) fn read(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
        in_box: InBox,
    ) -> Result<PointsInBoxes, PointsError> {
        match &self.format {
            LayerFormat::Precomputed(layer) => layer.read_boxes(boxes, anchor, in_box),
            LayerFormat::Table(layer) => layer.read_boxes(boxes, anchor, in_box),
            LayerFormat::InMemory(layer) => layer.read_boxes(boxes, anchor, in_box),
            LayerFormat::Objects(layer) => layer.read_boxes(boxes),
            LayerFormat::Several(layers) => layers.read_boxes(boxes, anchor, in_box),
        }
    }
}

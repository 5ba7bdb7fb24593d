//! The objects of a sample in an array that shows some: at a point, with an id, with several ids, or under a mask.

use super::object_chunks::ChunksAtPoints;
use super::query_box::{NO_BOX, QueryBoxes};
use super::search::Search;
use super::window::window_box;
use crate::config::{MissingObject, ObjectAt, ObjectIdFrom, ObjectPoint, ObjectSearch};
use crate::extract::Sources;
use crate::plan::{Plan, PlannedSplit};

/// The query which objects a sample has in an array.
pub(super) struct ObjectQuery {
    /// Position of the array in the plan.
    pub array: usize,
    pub missing: MissingObject,
    pub how: FindObject,
}

/// How the object of a sample is found.
pub(super) enum FindObject {
    AtPoint {
        point: ObjectPoint,
        radius_nm: f64,
        chunks: ChunksAtPoints,
    },
    WithId(IdColumn),
    /// The plan has the ids of several.
    Known,
    /// Under the mask of the array at this position in the plan.
    Majority {
        mask: usize,
    },
}

/// What has the ids of the samples' objects.
#[derive(Clone, Copy)]
pub(super) enum IdColumn {
    Annotation,
    /// A property, by its position in the plan.
    Property(usize),
}

impl ObjectQuery {
    /// The query of the array at position `array`.
    pub fn new(plan: &Plan, sources: &Sources, array: usize, at: &ObjectAt) -> Self {
        let how = match at.search() {
            ObjectSearch::AtPoint { point, radius_nm } => FindObject::AtPoint {
                point,
                radius_nm,
                chunks: ChunksAtPoints::new(sources),
            },
            ObjectSearch::WithId(ObjectIdFrom::Annotation) => {
                FindObject::WithId(IdColumn::Annotation)
            }
            ObjectSearch::WithId(_) if at.shows_several() => FindObject::Known,
            ObjectSearch::WithId(ObjectIdFrom::Relationship(_)) => {
                unreachable!("a relationship may have several objects")
            }
            ObjectSearch::WithId(ObjectIdFrom::Property(names)) => {
                let name = names.names().first();
                let column = plan.properties.iter().position(|p| Some(&p.id) == name);
                let Some(column) = column else {
                    unreachable!("a plan has the properties that its config names")
                };
                FindObject::WithId(IdColumn::Property(column))
            }
            ObjectSearch::Majority(name) => {
                let Some(mask) = plan.config.arrays.get_index_of(name) else {
                    unreachable!("a valid config names another array")
                };
                FindObject::Majority { mask }
            }
        };
        Self {
            array,
            missing: at.missing,
            how,
        }
    }

    /// What the query about the `i`th sample of a split reads.
    pub fn reads(
        &self,
        plan: &Plan,
        sources: &Sources,
        split: &PlannedSplit,
        i: usize,
    ) -> QueryBoxes {
        let window = |array| window_box(plan, sources, array, split, i);
        match &self.how {
            FindObject::AtPoint {
                point, radius_nm, ..
            } => {
                let search = Search::new(plan, self.array, *point, *radius_nm, split, i);
                [(search.source(), search.voxels()), NO_BOX]
            }
            FindObject::WithId(_) | FindObject::Known if self.missing == MissingObject::Keep => {
                [NO_BOX; 2]
            }
            FindObject::WithId(_) | FindObject::Known => [window(self.array), NO_BOX],
            FindObject::Majority { mask } => [window(*mask), window(self.array)],
        }
    }
}

impl IdColumn {
    /// The id of the object of the `i`th sample of a split. Negative ids are sign-extended.
    pub fn id(self, plan: &Plan, split: &PlannedSplit, i: usize) -> u64 {
        match self {
            Self::Annotation => split.samples[i].annotation_id,
            Self::Property(column) => split.id_in_property(column, &plan.properties[column], i),
        }
    }
}

//! Merges the records of many files into the annotations of each box.
//!
//! The input is one [`AnnotationBatch`] per file, in a fixed order; the output depends only on the batches and their
//! order. Every id is kept once, and an id with two geometries is an error, even outside all boxes.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use super::annotation::{Annotation, InBox};
use super::position::AnnotationPosition;
use crate::geometry::{BoxNm, PointNm};

/// An index that finds the boxes that have an annotation.
#[derive(Debug)]
pub(super) struct BoxIndex<'a> {
    boxes: &'a [BoxNm],
    in_box: InBox,
    tree: RTree<GeomWithData<Rectangle<[f64; 3]>, usize>>,
}

impl<'a> BoxIndex<'a> {
    pub(super) fn new(boxes: &'a [BoxNm], in_box: InBox) -> Self {
        let entries = boxes
            .iter()
            .enumerate()
            .map(|(i, b)| GeomWithData::new(Rectangle::from_corners(b.min(), b.max()), i));
        Self {
            boxes,
            in_box,
            tree: RTree::bulk_load(entries.collect()),
        }
    }

    /// Which annotations a box has.
    pub(super) fn in_box(&self) -> InBox {
        self.in_box
    }

    /// The number of boxes.
    pub(super) fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether a box has an annotation with this position.
    pub(super) fn has(&self, position: &AnnotationPosition) -> bool {
        self.having(position).next().is_some()
    }

    /// The boxes that have an annotation with this position, in no particular order.
    fn having(&self, position: &AnnotationPosition) -> impl Iterator<Item = usize> {
        let (by_anchor, by_bounds) = match self.in_box {
            InBox::ByAnchor => (Some(self.containing(&position.anchor)), None),
            InBox::ByBounds => {
                let [start, end] = position.ends;
                let bounds = AABB::from_points(&[position.anchor.0, start.0, end.0]);
                (
                    None,
                    Some(self.tree.locate_in_envelope_intersecting(bounds)),
                )
            }
        };
        let touched = by_bounds.into_iter().flatten().map(|entry| entry.data);
        by_anchor.into_iter().flatten().chain(touched)
    }

    /// Whether a box and the region from `low` to `high` have a point in common, faces included.
    pub(super) fn is_near(&self, low: [f64; 3], high: [f64; 3]) -> bool {
        let region = AABB::from_corners(low, high);
        let mut near = self.tree.locate_in_envelope_intersecting(region);
        near.next().is_some()
    }

    /// The boxes that contain `point`, in no particular order. The tree includes upper faces, which boxes do not.
    fn containing<'p>(&self, point: &'p PointNm) -> impl Iterator<Item = usize> + use<'_, 'a, 'p> {
        self.tree
            .locate_all_at_point(point.0)
            .map(|entry| entry.data)
            .filter(|i| self.boxes[*i].contains(point))
    }

    /// The annotation with the boxes that contain it; `None` if there are none.
    pub(super) fn place(
        &self,
        id: u64,
        position: &AnnotationPosition,
        properties: &[u8],
    ) -> Option<BoxedAnnotation> {
        let mut boxes = self.having(position);
        let first_box = boxes.next()?;
        Some(BoxedAnnotation {
            annotation: Annotation {
                id,
                anchor: position.anchor,
                ends: position.ends,
                properties: properties.into(),
            },
            first_box,
            more_boxes: boxes.collect(),
        })
    }
}

/// The records of one file.
#[derive(Debug, Default)]
pub(super) struct AnnotationBatch {
    /// Every record with a finite position.
    pub(super) seen: Vec<RecordKey>,
    /// The annotations that are in a box.
    pub(super) in_boxes: Vec<BoxedAnnotation>,
    /// Ids of records without a finite position.
    pub(super) not_finite: Vec<u64>,
}

/// A record's id, and a digest of its geometry as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordKey {
    pub(super) id: u64,
    pub(super) geometry: u64,
}

/// An annotation and the boxes that it is in: at least one.
#[derive(Debug)]
pub(super) struct BoxedAnnotation {
    pub(super) annotation: Annotation,
    pub(super) first_box: usize,
    pub(super) more_boxes: Vec<usize>,
}

impl BoxedAnnotation {
    /// Half of its maximum memory: while batches are merged it exists twice, in addition to its place in the sorted list.
    pub(super) fn memory_bytes(&self) -> u64 {
        let annotation = size_of::<Annotation>() + self.annotation.properties.len();
        let more = self.more_boxes.len() * (annotation + size_of::<usize>());
        (size_of::<Self>() + self.annotation.properties.len() + more) as u64 + ALLOCATION_BYTES
    }
}

/// Overhead of the allocations of an annotation, and of the growth of its list.
const ALLOCATION_BYTES: u64 = 64;

/// Half of the maximum memory of a record in [`AnnotationBatch::seen`] or [`AnnotationBatch::not_finite`].
pub(super) const RECORD_BYTES: u64 = size_of::<(RecordKey, usize)>() as u64;

/// The merged batches.
#[derive(Debug, Default)]
pub(super) struct MergedBatches {
    pub(super) per_box: Vec<Vec<Annotation>>,
    /// Different ids with a finite position.
    pub(super) distinct: u64,
    /// Records after the first of an id.
    pub(super) repeated: u64,
    /// Ids in boxes whose records have different properties; the first record was kept.
    pub(super) differing_properties: Vec<u64>,
    /// Ids without a finite position, each with its batch.
    pub(super) not_finite: BTreeMap<u64, usize>,
}

/// An id has two geometries, in two batches or twice in the same batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GeometryConflict {
    pub(super) id: u64,
    pub(super) batches: [usize; 2],
}

/// Merges `batches`. The error is the lowest id with two geometries.
pub(super) fn merge_batches(
    mut batches: Vec<AnnotationBatch>,
    box_count: usize,
) -> Result<MergedBatches, GeometryConflict> {
    let mut merged = MergedBatches::default();
    count_ids(&mut batches, &mut merged)?;
    for (i, batch) in batches.iter().enumerate() {
        for id in &batch.not_finite {
            merged.not_finite.entry(*id).or_insert(i);
        }
    }
    // Annotations are large, so their positions are sorted instead. The first record of an id comes first.
    let mut order: Vec<(u64, usize, usize)> =
        Vec::with_capacity(batches.iter().map(|batch| batch.in_boxes.len()).sum());
    for (i, batch) in batches.iter().enumerate() {
        let annotations = batch.in_boxes.iter().enumerate();
        order.extend(annotations.map(|(j, boxed)| (boxed.annotation.id, i, j)));
    }
    order.par_sort_unstable();
    let same_id = |a: &(u64, usize, usize), b: &(u64, usize, usize)| a.0 == b.0;
    let first_records = order
        .chunk_by(same_id)
        .map(|records| &batches[records[0].1].in_boxes[records[0].2]);
    merged.per_box = empty_lists(first_records, box_count);
    for records in order.chunk_by(same_id) {
        let (id, i, j) = records[0];
        let properties =
            |(_, i, j): &(u64, usize, usize)| &batches[*i].in_boxes[*j].annotation.properties;
        if records
            .iter()
            .any(|r| properties(r) != properties(&records[0]))
        {
            merged.differing_properties.push(id);
        }
        let boxed = &mut batches[i].in_boxes[j];
        for b in &boxed.more_boxes {
            merged.per_box[*b].push(boxed.annotation.clone());
        }
        merged.per_box[boxed.first_box].push(Annotation {
            properties: std::mem::take(&mut boxed.annotation.properties),
            ..boxed.annotation
        });
    }
    Ok(merged)
}

/// An empty list per box, with the capacity for its annotations.
fn empty_lists<'a>(
    annotations: impl Iterator<Item = &'a BoxedAnnotation>,
    box_count: usize,
) -> Vec<Vec<Annotation>> {
    let mut counts = vec![0; box_count];
    for boxed in annotations {
        counts[boxed.first_box] += 1;
        for b in &boxed.more_boxes {
            counts[*b] += 1;
        }
    }
    counts.into_iter().map(Vec::with_capacity).collect()
}

/// Counts ids and finds conflicts. Moves `seen` out of the batches.
fn count_ids(
    batches: &mut [AnnotationBatch],
    merged: &mut MergedBatches,
) -> Result<(), GeometryConflict> {
    let mut seen: Vec<(RecordKey, usize)> =
        Vec::with_capacity(batches.iter().map(|batch| batch.seen.len()).sum());
    for (i, batch) in batches.iter_mut().enumerate() {
        seen.extend(
            std::mem::take(&mut batch.seen)
                .into_iter()
                .map(|seen| (seen, i)),
        );
    }
    seen.par_sort_unstable();
    for pair in seen.windows(2) {
        let [(a, in_a), (b, in_b)] = pair else {
            continue;
        };
        if a.id == b.id {
            merged.repeated += 1;
            if a.geometry != b.geometry {
                return Err(GeometryConflict {
                    id: a.id,
                    batches: [*in_a.min(in_b), *in_a.max(in_b)],
                });
            }
        }
    }
    merged.distinct = seen.len() as u64 - merged.repeated;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_box(min: [f64; 3], max: [f64; 3]) -> BoxNm {
        BoxNm::from_corners(PointNm(min), PointNm(max)).unwrap()
    }

    fn boxed(id: u64, boxes: &[usize], properties: &[u8]) -> BoxedAnnotation {
        let p = PointNm([0.0; 3]);
        BoxedAnnotation {
            annotation: Annotation {
                id,
                anchor: p,
                ends: [p, p],
                properties: properties.into(),
            },
            first_box: boxes[0],
            more_boxes: boxes[1..].to_vec(),
        }
    }

    fn batch(in_boxes: Vec<BoxedAnnotation>) -> AnnotationBatch {
        let seen = in_boxes.iter().map(|boxed| RecordKey {
            id: boxed.annotation.id,
            geometry: 7,
        });
        AnnotationBatch {
            seen: seen.collect(),
            in_boxes,
            not_finite: Vec::new(),
        }
    }

    #[test]
    fn each_id_is_kept_once_per_box_in_order_of_ids() {
        let batches = vec![
            batch(vec![boxed(u64::MAX, &[0], &[]), boxed(5, &[0, 2], &[1])]),
            batch(vec![boxed(5, &[0, 2], &[1]), boxed(3, &[0], &[])]),
        ];
        let merged = merge_batches(batches, 3).unwrap();
        let ids = |i: usize| merged.per_box[i].iter().map(|a| a.id).collect::<Vec<_>>();
        assert_eq!(
            (ids(0), ids(1), ids(2)),
            (vec![3, 5, u64::MAX], vec![], vec![5])
        );
        assert_eq!((merged.distinct, merged.repeated), (3, 1));
        assert!(merged.differing_properties.is_empty());
    }

    #[test]
    fn an_id_with_different_properties_is_reported() {
        let batches = vec![
            batch(vec![boxed(5, &[0], &[1])]),
            batch(vec![boxed(5, &[0], &[2])]),
        ];
        let merged = merge_batches(batches, 1).unwrap();
        assert_eq!(merged.differing_properties, [5]);
        assert_eq!(*merged.per_box[0][0].properties, [1]);
    }

    #[test]
    fn two_geometries_with_one_id_are_a_conflict_even_outside_all_boxes() {
        let mut batches = vec![
            batch(vec![]),
            batch(vec![boxed(5, &[0], &[])]),
            batch(vec![]),
        ];
        batches[2].seen.push(RecordKey { id: 5, geometry: 8 });
        let conflict = merge_batches(batches, 1).unwrap_err();
        assert_eq!(
            conflict,
            GeometryConflict {
                id: 5,
                batches: [1, 2]
            }
        );
    }

    proptest! {
        #[test]
        fn the_index_finds_the_same_boxes_as_a_search_of_all(
            corners in prop::collection::vec((prop::array::uniform3(-5i8..5), prop::array::uniform3(-5i8..5)), 0..60),
            points in prop::collection::vec(prop::array::uniform3(-6i8..6), 1..30),
        ) {
            let boxes: Vec<_> =
                corners.iter().map(|(a, b)| a_box(a.map(f64::from), b.map(f64::from))).collect();
            let index = BoxIndex::new(&boxes, InBox::ByAnchor);
            for p in points {
                let p = PointNm(p.map(f64::from));
                let mut found: Vec<_> = index.containing(&p).collect();
                found.sort_unstable();
                let all: Vec<_> = (0..boxes.len()).filter(|i| boxes[*i].contains(&p)).collect();
                prop_assert_eq!(found, all);
            }
        }
    }
}

//! From the records of many files to the annotations of each box.
//!
//! Sources hand over one [`Batch`] per file, in a fixed order; what comes out depends on that order and on
//! nothing else. Every id is kept once, and an id with two geometries is found wherever its records lie.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rstar::RTree;
use rstar::primitives::{GeomWithData, Rectangle};

use super::Annotation;
use crate::geometry::{BoxNm, PointNm};

/// Finds the boxes that hold a point, out of any number of boxes.
pub(super) struct BoxIndex<'a> {
    boxes: &'a [BoxNm],
    tree: RTree<GeomWithData<Rectangle<[f64; 3]>, usize>>,
}

impl<'a> BoxIndex<'a> {
    pub(super) fn new(boxes: &'a [BoxNm]) -> Self {
        let entries = boxes
            .iter()
            .enumerate()
            .map(|(i, b)| GeomWithData::new(Rectangle::from_corners(b.min(), b.max()), i));
        Self {
            boxes,
            tree: RTree::bulk_load(entries.collect()),
        }
    }

    /// How many boxes there are.
    pub(super) fn len(&self) -> usize {
        self.boxes.len()
    }

    /// The boxes that hold `point`, in no order. The tree counts upper faces as inside; the box decides.
    pub(super) fn containing(&self, point: &PointNm) -> impl Iterator<Item = usize> {
        self.tree
            .locate_all_at_point(point.0)
            .map(|entry| entry.data)
            .filter(|i| self.boxes[*i].contains(point))
    }
}

/// What one file holds.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Every record with a finite position.
    pub(super) seen: Vec<Seen>,
    /// Those of them that lie in a box.
    pub(super) hits: Vec<Hit>,
    /// Ids of records without a finite position.
    pub(super) not_finite: Vec<u64>,
}

/// A record's id, and a digest of its geometry as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) id: u64,
    pub(super) geometry: u64,
}

/// An annotation, and the boxes that it lies in: at least one.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) annotation: Annotation,
    pub(super) first_box: usize,
    pub(super) more_boxes: Vec<usize>,
}

impl Hit {
    /// Half of the memory that it takes at most: while batches become the lists of boxes, it is there twice, and
    /// its place is sorted.
    pub(super) fn memory_bytes(&self) -> u64 {
        let annotation = size_of::<Annotation>() + self.annotation.properties.len();
        let more = self.more_boxes.len() * (annotation + size_of::<usize>());
        (size_of::<Self>() + self.annotation.properties.len() + more) as u64 + HIT_OVERHEAD_BYTES
    }
}

/// What allocating a hit's parts takes, and the growth of the list that it is in.
const HIT_OVERHEAD_BYTES: u64 = 64;

/// Half of the memory that a record's id takes at most, be it in [`Batch::seen`] or in [`Batch::not_finite`].
pub(super) const RECORD_BYTES: u64 = size_of::<(Seen, usize)>() as u64;

/// All batches as one.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) per_box: Vec<Vec<Annotation>>,
    /// Different ids with a finite position.
    pub(super) distinct: u64,
    /// Records beyond the first of an id.
    pub(super) repeated: u64,
    /// Ids in boxes whose records do not have the same properties; the first record was kept.
    pub(super) differing_properties: Vec<u64>,
    /// Ids without a finite position, each with the batch that holds it.
    pub(super) not_finite: BTreeMap<u64, usize>,
}

/// Two batches (or one, twice) give one id two geometries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) id: u64,
    pub(super) batches: [usize; 2],
}

/// Merges `batches`, the lowest conflicting id being the error.
pub(super) fn gather(mut batches: Vec<Batch>, box_count: usize) -> Result<Gathered, Conflict> {
    let mut gathered = Gathered::default();
    count_ids(&mut batches, &mut gathered)?;
    for (i, batch) in batches.iter().enumerate() {
        for id in &batch.not_finite {
            gathered.not_finite.entry(*id).or_insert(i);
        }
    }
    // Annotations are large: what is sorted is where they are. Of one id the first record comes first.
    let mut order: Vec<(u64, usize, usize)> =
        Vec::with_capacity(batches.iter().map(|batch| batch.hits.len()).sum());
    for (i, batch) in batches.iter().enumerate() {
        let hits = batch.hits.iter().enumerate();
        order.extend(hits.map(|(j, hit)| (hit.annotation.id, i, j)));
    }
    order.par_sort_unstable();
    let same_id = |a: &(u64, usize, usize), b: &(u64, usize, usize)| a.0 == b.0;
    let first_hits = order
        .chunk_by(same_id)
        .map(|records| &batches[records[0].1].hits[records[0].2]);
    gathered.per_box = room_for(first_hits, box_count);
    for records in order.chunk_by(same_id) {
        let (id, i, j) = records[0];
        let properties =
            |(_, i, j): &(u64, usize, usize)| &batches[*i].hits[*j].annotation.properties;
        if records
            .iter()
            .any(|r| properties(r) != properties(&records[0]))
        {
            gathered.differing_properties.push(id);
        }
        let hit = &mut batches[i].hits[j];
        for b in &hit.more_boxes {
            gathered.per_box[*b].push(hit.annotation.clone());
        }
        gathered.per_box[hit.first_box].push(Annotation {
            properties: std::mem::take(&mut hit.annotation.properties),
            ..hit.annotation
        });
    }
    Ok(gathered)
}

/// An empty list per box, with room for what of `hits` lies in it.
fn room_for<'a>(hits: impl Iterator<Item = &'a Hit>, box_count: usize) -> Vec<Vec<Annotation>> {
    let mut counts = vec![0; box_count];
    for hit in hits {
        counts[hit.first_box] += 1;
        for b in &hit.more_boxes {
            counts[*b] += 1;
        }
    }
    counts.into_iter().map(Vec::with_capacity).collect()
}

/// Counts ids and finds conflicts; takes `seen` out of the batches.
fn count_ids(batches: &mut [Batch], gathered: &mut Gathered) -> Result<(), Conflict> {
    let mut seen: Vec<(Seen, usize)> =
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
            gathered.repeated += 1;
            if a.geometry != b.geometry {
                return Err(Conflict {
                    id: a.id,
                    batches: [*in_a.min(in_b), *in_a.max(in_b)],
                });
            }
        }
    }
    gathered.distinct = seen.len() as u64 - gathered.repeated;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_box(min: [f64; 3], max: [f64; 3]) -> BoxNm {
        BoxNm::from_corners(PointNm(min), PointNm(max)).unwrap()
    }

    fn hit(id: u64, boxes: &[usize], properties: &[u8]) -> Hit {
        let p = PointNm([0.0; 3]);
        Hit {
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

    fn batch(hits: Vec<Hit>) -> Batch {
        let seen = hits.iter().map(|h| Seen {
            id: h.annotation.id,
            geometry: 7,
        });
        Batch {
            seen: seen.collect(),
            hits,
            not_finite: Vec::new(),
        }
    }

    #[test]
    fn each_id_is_kept_once_per_box_in_order_of_ids() {
        let batches = vec![
            batch(vec![hit(u64::MAX, &[0], &[]), hit(5, &[0, 2], &[1])]),
            batch(vec![hit(5, &[0, 2], &[1]), hit(3, &[0], &[])]),
        ];
        let gathered = gather(batches, 3).unwrap();
        let ids = |i: usize| gathered.per_box[i].iter().map(|a| a.id).collect::<Vec<_>>();
        assert_eq!(
            (ids(0), ids(1), ids(2)),
            (vec![3, 5, u64::MAX], vec![], vec![5])
        );
        assert_eq!((gathered.distinct, gathered.repeated), (3, 1));
        assert!(gathered.differing_properties.is_empty());
    }

    #[test]
    fn records_of_one_id_with_different_properties_are_told() {
        let batches = vec![
            batch(vec![hit(5, &[0], &[1])]),
            batch(vec![hit(5, &[0], &[2])]),
        ];
        let gathered = gather(batches, 1).unwrap();
        assert_eq!(gathered.differing_properties, [5]);
        assert_eq!(*gathered.per_box[0][0].properties, [1]);
    }

    #[test]
    fn two_geometries_under_one_id_are_a_conflict_even_outside_all_boxes() {
        let mut batches = vec![batch(vec![]), batch(vec![hit(5, &[0], &[])]), batch(vec![])];
        batches[2].seen.push(Seen { id: 5, geometry: 8 });
        let conflict = gather(batches, 1).unwrap_err();
        assert_eq!(
            conflict,
            Conflict {
                id: 5,
                batches: [1, 2]
            }
        );
    }

    proptest! {
        #[test]
        fn the_index_finds_the_boxes_that_a_search_of_all_finds(
            corners in prop::collection::vec((prop::array::uniform3(-5i8..5), prop::array::uniform3(-5i8..5)), 0..60),
            points in prop::collection::vec(prop::array::uniform3(-6i8..6), 1..30),
        ) {
            let boxes: Vec<_> =
                corners.iter().map(|(a, b)| a_box(a.map(f64::from), b.map(f64::from))).collect();
            let index = BoxIndex::new(&boxes);
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

//! Leaks: windows of different splits that share voxels of one layer.

use std::fmt;

use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use super::Plan;

/// What two splits share.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// Pairs of windows that share voxels.
    pub pairs: u64,
    /// The first few: (split, annotation id) twice.
    pub examples: Vec<[(String, u64); 2]>,
}

const EXAMPLES: usize = 3;

type Indexed = GeomWithData<Rectangle<[i64; 3]>, (usize, usize)>;

/// The pairs of windows of different splits that share voxels of a source, if there are any.
pub(super) fn find(plan: &Plan) -> Option<Leak> {
    let mut leak = Leak {
        pairs: 0,
        examples: Vec::new(),
    };
    let trees: Vec<RTree<Indexed>> = plan
        .splits
        .iter()
        .enumerate()
        .map(|(split, s)| {
            let windows = (0..s.samples.len()).map(|i| indexed(plan, split, i));
            RTree::bulk_load(windows.collect())
        })
        .collect();
    for (a, split) in plan.splits.iter().enumerate() {
        for (i, sample) in split.samples.iter().enumerate() {
            for (b, tree) in trees.iter().enumerate().skip(a + 1) {
                for other in tree.locate_in_envelope_intersecting(envelope(plan, a, i)) {
                    let found = &plan.splits[b].samples[other.data.1];
                    if !share_a_source(plan, sample.box_index, found.box_index) {
                        continue;
                    }
                    leak.pairs += 1;
                    if leak.examples.len() < EXAMPLES {
                        leak.examples.push([
                            (split.name.clone(), sample.annotation_id),
                            (plan.splits[b].name.clone(), found.annotation_id),
                        ]);
                    }
                }
            }
        }
    }
    (leak.pairs > 0).then_some(leak)
}

/// The window as an envelope of whole voxels: the last one included, because envelopes hold their faces.
fn envelope(plan: &Plan, split: usize, i: usize) -> AABB<[i64; 3]> {
    let window = plan.window_of(0, &plan.splits[split].samples[i]);
    AABB::from_corners(window.start, window.end.map(|e| e - 1))
}

fn indexed(plan: &Plan, split: usize, i: usize) -> Indexed {
    GeomWithData::new(Rectangle::from_aabb(envelope(plan, split, i)), (split, i))
}

/// Whether any array of the two boxes is cut out of one volume.
fn share_a_source(plan: &Plan, a: u32, b: u32) -> bool {
    let (a, b) = (plan.boxes[a as usize].group, plan.boxes[b as usize].group);
    plan.arrays.iter().any(|array| {
        let source = array.source_of_group[a];
        plan.arrays
            .iter()
            .any(|other| other.source_of_group[b] == source)
    })
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pair(s) of windows of different splits share voxels",
            self.pairs
        )?;
        for (i, [(split_a, a), (split_b, b)]) in self.examples.iter().enumerate() {
            let lead = if i == 0 { ", for example" } else { "," };
            write!(f, "{lead} {split_a} {a} and {split_b} {b}")?;
        }
        Ok(())
    }
}

//! An index of the distinct windows of each split, which finds windows of another split that share voxels.
//!
//! A layer is identified by its location. In each layer a window covers the boxes, in nm, of the arrays that are cut from
//! it. Boxes are shrunk by a hundredth of a voxel in total, so that touching faces share nothing.

use rayon::prelude::*;
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use super::super::table::{Plan, Sample};
use super::layers::Layers;
use crate::geometry::BoxNm;

type Tree = RTree<GeomWithData<Rectangle<[f64; 3]>, u32>>;

/// The windows of all splits, and R-trees of those of some splits.
pub(super) struct WindowIndex {
    layers: Layers,
    splits: Vec<SplitWindows>,
    /// By split and layer; `None` if the split is not indexed or has no window in the layer.
    trees: Vec<Vec<Option<Tree>>>,
}

/// The windows of a split.
struct SplitWindows {
    /// The distinct windows, in the order of the first sample with each.
    windows: Vec<DistinctWindow>,
    /// The boxes in nm of each window: one for each shape of its class.
    boxes: Vec<BoxNm>,
    /// The samples of each window.
    samples: Vec<u32>,
}

/// A window, which one or more samples have.
#[derive(Clone, Copy)]
struct DistinctWindow {
    /// The class of its layer group.
    class: u32,
    /// The position of its first box in [`SplitWindows::boxes`].
    boxes: u32,
    /// The range of its samples in [`SplitWindows::samples`].
    samples: [u32; 2],
}

impl WindowIndex {
    /// The windows of all splits; the splits in `looked_up` are indexed.
    pub(super) fn new(plan: &Plan, looked_up: &[usize]) -> Self {
        let layers = Layers::new(plan);
        let split = |s: usize| SplitWindows::new(plan, &layers, s);
        let splits: Vec<_> = (0..plan.splits.len()).into_par_iter().map(split).collect();
        let tree_of = |split: usize, looked_up: bool| {
            let mut entries = vec![Vec::new(); layers.count()];
            for (i, window) in splits[split]
                .windows
                .iter()
                .enumerate()
                .filter(|_| looked_up)
            {
                for (layer, shapes) in layers.of_class(window.class as usize) {
                    let bounds = envelope(&splits[split], window, &layers, shapes);
                    let bounds = Rectangle::from_corners(bounds.lower(), bounds.upper());
                    entries[*layer].push(GeomWithData::new(bounds, i as u32));
                }
            }
            let tree = |e: Vec<_>| (!e.is_empty()).then(|| RTree::bulk_load(e));
            entries.into_par_iter().map(tree).collect()
        };
        let trees = (0..splits.len())
            .into_par_iter()
            .map(|s| tree_of(s, looked_up.contains(&s)))
            .collect();
        Self {
            layers,
            splits,
            trees,
        }
    }

    /// The number of distinct windows in a split.
    pub(super) fn windows_in(&self, split: usize) -> usize {
        self.splits[split].windows.len()
    }

    /// Calls `visit` for every window of the split `b` that shares voxels with the window of the split `a`. The arguments
    /// are the first samples of both, the number of pairs of samples, and the shared part of the smaller window.
    pub(super) fn for_each_overlap(
        &self,
        a: usize,
        window: usize,
        b: usize,
        mut visit: impl FnMut([usize; 2], u64, f64),
    ) {
        let of_a = &self.splits[a].windows[window];
        for (layer, shapes) in self.layers.of_class(of_a.class as usize) {
            let Some(tree) = &self.trees[b][*layer] else {
                continue;
            };
            let around = envelope(&self.splits[a], of_a, &self.layers, shapes);
            for entry in tree.locate_in_envelope_intersecting(around) {
                let of_b = &self.splits[b].windows[entry.data as usize];
                // The pair is found once per shared layer; it counts in the first.
                match self.shared([a, b], [of_a, of_b]) {
                    Some((first, shared)) if first == *layer => visit(
                        [self.splits[a].first(of_a), self.splits[b].first(of_b)],
                        of_a.count() * of_b.count(),
                        shared,
                    ),
                    _ => {}
                }
            }
        }
    }

    /// For each sample of the split `from`: whether its window shares voxels with a window of `others`.
    pub(super) fn leaking_samples(&self, from: usize, others: &[usize]) -> Vec<bool> {
        let leaks = |window: &DistinctWindow| {
            let mut layers = self.layers.of_class(window.class as usize).iter();
            layers.any(|(layer, shapes)| {
                let around = envelope(&self.splits[from], window, &self.layers, shapes);
                others.iter().any(|b| {
                    let tree = self.trees[*b][*layer].iter();
                    let mut near = tree.flat_map(|t| t.locate_in_envelope_intersecting(around));
                    near.any(|entry| {
                        let other = &self.splits[*b].windows[entry.data as usize];
                        self.shared([from, *b], [window, other]).is_some()
                    })
                })
            })
        };
        let split = &self.splits[from];
        let leaking: Vec<bool> = split.windows.par_iter().map(leaks).collect();
        let mut of_samples = vec![false; split.samples.len()];
        for (window, _) in split
            .windows
            .iter()
            .zip(leaking)
            .filter(|(_, leaks)| *leaks)
        {
            for sample in split.samples_of(window) {
                of_samples[*sample as usize] = true;
            }
        }
        of_samples
    }

    /// The first layer in which two windows share voxels, and the largest share of the smaller window's volume.
    fn shared(&self, splits: [usize; 2], windows: [&DistinctWindow; 2]) -> Option<(usize, f64)> {
        let [a, b] = windows.map(|w| self.layers.of_class(w.class as usize));
        let (mut i, mut j) = (0, 0);
        let mut found: Option<(usize, f64)> = None;
        while let (Some((layer_a, shapes_a)), Some((layer_b, shapes_b))) = (a.get(i), b.get(j)) {
            if layer_a == layer_b {
                for shape_a in shapes_a {
                    for shape_b in shapes_b {
                        let share = self.share(splits, windows, [*shape_a, *shape_b]);
                        let (first, most) = found.unwrap_or((*layer_a, 0.0));
                        found = share.map(|s| (first, most.max(s))).or(found);
                    }
                }
            }
            i += usize::from(layer_a <= layer_b);
            j += usize::from(layer_b <= layer_a);
        }
        found
    }

    /// The intersection of two boxes as a share of the smaller one; `None` if they do not intersect.
    fn share(
        &self,
        splits: [usize; 2],
        windows: [&DistinctWindow; 2],
        shapes: [usize; 2],
    ) -> Option<f64> {
        let of = |i: usize| {
            let nm = &self.splits[splits[i]].boxes[windows[i].boxes as usize + shapes[i]];
            let margin = self.layers.margin_nm(windows[i].class as usize, shapes[i]);
            (nm.min(), nm.max(), margin)
        };
        let ((min_a, max_a, margin_a), (min_b, max_b, margin_b)) = (of(0), of(1));
        let mut share = [1.0; 3];
        let (mut volume_a, mut volume_b) = (1.0, 1.0);
        for d in 0..3 {
            let common = max_a[d].min(max_b[d]) - min_a[d].max(min_b[d]);
            if common <= margin_a[d] + margin_b[d] {
                return None;
            }
            share[d] = common;
            volume_a *= max_a[d] - min_a[d];
            volume_b *= max_b[d] - min_b[d];
        }
        Some(share.iter().product::<f64>() / volume_a.min(volume_b))
    }
}

/// The bounds of the boxes that a window covers in a layer, each shrunk by its margin.
fn envelope(
    split: &SplitWindows,
    window: &DistinctWindow,
    layers: &Layers,
    shapes: &[usize],
) -> AABB<[f64; 3]> {
    let (mut min, mut max) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for shape in shapes {
        let nm = &split.boxes[window.boxes as usize + shape];
        let margin = layers.margin_nm(window.class as usize, *shape);
        for d in 0..3 {
            min[d] = min[d].min(nm.min()[d] + margin[d]);
            max[d] = max[d].max(nm.max()[d] - margin[d]);
        }
    }
    AABB::from_corners(min, max)
}

impl SplitWindows {
    fn new(plan: &Plan, layers: &Layers, split: usize) -> Self {
        let all = &plan.splits[split].samples;
        // Samples with equal classes and first voxels have the same window.
        let class = |sample: &Sample| layers.class_of(plan.boxes[sample.box_index as usize].group);
        let arrays: Vec<usize> = layers.arrays().collect();
        let starts: Vec<[i64; 3]> = all
            .par_iter()
            .flat_map_iter(|s| arrays.iter().map(|a| plan.window_of(*a, s).start))
            .collect();
        let key = |i: &u32| {
            let i = *i as usize;
            let starts = &starts[i * arrays.len()..(i + 1) * arrays.len()];
            (class(&all[i]) as u32, starts)
        };
        let mut samples: Vec<u32> = (0..all.len() as u32).collect();
        samples.par_sort_unstable_by(|i, j| key(i).cmp(&key(j)).then(i.cmp(j)));
        let same = |i: &u32, j: &u32| key(i) == key(j);
        let mut windows = Vec::new();
        let mut end = 0;
        for equal in samples.chunk_by(same) {
            let start = end;
            end += equal.len() as u32;
            let class = key(&equal[0]).0;
            windows.push(DistinctWindow {
                class,
                boxes: 0,
                samples: [start, end],
            });
        }
        windows.par_sort_unstable_by_key(|w| samples[w.samples[0] as usize]);
        let mut boxes = Vec::new();
        for window in &mut windows {
            window.boxes = boxes.len() as u32;
            let sample = &all[samples[window.samples[0] as usize] as usize];
            boxes.extend(layers.boxes_nm(plan, window.class as usize, sample));
        }
        Self {
            windows,
            boxes,
            samples,
        }
    }

    fn samples_of(&self, window: &DistinctWindow) -> &[u32] {
        let [start, end] = window.samples;
        &self.samples[start as usize..end as usize]
    }

    /// The first sample with the window.
    fn first(&self, window: &DistinctWindow) -> usize {
        self.samples[window.samples[0] as usize] as usize
    }
}

impl DistinctWindow {
    /// The number of samples with this window.
    fn count(&self) -> u64 {
        u64::from(self.samples[1] - self.samples[0])
    }
}

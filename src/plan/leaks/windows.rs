//! The different windows of each split, and those of another split that share voxels with one.
//!
//! A layer is known by the place where it lies. A window covers, of each layer, the boxes in nm of the arrays that are
//! cut out of it; boxes are drawn in by a hundredth of a voxel in all, so that faces that touch share nothing.

use rayon::prelude::*;
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use super::super::{Plan, Sample};
use super::layers::Layers;
use crate::geometry::BoxNm;

type Tree = RTree<GeomWithData<Rectangle<[f64; 3]>, u32>>;

/// All windows, and trees of those of some splits.
pub(super) struct Windows {
    layers: Layers,
    splits: Vec<SplitWindows>,
    /// By split and layer.
    trees: Vec<Vec<Option<Tree>>>,
}

/// The windows of a split.
struct SplitWindows {
    /// Those that differ, in the order of the first sample that has each.
    windows: Vec<Window>,
    /// The boxes in nm of every window: one for each shape of its class.
    boxes: Vec<BoxNm>,
    /// The samples of every window.
    samples: Vec<u32>,
}

/// A window that some samples have.
#[derive(Clone, Copy)]
struct Window {
    /// Of its layer group.
    class: u32,
    /// The first of its boxes.
    boxes: u32,
    /// The first of its samples, in [`SplitWindows::samples`], and one past the last.
    samples: [u32; 2],
}

impl Windows {
    /// The windows of all splits, those of `looked_up` ready to be found.
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
                    let hull = hull(&splits[split], window, &layers, shapes);
                    let hull = Rectangle::from_corners(hull.lower(), hull.upper());
                    entries[*layer].push(GeomWithData::new(hull, i as u32));
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

    /// How many different windows a split has.
    pub(super) fn of_split(&self, split: usize) -> usize {
        self.splits[split].windows.len()
    }

    /// Calls `found` with every window of the split `b` that shares voxels with that of `a`: the first samples that
    /// have each, how many pairs of samples that is, and which share of the smaller window they have in common.
    pub(super) fn shared_with(
        &self,
        a: usize,
        window: usize,
        b: usize,
        mut found: impl FnMut([usize; 2], u64, f64),
    ) {
        let of_a = &self.splits[a].windows[window];
        for (layer, shapes) in self.layers.of_class(of_a.class as usize) {
            let Some(tree) = &self.trees[b][*layer] else {
                continue;
            };
            let around = hull(&self.splits[a], of_a, &self.layers, shapes);
            for entry in tree.locate_in_envelope_intersecting(around) {
                let of_b = &self.splits[b].windows[entry.data as usize];
                // Found once for every layer that they share: it counts with the first.
                match self.shared([a, b], [of_a, of_b]) {
                    Some((first, shared)) if first == *layer => found(
                        [self.splits[a].first(of_a), self.splits[b].first(of_b)],
                        of_a.count() * of_b.count(),
                        shared,
                    ),
                    _ => {}
                }
            }
        }
    }

    /// For each sample of the split `from` whether its window shares voxels with one of `others`.
    pub(super) fn leaking(&self, from: usize, others: &[usize]) -> Vec<bool> {
        let leaks = |window: &Window| {
            let mut layers = self.layers.of_class(window.class as usize).iter();
            layers.any(|(layer, shapes)| {
                let around = hull(&self.splits[from], window, &self.layers, shapes);
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

    /// The first layer of which two windows share voxels, and the largest share of the smaller one's volume.
    fn shared(&self, splits: [usize; 2], windows: [&Window; 2]) -> Option<(usize, f64)> {
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

    /// The share of the smaller box that two boxes have in common, if any.
    fn share(&self, splits: [usize; 2], windows: [&Window; 2], shapes: [usize; 2]) -> Option<f64> {
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

/// The box around those that a window covers of a layer, each drawn in by its margin.
fn hull(
    split: &SplitWindows,
    window: &Window,
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
        // Class and first voxels of every sample: what is equal in these is the same window.
        let class = |sample: &Sample| layers.class_of(plan.boxes[sample.box_index as usize].group);
        let arrays: Vec<usize> = layers.arrays().collect();
        let starts: Vec<[i64; 3]> = all
            .par_iter()
            .flat_map_iter(|s| arrays.iter().map(|a| plan.window_of(*a, s).start))
            .collect();
        let place = |i: &u32| {
            let i = *i as usize;
            let starts = &starts[i * arrays.len()..(i + 1) * arrays.len()];
            (class(&all[i]) as u32, starts)
        };
        let mut samples: Vec<u32> = (0..all.len() as u32).collect();
        samples.par_sort_unstable_by(|i, j| place(i).cmp(&place(j)).then(i.cmp(j)));
        let same = |i: &u32, j: &u32| place(i) == place(j);
        let mut windows = Vec::new();
        let mut end = 0;
        for equal in samples.chunk_by(same) {
            let start = end;
            end += equal.len() as u32;
            let class = place(&equal[0]).0;
            windows.push(Window {
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

    fn samples_of(&self, window: &Window) -> &[u32] {
        let [start, end] = window.samples;
        &self.samples[start as usize..end as usize]
    }

    /// The first sample that has the window.
    fn first(&self, window: &Window) -> usize {
        self.samples[window.samples[0] as usize] as usize
    }
}

impl Window {
    /// How many samples have it.
    fn count(&self) -> u64 {
        u64::from(self.samples[1] - self.samples[0])
    }
}

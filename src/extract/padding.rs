//! How much of each window is inside of its volume: from bounds alone, before any voxel is read.
//!
//! A voxel of a window is inside where its centre is. A window with any voxel outside is padded. A layer that no window
//! touches is an error.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use rayon::prelude::*;

use super::sources::Sources;
use crate::geometry::VoxelBox;
use crate::plan::{
    CenteredWindow, DisplacedLayer, DisplacedLayers, Padding, Plan, Sample, WindowsOfLayer,
};
use crate::volume;
use crate::voxels::centres_inside;

/// How much of each window of all samples is inside of its volume.
pub(crate) fn measure_padding(plan: &Plan, sources: &Sources) -> Padding {
    let of_array = |split: usize, array: usize| -> Vec<f32> {
        let samples = plan.splits[split].samples.par_iter();
        samples
            .map(|s| inside_fraction(plan, sources, array, s))
            .collect()
    };
    let of_split = |split| (0..plan.arrays.len()).map(|a| of_array(split, a)).collect();
    Padding::new((0..plan.splits.len()).map(of_split).collect())
}

/// The voxels of the sample's window of `array` whose centres are inside of the volume; `None` where there is none.
pub(super) fn inside(
    plan: &Plan,
    sources: &Sources,
    array: usize,
    sample: &Sample,
) -> Option<VoxelBox> {
    let source = plan.source_of(array, sample);
    let bounds = sources.volumes[source].meta().grid.bounds();
    let window = plan.window_of(array, sample);
    let (voxel, of_volume) = (plan.resolution_of(sample), plan.sources[source].resolution);
    // An array that only marks the inside is not resampled, whatever its resolution.
    if !sources.recipe(array).is_resampled() && voxel.matches(&of_volume) {
        return window.intersection(bounds);
    }
    let mut inside = window;
    for d in 0..3 {
        let above = |face: i64| {
            let holds = centres_inside(voxel.nm()[d], of_volume.nm()[d], face..i64::MAX);
            first_where(window.start[d]..window.end[d], holds)
        };
        inside.start[d] = above(bounds.start[d]);
        inside.end[d] = above(bounds.end[d]);
    }
    let any = (0..3).all(|d| inside.start[d] < inside.end[d]);
    any.then_some(inside)
}

/// The first of `voxels` for which `holds` is true, or their end. `holds` must be true for all voxels after it, too.
fn first_where(voxels: Range<i64>, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut low, mut high) = (voxels.start, voxels.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The fraction of the window's voxels that are inside of the volume. It is 1 exactly where the window is not padded.
fn inside_fraction(plan: &Plan, sources: &Sources, array: usize, sample: &Sample) -> f32 {
    let voxels = |b: VoxelBox| b.shape().iter().product::<u64>();
    let all = voxels(plan.window_of(array, sample));
    let inside = inside(plan, sources, array, sample).map_or(0, voxels);
    let fraction = (inside as f64 / all as f64) as f32;
    if inside < all {
        fraction.min(1.0f32.next_down())
    } else {
        fraction
    }
}

/// Checks that windows touch every layer that they are cut out of, in each layer group.
///
/// # Errors
/// The layers that no window of a group touches.
pub(crate) fn require_touched(plan: &Plan, sources: &Sources) -> Result<(), DisplacedLayers> {
    let mut touched: BTreeMap<(usize, usize), bool> = BTreeMap::new();
    for sample in plan.splits.iter().flat_map(|s| &s.samples) {
        let group = plan.group_of(sample);
        for array in 0..plan.arrays.len() {
            let of_layer = touched
                .entry((group, plan.source_of(array, sample)))
                .or_insert(false);
            *of_layer = *of_layer || touches(plan, sources, array, sample);
        }
    }
    let group_touches = |group: usize| {
        touched
            .iter()
            .any(|((g, _), touched)| *g == group && *touched)
    };
    let displaced = touched
        .iter()
        .filter(|(_, touched)| !**touched)
        .filter_map(|((group, source), _)| {
            displaced(plan, sources, *group, *source, group_touches(*group))
        })
        .collect::<Vec<_>>();
    if displaced.is_empty() {
        Ok(())
    } else {
        Err(DisplacedLayers(displaced))
    }
}

/// Whether any voxel of the window is made from a voxel of the volume.
fn touches(plan: &Plan, sources: &Sources, array: usize, sample: &Sample) -> bool {
    inside(plan, sources, array, sample).is_some()
        // A mean also includes what a voxel covers whose centre is outside.
        || !sources.recipe(array).marks_inside && sources.window_resampler(plan, array, sample).is_some()
}

/// Describes a layer that no window of its group touches.
fn displaced(
    plan: &Plan,
    sources: &Sources,
    group: usize,
    source: usize,
    overlap_others: bool,
) -> Option<DisplacedLayer> {
    const MOST_WINDOWS: usize = 10_000;
    let arrays =
        (0..plan.arrays.len()).filter(|a| plan.arrays[*a].source_of_group[group] == source);
    let arrays: Vec<usize> = arrays.collect();
    let samples = || {
        let all = plan.splits.iter().flat_map(|s| &s.samples);
        all.filter(|s| plan.group_of(s) == group)
    };
    let count = samples().count();
    let step = (count * arrays.len()).div_ceil(MOST_WINDOWS).max(1);
    let windows = samples().step_by(step).flat_map(|s| {
        let around = |a: &usize| CenteredWindow {
            center: s.center_nm,
            covers: plan.window_of(*a, s).nm(plan.resolution_of(s)),
        };
        arrays.iter().map(around)
    });
    let mut seen = HashSet::new();
    let boxes = samples().map(|s| s.box_index).filter(|b| seen.insert(*b));
    let boxes = boxes.map(|b| plan.boxes[b as usize].id.as_str());
    let of_layer = WindowsOfLayer {
        count: (count * arrays.len()) as u64,
        windows: windows.collect(),
        boxes: boxes.collect(),
        overlap_others,
    };
    let of_plan = &plan.sources[source];
    // The other scales only help to guess the cause: without them the layer is displaced all the same.
    let scales =
        volume::resolutions(&of_plan.url, &of_plan.layer, sources.storage()).unwrap_or_default();
    DisplacedLayer::new(
        &plan.config,
        (plan.layer_of_source(source), of_plan),
        (
            sources.volumes[source].meta().grid.bounds(),
            &of_plan.resolution,
        ),
        &of_layer,
        &scales,
    )
}

#[cfg(test)]
mod tests;

//! Dropping samples with a window that extends past its volume: from bounds alone, before any voxel is read.

use crate::config::Outside;
use crate::extract::Sources;
use crate::plan::{DropReason, Plan, Sample};

/// Drops samples with a window that extends past its volume, if the config says so.
pub(super) fn drop_outside(plan: &mut Plan, sources: &Sources) {
    if plan.config.outside != Outside::Drop {
        return;
    }
    let of_split = |samples: &Vec<Sample>| -> Vec<bool> {
        let inside = samples.iter().map(|s| is_inside(plan, sources, s));
        inside.collect()
    };
    let inside: Vec<_> = plan.splits.iter().map(|s| of_split(&s.samples)).collect();
    plan.retain(DropReason::WindowLeavesVolume, |split, i, _| {
        inside[split][i]
    });
}

/// Whether every window of the sample is inside of its volume.
fn is_inside(plan: &Plan, sources: &Sources, sample: &Sample) -> bool {
    (0..plan.arrays.len()).all(|array| {
        let source = plan.source_of(array, sample);
        let bounds = sources.volumes[source].meta().grid.bounds();
        let window = plan.window_of(array, sample);
        let (of_window, of_volume) = (plan.resolution_of(sample), &plan.sources[source].resolution);
        (0..3).all(|d| {
            let scale = of_window.nm()[d] / of_volume.nm()[d];
            // Far below a voxel, and far above the rounding errors.
            let slack = 1e-6;
            window.start[d] as f64 * scale >= bounds.start[d] as f64 - slack
                && window.end[d] as f64 * scale <= bounds.end[d] as f64 + slack
        })
    })
}

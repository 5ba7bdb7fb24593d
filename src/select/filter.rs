//! Dropping samples that the config does not want, by what voxels and volumes show: whether windows extend past their
//! volume, whether an object is at a point, how much of a window is nonzero.
//!
//! This happens before anything is laid out. So arrays have no holes, and nothing depends on threads or tasks.

use super::objects::find_objects;
use super::pass::VoxelPass;
use crate::config::{Outside, Transform};
use crate::extract::{ExtractError, Sources};
use crate::plan::{DropReason, Plan, Sample};

/// Drops samples that the config does not want, and finds the objects of the others. Takes `memory_bytes` at most.
pub(crate) fn filter_by_voxels(
    plan: &mut Plan,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<(), ExtractError> {
    if plan.config.outside == Outside::Drop {
        let of_split = |samples: &Vec<Sample>| -> Vec<bool> {
            let inside = samples.iter().map(|s| is_inside(plan, sources, s));
            inside.collect()
        };
        let inside: Vec<_> = plan.splits.iter().map(|s| of_split(&s.samples)).collect();
        plan.retain(DropReason::WindowLeavesVolume, |split, i, _| {
            inside[split][i]
        });
    }
    let arrays: Vec<_> = plan.config.arrays.values().cloned().collect();
    for (array, config) in arrays.iter().enumerate() {
        if let Transform::ObjectAt(at) = &config.transform {
            find_objects(plan, sources, memory_bytes, array, at)?;
        }
    }
    for (array, config) in arrays.iter().enumerate() {
        if let Some(least) = config.min_nonzero_fraction {
            let fractions = nonzero_fractions(plan, sources, memory_bytes, array)?;
            plan.retain(DropReason::TooLittleNonzero, |split, i, _| {
                fractions[split][i] >= least
            });
        }
    }
    Ok(())
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

/// For each sample the fraction of the array's values that are not 0, by split.
fn nonzero_fractions(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    array: usize,
) -> Result<Vec<Vec<f64>>, ExtractError> {
    let data_type = sources.recipe(array).data_type();
    let pass = VoxelPass {
        plan,
        sources,
        memory_bytes,
    };
    pass.map_windows(array, |window| {
        let values = window.len() / data_type.size_bytes();
        data_type.count_nonzero(window) as f64 / values as f64
    })
}

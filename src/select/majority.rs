//! The object that most voxels of another array's mask belong to.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::window::cut_whole;
use crate::config::{ArrayConfig, ObjectSearch, Transform};
use crate::extract::{CutScratch, ExtractError, Sources, WindowCutter, WindowRequest};
use crate::plan::Plan;

/// The object of `labels`, a window of an array that shows one, that has most voxels where `mask` is not 0: the smallest id if
/// several have equally many, 0 if none has any. Both windows cover the same voxels; of several channels, the first counts.
pub(super) fn majority_object(
    cutter: &WindowCutter<'_>,
    labels: WindowRequest<'_>,
    mask: WindowRequest<'_>,
    scratch: &mut CutScratch,
) -> Result<u64, ExtractError> {
    let sources = cutter.sources;
    let voxels = cutter.plan.arrays[labels.array].window.volume_voxels() as usize;
    cut_whole(cutter, mask, scratch)?;
    let mask_values = std::mem::take(&mut scratch.window);
    let counted = cutter.cut_labels(labels, scratch).map(|is_written| {
        if !is_written {
            return HashMap::default();
        }
        let mask_type = sources.recipe(mask.array).data_type();
        let label_bytes = sources.label_bytes(cutter.plan, labels.array);
        let masked = mask_values.chunks_exact(mask_type.size_bytes());
        let masked = masked.take(voxels);
        let labels_of_voxels = scratch.window.chunks_exact(label_bytes);
        let mut counts: HashMap<u64, u64, RandomState> = HashMap::default();
        for (mask, label) in masked.zip(labels_of_voxels) {
            if mask_type.count_nonzero(mask) > 0 {
                let object = sources.object_of(labels.array, label);
                *counts.entry(object).or_default() += 1;
            }
        }
        counts
    });
    // The larger of the two buffers is reused.
    if mask_values.capacity() > scratch.window.capacity() {
        scratch.window = mask_values;
    }
    let objects = counted?.into_iter().filter(|(object, _)| *object != 0);
    let most = objects.max_by_key(|(object, voxels)| (*voxels, std::cmp::Reverse(*object)));
    Ok(most.map_or(0, |(object, _)| object))
}

/// Most bytes that a thread needs to find the object under a mask: the window of the mask, and that of the labels with the voxels
/// that it is made from.
pub(super) fn majority_bytes(plan: &Plan, sources: &Sources) -> u64 {
    let of_array = |(array, config): (usize, &ArrayConfig)| match &config.transform {
        Transform::ObjectAt(at) if matches!(at.search(), ObjectSearch::Majority(_)) => {
            let window = plan.arrays[array].window.volume_voxels();
            let labels = window.saturating_mul(sources.label_bytes(plan, array) as u64);
            labels.saturating_add(sources.window_bytes(plan))
        }
        _ => 0,
    };
    let arrays = plan.config.arrays.values().enumerate();
    arrays.map(of_array).max().unwrap_or(0)
}

//! The window of a sample: which voxels it is made from, and its values.

use super::query_box::QueryBox;
use crate::extract::{CutScratch, ExtractError, Sources, WindowCutter, WindowRequest};
use crate::plan::{Plan, PlannedSplit};

/// The voxels that the window of the `i`th sample of a split is made from.
pub(super) fn window_box(
    plan: &Plan,
    sources: &Sources,
    array: usize,
    split: &PlannedSplit,
    i: usize,
) -> QueryBox {
    let sample = &split.samples[i];
    let touched = sources.source_box(plan, array, sample);
    (plan.source_of(array, sample), touched)
}

/// Cuts a window. All of it is written, even where it is the fill value everywhere.
pub(super) fn cut_whole<'s>(
    cutter: &WindowCutter<'_>,
    request: WindowRequest<'_>,
    scratch: &'s mut CutScratch,
) -> Result<&'s [u8], ExtractError> {
    if !cutter.cut(request, scratch, &mut |_| {})? {
        let recipe = cutter.sources.recipe(request.array);
        recipe
            .fill_value(cutter.plan.group_of(request.sample))
            .fill(recipe.data_type().size_bytes(), &mut scratch.window);
    }
    Ok(&scratch.window)
}

/// The window of the `i`th sample of a split. `objects` are those that it shows, if it shows some.
pub(super) fn window_request<'s>(
    array: usize,
    split: &'s PlannedSplit,
    i: usize,
    objects: &'s [u64],
) -> WindowRequest<'s> {
    WindowRequest {
        array,
        sample: &split.samples[i],
        objects,
    }
}

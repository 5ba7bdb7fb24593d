//! Cutting every window of an array, for tests and benchmarks.

use std::marker::PhantomData;
use std::ops::Range;

use super::pass::{Queries, VoxelPass, nth_sample};
use super::query_box::{NO_BOX, QueryBoxes};
use super::window::{cut_whole, window_box, window_request};
use crate::extract::{CutScratch, ExtractError, Sources, WindowCutter};
use crate::plan::Plan;

/// Cuts every window of the array at position `array` and calls `map` with its values, in parallel. Returns the results by
/// split. Values are little-endian, `[channel, z, y, x]`.
pub fn map_windows<T: Send>(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    array: usize,
    map: impl Fn(&[u8]) -> T + Sync,
) -> Result<Vec<Vec<T>>, ExtractError> {
    let pass = VoxelPass {
        plan,
        sources,
        memory_bytes,
    };
    let (results, _) = pass.run(&EveryWindow {
        plan,
        sources,
        array,
        map,
        result: PhantomData,
    })?;
    let mut results = results.into_iter().flatten();
    let splits = plan.splits.iter();
    Ok(splits
        .map(|s| results.by_ref().take(s.samples.len()).collect())
        .collect())
}

/// One query about each sample: its window.
struct EveryWindow<'p, T, F> {
    plan: &'p Plan,
    sources: &'p Sources,
    array: usize,
    map: F,
    result: PhantomData<fn() -> T>,
}

impl<T: Send, F: Fn(&[u8]) -> T + Sync> Queries for EveryWindow<'_, T, F> {
    type Answers = Vec<T>;

    fn samples(&self) -> usize {
        self.plan.samples() as usize
    }

    fn per_sample(&self) -> usize {
        1
    }

    fn reads(&self, sample: usize, _: usize) -> QueryBoxes {
        let (split, i) = nth_sample(self.plan, sample);
        let window = window_box(self.plan, self.sources, self.array, split, i);
        [window, NO_BOX]
    }

    fn begin_unit(&self, samples: Range<usize>) -> Vec<T> {
        Vec::with_capacity(samples.len())
    }

    fn answer(
        &self,
        cutter: &WindowCutter<'_>,
        sample: usize,
        _: usize,
        answers: &mut Vec<T>,
        scratch: &mut CutScratch,
    ) -> Result<bool, ExtractError> {
        let (split, i) = nth_sample(self.plan, sample);
        let objects = split.objects[self.array].of(i);
        let request = window_request(self.array, split, i, objects);
        answers.push((self.map)(cut_whole(cutter, request, scratch)?));
        Ok(true)
    }
}

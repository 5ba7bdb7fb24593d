//! Asking the volumes about samples before any shard is made, in parallel, through a block cache of its own: `refine`
//! about all samples, `codec` about a few.

use rayon::prelude::*;

use crate::blocks::{BlockCache, BlockUses, Prefetcher, with_prefetcher};
use crate::extract::{
    CutScratch, ExtractError, Sources, UnitChunks, WindowCutter, WindowRequest, blocks_of,
    cache_budget,
};
use crate::geometry::VoxelBox;
use crate::plan::{Plan, PlannedSplit};
use crate::storage::Parts;

/// Samples that are one unit of work.
const UNIT_SAMPLES: usize = 64;

/// Calls `ask` for every sample, in parallel, with the blocks at hand that `touched` (volume and voxels) says: the
/// answers by split.
pub(super) fn probe<T: Send>(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    touched: impl Fn(&PlannedSplit, usize) -> (usize, Option<VoxelBox>) + Sync,
    ask: impl Fn(&WindowCutter<'_>, &PlannedSplit, usize, &mut CutScratch) -> Result<T, ExtractError>
    + Sync,
) -> Result<Vec<Vec<T>>, ExtractError> {
    let questions = Questions {
        count: plan.samples() as usize,
        per_unit: UNIT_SAMPLES,
    };
    let answers = each(
        plan,
        sources,
        memory_bytes,
        questions,
        |n| {
            let (split, i) = nth(plan, n);
            touched(split, i)
        },
        |cutter, n, scratch| {
            let (split, i) = nth(plan, n);
            ask(cutter, split, i, scratch)
        },
    )?;
    let mut answers = answers.into_iter();
    let splits = plan.splits.iter();
    Ok(splits
        .map(|s| answers.by_ref().take(s.samples.len()).collect())
        .collect())
}

/// The `n`th sample, counted through all splits: its split, and its position there.
fn nth(plan: &Plan, mut n: usize) -> (&PlannedSplit, usize) {
    for split in &plan.splits {
        match n.checked_sub(split.samples.len()) {
            None => return (split, n),
            Some(rest) => n = rest,
        }
    }
    unreachable!("no more is asked than there are samples")
}

/// Cuts every window of the array at position `array` and calls `ask` with its values, in parallel: the answers by split.
/// Values are little-endian, `[channel, z, y, x]`.
pub fn map_windows<T: Send>(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    array: usize,
    ask: impl Fn(&[u8]) -> T + Sync,
) -> Result<Vec<Vec<T>>, ExtractError> {
    probe(
        plan,
        sources,
        memory_bytes,
        |split, i| {
            let sample = &split.samples[i];
            let touched = sources.read_box(plan, array, sample);
            (plan.source_of(array, sample), touched)
        },
        |cutter, split, i, scratch| {
            let wanted = WindowRequest {
                array,
                sample: &split.samples[i],
                object: split.objects[array].get(i).copied().unwrap_or(0),
            };
            Ok(ask(cutter.cut_whole(wanted, scratch)?))
        },
    )
}

/// How many questions there are, and how many of them are one unit of work.
pub(super) struct Questions {
    pub count: usize,
    pub per_unit: usize,
}

/// Calls `ask` for each question, by its number, in parallel, with the blocks at hand that `touched` (volume and voxels)
/// says: the answers in the order of the questions.
pub(super) fn each<T: Send>(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    questions: Questions,
    touched: impl Fn(usize) -> (usize, Option<VoxelBox>) + Sync,
    ask: impl Fn(&WindowCutter<'_>, usize, &mut CutScratch) -> Result<T, ExtractError> + Sync,
) -> Result<Vec<T>, ExtractError> {
    let Questions { count, per_unit } = questions;
    let units = count.div_ceil(per_unit);
    // None for a unit after the last.
    let questions = |unit: usize| (unit * per_unit).min(count)..((unit + 1) * per_unit).min(count);
    let blocks = |n| {
        let (source, touched) = touched(n);
        let blocks = touched.map(|t| blocks_of(&sources.volumes, source, &t));
        blocks.into_iter().flatten()
    };
    let uses = (0..units).into_par_iter().flat_map_iter(|unit| {
        let mut keys: Vec<_> = questions(unit).flat_map(blocks).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(move |key| (key, unit as u32))
    });
    let uses = BlockUses::new(uses.collect());
    let budget_bytes = cache_budget(plan, sources, memory_bytes)?;
    let cutter = WindowCutter {
        plan,
        sources,
        cache: BlockCache::new(&sources.volumes, uses, budget_bytes),
    };
    let answer_unit = |prefetcher: &Prefetcher<'_>, unit: usize, scratch: &mut CutScratch| {
        cutter.cache.begin_unit(unit as u32);
        let chunks = UnitChunks::of(questions(unit).map(blocks));
        let mut unit_prefetch = prefetcher.begin_unit(unit, chunks.in_order_of_use());
        prefetcher.prefetch_next_unit(&cutter.cache, |next| questions(next).map(blocks));
        let mut used = 0;
        let mut answers = Vec::with_capacity(per_unit);
        for (i, n) in questions(unit).enumerate() {
            if !unit_prefetch.is_complete() {
                used = chunks.used_with(blocks(n)).max(used);
                prefetcher.advance(&cutter.cache, &mut unit_prefetch, used);
            }
            answers.push(ask(&cutter, n, scratch)?);
            for key in blocks(n).filter(|key| chunks.ends_with(i, *key)) {
                cutter.cache.release(key);
            }
        }
        Ok((unit, answers))
    };
    let parts = Parts::<ExtractError>::new();
    let block_bytes = sources.block_bytes();
    let answers = with_prefetcher(
        &cutter.cache,
        block_bytes,
        budget_bytes,
        parts.together(),
        |prefetcher| {
            // A bridge hands units out one by one, in order.
            (0..units)
                .par_bridge()
                .map_init(CutScratch::default, |scratch, unit| {
                    parts.run(|| answer_unit(prefetcher, unit, scratch))
                })
                .collect::<Result<Vec<_>, _>>()
        },
    );
    let follows = |e: &ExtractError| e.is_stopped();
    let answers = parts.finish_but(follows, answers);
    let mut answers = answers.map_err(|e| match e.is_stopped() {
        true => cutter.prefetch_failure().unwrap_or(e),
        false => e,
    })?;
    answers.sort_unstable_by_key(|(unit, _)| *unit);
    Ok(answers.into_iter().flat_map(|(_, a)| a).collect())
}

//! Asking the volumes about samples before any shard is made, in parallel, through a block cache of its own: `refine`
//! about all samples, `codec` about a few.

use std::ops::Range;

use rayon::prelude::*;

use super::cut::{CutScratch, Cutter, Wanted};
use super::{ExtractError, Sources, cache_budget, schedule};
use crate::geometry::VoxelBox;
use crate::plan::{Plan, PlannedSplit};
use crate::volume::{BlockCache, BlockKey, BlockUses};

/// Samples that are one unit of work.
const UNIT_SAMPLES: usize = 64;

/// Calls `ask` for every sample, in parallel, with the blocks at hand that `touched` (volume and voxels) says: the
/// answers by split.
pub(super) fn probe<T: Send>(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    touched: impl Fn(&PlannedSplit, usize) -> (usize, Option<VoxelBox>) + Sync,
    ask: impl Fn(&Cutter<'_>, &PlannedSplit, usize, &mut CutScratch) -> Result<T, ExtractError> + Sync,
) -> Result<Vec<Vec<T>>, ExtractError> {
    let units: Vec<(usize, Range<usize>)> = plan
        .splits
        .iter()
        .enumerate()
        .flat_map(|(split, s)| {
            let all = s.samples.len();
            let starts = (0..all).step_by(UNIT_SAMPLES);
            starts.map(move |start| (split, start..(start + UNIT_SAMPLES).min(all)))
        })
        .collect();
    let touched_by_unit = |(split, samples): &(usize, Range<usize>)| {
        let split = &plan.splits[*split];
        samples.clone().map(|i| touched(split, i)).collect()
    };
    let ask_unit = |cutter: &Cutter<'_>, unit: &(usize, Range<usize>), scratch: &mut CutScratch| {
        let split = &plan.splits[unit.0];
        let answers = unit.1.clone().map(|i| ask(cutter, split, i, scratch));
        answers.collect::<Result<Vec<T>, _>>()
    };
    let answers = each(
        plan,
        sources,
        memory_bytes,
        &units,
        touched_by_unit,
        ask_unit,
    )?;
    let mut by_split: Vec<Vec<T>> = plan.splits.iter().map(|_| Vec::new()).collect();
    for ((split, _), answers) in units.iter().zip(answers) {
        by_split[*split].extend(answers);
    }
    Ok(by_split)
}

/// Cuts every window of the array at position `array` and calls `ask` with its values, in parallel: the answers by split.
/// Values are little-endian, `[channel, z, y, x]`.
pub fn ask_windows<T: Send>(
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
            let wanted = Wanted {
                array,
                sample: &split.samples[i],
                object: split.objects[array].get(i).copied().unwrap_or(0),
            };
            Ok(ask(cutter.cut_whole(wanted, scratch)?))
        },
    )
}

/// Calls `ask` for each of `units`, in parallel, with the blocks at hand that `touched` (volumes and voxels) says: the
/// answers in the order of the units.
pub(super) fn each<U: Sync, T: Send>(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    units: &[U],
    touched: impl Fn(&U) -> Vec<(usize, Option<VoxelBox>)> + Sync,
    ask: impl Fn(&Cutter<'_>, &U, &mut CutScratch) -> Result<T, ExtractError> + Sync,
) -> Result<Vec<T>, ExtractError> {
    let blocks_of_unit = |unit: &U| {
        let blocks = touched(unit).into_iter().flat_map(|(source, touched)| {
            let blocks = touched.map(|t| schedule::blocks_of(&sources.volumes, source, &t));
            blocks.into_iter().flatten()
        });
        let mut blocks: Vec<BlockKey> = blocks.collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    };
    let uses = units
        .par_iter()
        .enumerate()
        .flat_map_iter(|(number, unit)| {
            let blocks = blocks_of_unit(unit).into_iter();
            blocks.map(move |key| (key, number as u32))
        });
    let uses = BlockUses::new(uses.collect());
    let budget_bytes = cache_budget(plan, sources, memory_bytes)?;
    let cutter = Cutter {
        plan,
        sources,
        cache: BlockCache::new(&sources.volumes, uses, budget_bytes),
    };
    units
        .par_iter()
        .enumerate()
        .map_init(CutScratch::default, |scratch, (number, unit)| {
            cutter.cache.begin_unit(number as u32);
            let answer = ask(&cutter, unit, scratch)?;
            for key in blocks_of_unit(unit) {
                cutter.cache.release(key);
            }
            Ok(answer)
        })
        .collect()
}

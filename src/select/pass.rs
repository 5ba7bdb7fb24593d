//! The pass over the volumes before any shard is written. Queries about samples are answered in parallel, through a block
//! cache of their own.

use rayon::prelude::*;

use crate::blocks::{BlockCache, BlockKey, BlockUses, Prefetcher, with_prefetcher};
use crate::extract::{
    CutScratch, ExtractError, Sources, UnitChunks, WindowCutter, WindowRequest, blocks_of,
    cache_budget,
};
use crate::geometry::VoxelBox;
use crate::plan::{Plan, PlannedSplit};
use crate::storage::ParallelTasks;

/// Samples that are one unit of work.
const UNIT_SAMPLES: usize = 64;

/// A volume, by its position in the plan, and the voxels of it that a query reads.
pub(super) type QueryBox = (usize, Option<VoxelBox>);

/// A pass over the volumes of a plan.
#[derive(Clone, Copy)]
pub(super) struct VoxelPass<'a> {
    pub plan: &'a Plan,
    pub sources: &'a Sources,
    /// Most memory that the pass may take.
    pub memory_bytes: u64,
}

/// How many queries there are, and how many of them are one unit of work.
#[derive(Clone, Copy)]
pub(super) struct QueryUnits {
    pub count: usize,
    pub per_unit: usize,
}

impl QueryUnits {
    fn units(&self) -> usize {
        self.count.div_ceil(self.per_unit)
    }

    /// The queries of a unit; none for a unit after the last one.
    fn queries(&self, unit: usize) -> std::ops::Range<usize> {
        let start = |unit: usize| (unit * self.per_unit).min(self.count);
        start(unit)..start(unit + 1)
    }
}

/// Cuts every window of the array at position `array` and calls `map` with its values, in parallel. Returns the results by
/// split. Values are little-endian, `[channel, z, y, x]`.
#[cfg(any(test, feature = "bench"))]
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
    pass.map_windows(array, map)
}

impl VoxelPass<'_> {
    /// As [`map_windows`].
    pub fn map_windows<T: Send>(
        self,
        array: usize,
        map: impl Fn(&[u8]) -> T + Sync,
    ) -> Result<Vec<Vec<T>>, ExtractError> {
        self.map_samples(
            |split, i| self.window_box(array, split, i),
            |cutter, split, i, scratch| {
                let window = cutter.cut_whole(window_request(array, split, i), scratch)?;
                Ok(map(window))
            },
        )
    }

    /// Calls `query` for every sample, in parallel. It may read what `query_box` returns for the sample. Returns the results
    /// by split.
    pub fn map_samples<T: Send>(
        self,
        query_box: impl Fn(&PlannedSplit, usize) -> QueryBox + Sync,
        query: impl Fn(
            &WindowCutter<'_>,
            &PlannedSplit,
            usize,
            &mut CutScratch,
        ) -> Result<T, ExtractError>
        + Sync,
    ) -> Result<Vec<Vec<T>>, ExtractError> {
        let units = QueryUnits {
            count: self.plan.samples() as usize,
            per_unit: UNIT_SAMPLES,
        };
        let results = self.map_queries(
            units,
            |n| {
                let (split, i) = nth_sample(self.plan, n);
                query_box(split, i)
            },
            |cutter, n, scratch| {
                let (split, i) = nth_sample(self.plan, n);
                query(cutter, split, i, scratch)
            },
        )?;
        let mut results = results.into_iter();
        let splits = self.plan.splits.iter();
        Ok(splits
            .map(|s| results.by_ref().take(s.samples.len()).collect())
            .collect())
    }

    /// Calls `query` with the number of each query, in parallel. It may read what `query_box` returns for the query. Returns
    /// the results in the order of the queries.
    pub fn map_queries<T: Send>(
        self,
        units: QueryUnits,
        query_box: impl Fn(usize) -> QueryBox + Sync,
        query: impl Fn(&WindowCutter<'_>, usize, &mut CutScratch) -> Result<T, ExtractError> + Sync,
    ) -> Result<Vec<T>, ExtractError> {
        let volumes = &self.sources.volumes;
        let blocks = |n| {
            let (source, touched) = query_box(n);
            let blocks = touched.map(|t| blocks_of(volumes, source, &t));
            blocks.into_iter().flatten()
        };
        let budget_bytes = cache_budget(self.plan, self.sources, self.memory_bytes)?;
        let uses = block_uses(units, &blocks);
        let pass = RunningPass {
            cutter: WindowCutter {
                plan: self.plan,
                sources: self.sources,
                cache: BlockCache::new(volumes, uses, budget_bytes),
            },
            units,
            blocks,
        };
        let tasks = ParallelTasks::<ExtractError>::new(self.sources.storage());
        let results = with_prefetcher(
            &pass.cutter.cache,
            self.sources.block_bytes(),
            budget_bytes,
            self.sources.storage().network().requests,
            tasks.work(),
            |prefetcher| {
                // A bridge hands units out one by one, in order.
                (0..units.units())
                    .par_bridge()
                    .map_init(CutScratch::default, |scratch, unit| {
                        let run = || pass.run_unit(prefetcher, unit, scratch, &query);
                        tasks.run(run).map(|results| (unit, results))
                    })
                    .collect::<Result<Vec<_>, _>>()
            },
        );
        let mut results = tasks
            .finish_with_cause(ExtractError::is_stopped, results)
            .map_err(|e| {
                let cause = e.is_stopped().then(|| pass.cutter.prefetch_failure());
                cause.flatten().unwrap_or(e)
            })?;
        results.sort_unstable_by_key(|(unit, _)| *unit);
        Ok(results.into_iter().flat_map(|(_, r)| r).collect())
    }

    /// The voxels that the window of a sample is made from.
    pub fn window_box(self, array: usize, split: &PlannedSplit, i: usize) -> QueryBox {
        let sample = &split.samples[i];
        let touched = self.sources.source_box(self.plan, array, sample);
        (self.plan.source_of(array, sample), touched)
    }
}

/// The window of the `i`th sample of a split.
pub(super) fn window_request(array: usize, split: &PlannedSplit, i: usize) -> WindowRequest<'_> {
    WindowRequest {
        array,
        sample: &split.samples[i],
        object: split.objects[array].get(i).copied().unwrap_or(0),
    }
}

/// The `n`th sample, counted through all splits: its split, and its position there.
fn nth_sample(plan: &Plan, mut n: usize) -> (&PlannedSplit, usize) {
    for split in &plan.splits {
        match n.checked_sub(split.samples.len()) {
            None => return (split, n),
            Some(rest) => n = rest,
        }
    }
    unreachable!("there are not more queries than samples")
}

/// Which unit uses which block.
fn block_uses<I: Iterator<Item = BlockKey>>(
    units: QueryUnits,
    blocks: &(impl Fn(usize) -> I + Sync),
) -> BlockUses {
    let uses = (0..units.units()).into_par_iter().flat_map_iter(|unit| {
        let mut keys: Vec<_> = units.queries(unit).flat_map(blocks).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(move |key| (key, unit as u32))
    });
    BlockUses::new(uses.collect())
}

/// A pass whose cache is ready; `blocks` lists the blocks that a query reads.
struct RunningPass<'p, B> {
    cutter: WindowCutter<'p>,
    units: QueryUnits,
    blocks: B,
}

impl<B, I> RunningPass<'_, B>
where
    B: Fn(usize) -> I,
    I: Iterator<Item = BlockKey>,
{
    /// The results of a unit's queries.
    fn run_unit<T>(
        &self,
        prefetcher: &Prefetcher<'_>,
        unit: usize,
        scratch: &mut CutScratch,
        query: &impl Fn(&WindowCutter<'_>, usize, &mut CutScratch) -> Result<T, ExtractError>,
    ) -> Result<Vec<T>, ExtractError> {
        let (cache, blocks) = (&self.cutter.cache, &self.blocks);
        cache.begin_unit(unit as u32);
        let chunks = UnitChunks::of(self.units.queries(unit).map(blocks));
        let mut prefetch = prefetcher.begin_unit(unit, chunks.in_order_of_use());
        prefetcher.prefetch_next_unit(cache, |next| self.units.queries(next).map(blocks));
        let mut used = 0;
        let mut results = Vec::with_capacity(self.units.per_unit);
        for (i, n) in self.units.queries(unit).enumerate() {
            if !prefetch.is_complete() {
                used = chunks.used_with(blocks(n)).max(used);
                prefetcher.advance(cache, &mut prefetch, used);
            }
            results.push(query(&self.cutter, n, scratch)?);
            for key in blocks(n).filter(|key| chunks.is_last_use(i, *key)) {
                cache.release(key);
            }
        }
        Ok(results)
    }
}

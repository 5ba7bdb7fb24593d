//! A pass over the volumes before the plan is final: queries about samples are answered in parallel, through a block cache
//! of their own.
//!
//! A unit of work is a few samples. The first query about each of its samples comes before the second query about any of
//! them, and so on. So a query that is not needed, because an earlier answer decides about its sample, is known before what
//! it reads is prefetched, and the queries that are needed are prefetched many at a time.

use std::ops::Range;

use rayon::prelude::*;

use super::query_box::QueryBoxes;
use super::report::SelectReport;
use super::unit_blocks::UnitBlocks;
use super::{majority, search};
use crate::blocks::{BlockCache, BlockKey, BlockUses, Prefetcher, with_prefetcher};
use crate::extract::{
    CutScratch, ExtractError, Sources, WindowCutter, blocks_of, cache_budget_of_pass,
};
use crate::plan::{Plan, PlannedSplit};
use crate::storage::ParallelTasks;

/// Most samples that are one unit of work.
const UNIT_SAMPLES: usize = 64;

/// Queries about samples. Samples are numbered.
pub(super) trait Queries: Sync {
    /// The answers to the queries about the samples of a unit.
    type Answers: Send;

    /// Number of samples.
    fn samples(&self) -> usize;

    /// Number of queries about each sample.
    fn per_sample(&self) -> usize;

    /// Most samples of a unit.
    fn per_unit(&self) -> usize {
        UNIT_SAMPLES
    }

    /// What the query about the sample reads.
    fn reads(&self, sample: usize, query: usize) -> QueryBoxes;

    /// No answer yet.
    fn begin_unit(&self, samples: Range<usize>) -> Self::Answers;

    /// Answers the query about the sample. Returns whether later queries about the sample are needed.
    fn answer(
        &self,
        cutter: &WindowCutter<'_>,
        sample: usize,
        query: usize,
        answers: &mut Self::Answers,
        scratch: &mut CutScratch,
    ) -> Result<bool, ExtractError>;
}

/// A pass over the volumes of a plan.
#[derive(Clone, Copy)]
pub(super) struct VoxelPass<'a> {
    pub plan: &'a Plan,
    pub sources: &'a Sources,
    /// Most memory that the pass may take.
    pub memory_bytes: u64,
}

impl VoxelPass<'_> {
    /// Answers the queries. Returns the answers of each unit, in the order of the samples.
    pub fn run<Q: Queries>(
        self,
        queries: &Q,
    ) -> Result<(Vec<Q::Answers>, SelectReport), ExtractError> {
        if queries.samples() == 0 || queries.per_sample() == 0 {
            return Ok(Default::default());
        }
        let Self { plan, sources, .. } = self;
        let buffer_bytes = sources
            .window_bytes(plan)
            .max(search::search_bytes(plan, sources))
            .max(majority::majority_bytes(plan, sources));
        // A window, and its encoded form where codecs are tried.
        let of_thread = buffer_bytes.saturating_mul(2);
        let budget_bytes = cache_budget_of_pass(plan, of_thread, sources, self.memory_bytes)?;
        let (most, block_bytes) = (queries.per_unit(), sources.block_bytes());
        let units = Units {
            samples: queries.samples(),
            per_unit: unit_samples(most, queries.per_sample(), budget_bytes, block_bytes),
        };
        let uses = block_uses(sources, queries, units);
        let pass = RunningPass {
            cutter: WindowCutter {
                plan,
                sources,
                cache: BlockCache::new(&sources.volumes, uses, budget_bytes),
            },
            queries,
            units,
        };
        let answers = pass.run_units(budget_bytes)?;
        Ok((answers, SelectReport::of(pass.cutter.cache.stats())))
    }
}

/// The `n`th sample, counted through all splits: its split, and its position there.
pub(super) fn nth_sample(plan: &Plan, mut n: usize) -> (&PlannedSplit, usize) {
    for split in &plan.splits {
        match n.checked_sub(split.samples.len()) {
            None => return (split, n),
            Some(rest) => n = rest,
        }
    }
    unreachable!("there are not more queries than samples")
}

/// Most samples of a unit whose blocks the cache holds from one query to the next. `most` may be in a unit.
fn unit_samples(most: usize, per_sample: usize, budget_bytes: u64, block_bytes: u64) -> usize {
    if per_sample == 1 {
        // Nothing is held.
        return most;
    }
    // Half of the budget is for what other units still use, and for what is prefetched.
    let threads = rayon::current_num_threads() as u64;
    let blocks = budget_bytes / (2 * threads * block_bytes.max(1));
    let samples = blocks / per_sample as u64;
    samples.clamp(1, most as u64) as usize
}

/// All samples, in units of work.
#[derive(Clone, Copy)]
struct Units {
    samples: usize,
    per_unit: usize,
}

impl Units {
    fn count(self) -> usize {
        self.samples.div_ceil(self.per_unit)
    }

    /// The samples of a unit; none for a unit after the last one.
    fn samples(self, unit: usize) -> Range<usize> {
        let start = |unit: usize| (unit * self.per_unit).min(self.samples);
        start(unit)..start(unit + 1)
    }
}

/// The blocks that a query reads.
fn blocks<Q: Queries>(
    sources: &Sources,
    queries: &Q,
    sample: usize,
    query: usize,
) -> impl Iterator<Item = BlockKey> + use<Q> {
    let [first, second] = queries.reads(sample, query).map(|(source, touched)| {
        let blocks = touched.map(|touched| blocks_of(&sources.volumes, source, &touched));
        blocks.into_iter().flatten()
    });
    first.chain(second)
}

/// Which unit may use which block.
fn block_uses<Q: Queries>(sources: &Sources, queries: &Q, units: Units) -> BlockUses {
    let uses = (0..units.count()).into_par_iter().flat_map_iter(|unit| {
        let of_sample = |sample| {
            let of_query = move |query| blocks(sources, queries, sample, query);
            (0..queries.per_sample()).flat_map(of_query)
        };
        let mut keys: Vec<_> = units.samples(unit).flat_map(of_sample).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(move |key| (key, unit as u32))
    });
    BlockUses::new(uses.collect())
}

/// A pass whose cache is ready.
struct RunningPass<'p, Q> {
    cutter: WindowCutter<'p>,
    queries: &'p Q,
    units: Units,
}

impl<Q: Queries> RunningPass<'_, Q> {
    /// Answers the queries of all units.
    fn run_units(&self, budget_bytes: u64) -> Result<Vec<Q::Answers>, ExtractError> {
        let sources = self.cutter.sources;
        let tasks = ParallelTasks::<ExtractError>::new(sources.storage());
        let stage = sources.storage().stage();
        stage.count("parts of the samples", Some(self.units.count() as u64));
        let answers = with_prefetcher(
            &self.cutter.cache,
            sources.block_bytes(),
            budget_bytes,
            sources.storage().network().requests,
            tasks.work(),
            |prefetcher| {
                // A bridge hands units out one by one, in order.
                (0..self.units.count())
                    .par_bridge()
                    .map_init(CutScratch::default, |scratch, unit| {
                        let run = || self.run_unit(prefetcher, unit, scratch);
                        let answered = tasks.run(run).map(|answers| (unit, answers));
                        stage.add(1);
                        answered
                    })
                    .collect::<Result<Vec<_>, _>>()
            },
        );
        let mut answers = tasks
            .finish_with_cause(ExtractError::is_stopped, answers)
            .map_err(|e| {
                let cause = e.is_stopped().then(|| self.cutter.prefetch_failure());
                cause.flatten().unwrap_or(e)
            })?;
        answers.sort_unstable_by_key(|(unit, _)| *unit);
        Ok(answers.into_iter().map(|(_, answers)| answers).collect())
    }

    /// Answers the queries of a unit.
    fn run_unit(
        &self,
        prefetcher: &Prefetcher<'_>,
        unit: usize,
        scratch: &mut CutScratch,
    ) -> Result<Q::Answers, ExtractError> {
        let (cache, queries) = (&self.cutter.cache, self.queries);
        let samples = self.units.samples(unit);
        let per_sample = queries.per_sample();
        cache.begin_unit(unit as u32);
        let mut blocks = UnitBlocks::of(samples.len(), per_sample, |sample, query| {
            self.blocks(samples.start + sample, query)
        });
        let mut wanted: Vec<usize> = (0..samples.len()).collect();
        let first = wanted.iter().flat_map(|sample| blocks.list(*sample, 0));
        let mut prefetch = prefetcher.begin_unit(unit, first.collect());
        prefetcher.prefetch_next_units(cache, |next| {
            let samples = self.units.samples(next);
            let blocks = samples.map(|sample| self.blocks(sample, 0));
            (next < self.units.count()).then_some(blocks)
        });
        let mut answers = queries.begin_unit(samples.clone());
        for query in 0..per_sample {
            let mut still_wanted = Vec::with_capacity(wanted.len());
            for sample in wanted {
                prefetcher.advance(cache, &mut prefetch, blocks.listed_with(sample), 1);
                let n = samples.start + sample;
                let is_wanted = queries.answer(&self.cutter, n, query, &mut answers, scratch)?;
                blocks.finish(sample, query..query + 1, |key| cache.release(key));
                if !is_wanted {
                    blocks.finish(sample, query + 1..per_sample, |key| cache.release(key));
                } else if query + 1 < per_sample {
                    prefetch.extend(blocks.list(sample, query + 1));
                    still_wanted.push(sample);
                }
            }
            prefetch.settle();
            wanted = still_wanted;
        }
        Ok(answers)
    }

    fn blocks(&self, sample: usize, query: usize) -> impl Iterator<Item = BlockKey> + use<Q> {
        blocks(self.cutter.sources, self.queries, sample, query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_fewer_samples_where_the_cache_cannot_hold_their_blocks() {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        one.unwrap().install(|| {
            // Four queries, blocks of 10 bytes: a sample may hold 40 bytes, and half of the budget is for them.
            let samples = |budget_bytes| unit_samples(64, 4, budget_bytes, 10);
            assert_eq!([0, 80, 799, 800, 1 << 30].map(samples), [1, 1, 9, 10, 64]);
            assert_eq!(unit_samples(64, 1, 0, 10), 64);
        });
        let units = Units {
            samples: 10,
            per_unit: 4,
        };
        assert_eq!(units.count(), 3);
        let samples = [0, 1, 2, 3].map(|unit| units.samples(unit));
        assert_eq!(samples, [0..4, 4..8, 8..10, 10..10]);
    }
}

//! The queries about each sample, in this order: the object at its point for each array that shows one, then how much of its
//! window is nonzero for each array with a limit, then how its windows compress, if it is a candidate.
//!
//! A sample that an answer drops has no later queries. So it has one drop reason, and nothing more is read for it.

use std::ops::Range;

use super::answers::{Answers, Conclusion, WindowTrial};
use super::candidates::Candidates;
use super::object_chunks::ChunksAtPoints;
use super::pass::{Queries, nth_sample};
use super::query_box::QueryBox;
use super::search::Search;
use super::window::{cut_whole, window_box, window_request};
use crate::config::{ArrayConfig, MissingObject, ObjectAt, Transform};
use crate::dataset::CodecTrial;
use crate::extract::{CutScratch, ExtractError, Sources, WindowCutter};
use crate::plan::{DropReason, Plan};

/// A query about each sample.
enum Query<'p> {
    /// Which object is at its point?
    Object {
        array: usize,
        at: &'p ObjectAt,
        chunks: ChunksAtPoints,
    },
    /// Is at least this fraction of its window nonzero?
    Nonzero { array: usize, least: f64 },
    /// How does its window compress, if it is a candidate?
    Trial { array: usize },
}

/// The queries about the samples of a draft.
pub(super) struct SampleQueries<'p> {
    plan: &'p Plan,
    sources: &'p Sources,
    queries: Vec<Query<'p>>,
    candidates: &'p Candidates,
}

/// Whether the config drops samples by their voxels, or looks up their objects.
pub(super) fn read_voxels(plan: &Plan, sources: &Sources) -> bool {
    let mut arrays = plan.config.arrays.values().enumerate();
    arrays.any(|(array, config)| {
        let is_limited = config.min_nonzero_fraction.is_some();
        object_at(config).is_some() || is_limited && !sources.recipe(array).marks_inside
    })
}

fn object_at(config: &ArrayConfig) -> Option<&ObjectAt> {
    match &config.transform {
        Transform::ObjectAt(at) => Some(at),
        _ => None,
    }
}

impl<'p> SampleQueries<'p> {
    /// The queries that the config asks for, and trials of the windows of the candidates.
    pub fn new(plan: &'p Plan, sources: &'p Sources, candidates: &'p Candidates) -> Self {
        let configs = || plan.config.arrays.values().enumerate();
        let object = |(array, config): (usize, &'p ArrayConfig)| {
            let at = object_at(config)?;
            let chunks = ChunksAtPoints::new(sources);
            Some(Query::Object { array, at, chunks })
        };
        let nonzero = |(array, config): (usize, &ArrayConfig)| {
            let least = config.min_nonzero_fraction?;
            Some(Query::Nonzero { array, least })
        };
        let trials = candidates.arrays().iter();
        let queries = configs()
            .filter_map(object)
            .chain(configs().filter_map(nonzero))
            .chain(trials.map(|array| Query::Trial { array: *array }));
        Self {
            plan,
            sources,
            queries: queries.collect(),
            candidates,
        }
    }

    /// What follows from the answers to all queries.
    ///
    /// # Errors
    /// All chunks at the points of an array are missing.
    pub fn conclude(self, units: Vec<Answers>) -> Result<Conclusion, ExtractError> {
        let mut answers = Answers::new(0..0, self.plan.arrays.len());
        units.into_iter().for_each(|unit| answers.append(unit));
        let reasons = answers.dropped_by.iter();
        let reasons = reasons.map(|query| query.map(|query| self.reason(query as usize)));
        let reasons = reasons.collect();
        let mut warnings = Vec::new();
        for (number, query) in self.queries.into_iter().enumerate() {
            let Query::Object { array, at, chunks } = query else {
                continue;
            };
            warnings.extend(chunks.warnings(self.plan, self.sources, array, at.missing)?);
            let without = answers.without_object(array, number);
            if at.missing == MissingObject::Keep && without > 0 {
                warnings.push(format!(
                    "{without} sample(s) have no object in `{}`: their masks are empty",
                    self.plan.arrays[array].name
                ));
            }
        }
        Ok(Conclusion {
            warnings,
            objects: answers.objects,
            reasons,
            trials: answers.trials,
        })
    }

    fn reason(&self, query: usize) -> DropReason {
        match self.queries[query] {
            Query::Object { .. } => DropReason::NoObject,
            Query::Nonzero { .. } | Query::Trial { .. } => DropReason::TooLittleNonzero,
        }
    }

    /// The values of the sample's window of `array`.
    fn window<'s>(
        &self,
        cutter: &WindowCutter<'_>,
        array: usize,
        sample: usize,
        answers: &Answers,
        scratch: &'s mut CutScratch,
    ) -> Result<&'s [u8], ExtractError> {
        let (split, i) = nth_sample(self.plan, sample);
        let request = window_request(array, split, i, answers.object(array, sample));
        cut_whole(cutter, request, scratch)
    }

    /// The fraction of the window's values that are not 0.
    fn nonzero_fraction(
        &self,
        cutter: &WindowCutter<'_>,
        array: usize,
        sample: usize,
        answers: &Answers,
        scratch: &mut CutScratch,
    ) -> Result<f64, ExtractError> {
        let data_type = self.sources.recipe(array).data_type();
        let window = self.window(cutter, array, sample, answers, scratch)?;
        let values = window.len() / data_type.size_bytes();
        Ok(data_type.count_nonzero(window) as f64 / values as f64)
    }
}

impl Queries for SampleQueries<'_> {
    type Answers = Answers;

    fn samples(&self) -> usize {
        self.plan.samples() as usize
    }

    fn per_sample(&self) -> usize {
        self.queries.len()
    }

    fn reads(&self, sample: usize, query: usize) -> QueryBox {
        let (split, i) = nth_sample(self.plan, sample);
        let window = |array| window_box(self.plan, self.sources, array, split, i);
        match &self.queries[query] {
            Query::Object { array, at, .. } => {
                let search = Search::new(self.plan, *array, at, split, i);
                (search.source(), search.voxels())
            }
            Query::Nonzero { array, .. } => window(*array),
            Query::Trial { array } if self.candidates.find(sample).is_some() => window(*array),
            Query::Trial { .. } => (0, None),
        }
    }

    fn begin_unit(&self, samples: Range<usize>) -> Answers {
        let mut answers = Answers::new(samples, self.plan.arrays.len());
        for query in &self.queries {
            if let Query::Object { array, .. } = query {
                answers.begin_objects(*array);
            }
        }
        answers
    }

    fn answer(
        &self,
        cutter: &WindowCutter<'_>,
        sample: usize,
        query: usize,
        answers: &mut Answers,
        scratch: &mut CutScratch,
    ) -> Result<bool, ExtractError> {
        let is_wanted = match &self.queries[query] {
            Query::Object { array, at, chunks } => {
                let (split, i) = nth_sample(self.plan, sample);
                let search = Search::new(self.plan, *array, at, split, i);
                let object = search.run(cutter, scratch, chunks)?;
                answers.set_object(*array, sample, object);
                object != 0 || at.missing == MissingObject::Keep
            }
            Query::Nonzero { array, least } => {
                self.nonzero_fraction(cutter, *array, sample, answers, scratch)? >= *least
            }
            Query::Trial { array } => {
                if let Some(candidate) = self.candidates.find(sample) {
                    let window = self.window(cutter, *array, sample, answers, scratch);
                    let trial = window.and_then(|values| Ok(CodecTrial::of(values)?));
                    answers
                        .trials
                        .push(WindowTrial::new(candidate, *array, trial)?);
                }
                true
            }
        };
        if !is_wanted {
            answers.drop_sample(sample, query);
        }
        Ok(is_wanted)
    }
}

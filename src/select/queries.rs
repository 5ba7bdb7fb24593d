//! The queries about each sample, in this order: its object for each array that shows one (first those that need no mask of
//! another array), then how much of its window is nonzero for each array with a limit, then how its windows compress, if it
//! is a candidate.
//!
//! A sample that an answer drops has no later queries. So it has one drop reason, and nothing more is read for it.

use std::ops::Range;

use super::answers::{Answers, Conclusion, WindowTrial};
use super::candidates::Candidates;
use super::majority::majority_object;
use super::object_query::{FindObject, ObjectQuery};
use super::pass::{Queries, nth_sample};
use super::query_box::{NO_BOX, QueryBoxes};
use super::search::Search;
use super::window::{cut_whole, window_box, window_request};
use crate::config::{ArrayConfig, MissingObject, ObjectAt, Transform};
use crate::dataset::CodecTrial;
use crate::extract::{CutScratch, ExtractError, Sources, WindowCutter};
use crate::plan::{DropReason, EarlierPlan, Plan};

/// A query about each sample.
enum Query {
    /// Which object does it have?
    Object(ObjectQuery),
    /// Is at least this fraction of its window nonzero?
    Nonzero { array: usize, least: f64 },
    /// How does its window compress, if it is a candidate?
    Trial { array: usize },
}

/// The queries about the samples of a draft.
pub(super) struct SampleQueries<'p> {
    plan: &'p Plan,
    sources: &'p Sources,
    queries: Vec<Query>,
    candidates: &'p Candidates,
    earlier: Option<&'p EarlierPlan<'p>>,
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
    /// The queries that follow from the config, and trials of the windows of the candidates.
    pub fn new(
        plan: &'p Plan,
        sources: &'p Sources,
        candidates: &'p Candidates,
        earlier: Option<&'p EarlierPlan<'p>>,
    ) -> Self {
        let configs = || plan.config.arrays.values().enumerate();
        let object = |(array, config): (usize, &ArrayConfig)| {
            let at = object_at(config)?;
            Some(ObjectQuery::new(plan, sources, array, at))
        };
        let (of_masks, others): (Vec<_>, Vec<_>) = configs()
            .filter_map(object)
            .partition(|query| matches!(query.how, FindObject::Majority { .. }));
        let objects = others.into_iter().chain(of_masks).map(Query::Object);
        let nonzero = |(array, config): (usize, &ArrayConfig)| {
            let least = config.min_nonzero_fraction?;
            Some(Query::Nonzero { array, least })
        };
        let trials = candidates.arrays().iter();
        let queries = objects
            .chain(configs().filter_map(nonzero))
            .chain(trials.map(|array| Query::Trial { array: *array }));
        Self {
            plan,
            sources,
            queries: queries.collect(),
            candidates,
            earlier,
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
            let Query::Object(ObjectQuery {
                array,
                missing,
                how,
            }) = query
            else {
                continue;
            };
            match how {
                FindObject::AtPoint { chunks, .. } => {
                    warnings.extend(chunks.warnings(self.plan, self.sources, array, missing)?);
                }
                FindObject::WithId(_) | FindObject::Known => {
                    warnings.extend(absent_objects(self.plan, &answers, array, number));
                }
                FindObject::Majority { .. } => {}
            }
            let samples = answers.reached(number);
            let without =
                samples.filter(|sample| objects(self.plan, &answers, array, *sample).is_empty());
            let without = without.count();
            if missing == MissingObject::Keep && without > 0 {
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
            Query::Object(_) => DropReason::NoObject,
            Query::Nonzero { .. } | Query::Trial { .. } => DropReason::TooLittleNonzero,
        }
    }

    /// The answer to a query about the object of the sample, if it follows from the earlier plan. That there is none does not: a
    /// missing chunk may be the reason.
    fn known_object(&self, query: &ObjectQuery, sample: usize) -> Option<u64> {
        let (split, i) = nth_sample(self.plan, sample);
        let objects = self
            .earlier?
            .known_objects(self.plan, query.array, split, i)?;
        match query.how {
            FindObject::Known => {
                let now = split.objects[query.array].of(i);
                (now == objects && !now.is_empty()).then_some(0)
            }
            _ => objects.first().copied(),
        }
    }

    /// Whether it follows from the earlier plan that enough of the sample's window is nonzero.
    fn is_known_to_be_kept(&self, array: usize, sample: usize) -> bool {
        let (split, i) = nth_sample(self.plan, sample);
        let earlier = self.earlier;
        earlier.is_some_and(|earlier| earlier.is_known_to_be_kept(self.plan, array, split, i))
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
        let objects = objects(self.plan, answers, array, sample);
        cut_whole(cutter, window_request(array, split, i, objects), scratch)
    }

    /// Looks up the objects of the sample. Returns whether it has one that its window may show.
    fn object(
        &self,
        cutter: &WindowCutter<'_>,
        query: &ObjectQuery,
        sample: usize,
        answers: &mut Answers,
        scratch: &mut CutScratch,
    ) -> Result<bool, ExtractError> {
        let (split, i) = nth_sample(self.plan, sample);
        let array = query.array;
        let object = match &query.how {
            FindObject::AtPoint {
                point,
                radius_nm,
                chunks,
            } => {
                let search = Search::new(self.plan, array, *point, *radius_nm, split, i);
                search.run(cutter, scratch, chunks)?
            }
            FindObject::WithId(column) => column.id(self.plan, split, i),
            // Nothing to note.
            FindObject::Known => 0,
            FindObject::Majority { mask } => {
                let labels = window_request(array, split, i, &[]);
                let of_mask = objects(self.plan, answers, *mask, sample);
                let mask = window_request(*mask, split, i, of_mask);
                majority_object(cutter, labels, mask, scratch)?
            }
        };
        if object != 0 {
            answers.set_object(array, sample, object);
        }
        if query.missing == MissingObject::Keep {
            return Ok(true);
        }
        let has_object = !objects(self.plan, answers, array, sample).is_empty();
        let by_id = matches!(query.how, FindObject::WithId(_) | FindObject::Known);
        if has_object && by_id {
            return Ok(self.nonzero_fraction(cutter, array, sample, answers, scratch)? > 0.0);
        }
        Ok(has_object)
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

/// The objects of a sample in an array, as far as they are known.
fn objects<'a>(plan: &'a Plan, answers: &'a Answers, array: usize, sample: usize) -> &'a [u64] {
    let (split, i) = nth_sample(plan, sample);
    match split.objects[array].of(i) {
        [] => answers.object(array, sample),
        objects => objects,
    }
}

/// A warning about samples that were dropped because no voxel of their windows has the id of one of their objects.
fn absent_objects(plan: &Plan, answers: &Answers, array: usize, query: usize) -> Option<String> {
    let object = |sample| objects(plan, answers, array, sample).first().copied();
    let dropped = answers.dropped(query);
    let mut dropped = dropped.filter_map(|sample| Some((sample, object(sample)?)));
    let (sample, object) = dropped.next()?;
    let samples = dropped.count() + 1;
    let (split, i) = nth_sample(plan, sample);
    let annotation = split.samples[i].annotation_id;
    let (name, config) = plan.config.arrays.get_index(array)?;
    Some(format!(
        "{samples} sample(s) were dropped as no_object for `{name}` because no voxel of their window has the id of their object, for example object {object} of annotation {annotation}: check that the ids belong to this version of the layer `{}`",
        config.layer
    ))
}

impl Queries for SampleQueries<'_> {
    type Answers = Answers;

    fn samples(&self) -> usize {
        self.plan.samples() as usize
    }

    fn per_sample(&self) -> usize {
        self.queries.len()
    }

    fn reads(&self, sample: usize, query: usize) -> QueryBoxes {
        let (split, i) = nth_sample(self.plan, sample);
        let window = |array| {
            let window = window_box(self.plan, self.sources, array, split, i);
            [window, NO_BOX]
        };
        match &self.queries[query] {
            Query::Object(query) if self.known_object(query, sample).is_some() => [NO_BOX; 2],
            Query::Object(query) => query.reads(self.plan, self.sources, split, i),
            Query::Nonzero { array, .. } if self.is_known_to_be_kept(*array, sample) => [NO_BOX; 2],
            Query::Nonzero { array, .. } => window(*array),
            Query::Trial { array } if self.candidates.find(sample).is_some() => window(*array),
            Query::Trial { .. } => [NO_BOX; 2],
        }
    }

    fn begin_unit(&self, samples: Range<usize>) -> Answers {
        let mut answers = Answers::new(samples, self.plan.arrays.len());
        for query in &self.queries {
            if let Query::Object(query) = query
                && !matches!(query.how, FindObject::Known)
            {
                answers.begin_objects(query.array);
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
            Query::Object(query) => match self.known_object(query, sample) {
                Some(object) => {
                    if let FindObject::AtPoint { chunks, .. } = &query.how {
                        // The chunk at its point was stored when the earlier plan was made.
                        let (split, i) = nth_sample(self.plan, sample);
                        let source = self.plan.source_of(query.array, &split.samples[i]);
                        chunks.note(source, true, None, object);
                    }
                    if object != 0 {
                        answers.set_object(query.array, sample, object);
                    }
                    true
                }
                None => self.object(cutter, query, sample, answers, scratch)?,
            },
            Query::Nonzero { array, .. } if self.is_known_to_be_kept(*array, sample) => true,
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

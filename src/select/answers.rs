//! The answers to the queries about samples, and what follows from them for the plan.

use std::ops::Range;

use super::candidates::Candidates;
use crate::dataset::CodecTrial;
use crate::extract::ExtractError;
use crate::plan::{DropReason, Plan, SampleObjects};

/// The answers about some consecutive samples.
pub(super) struct Answers {
    /// The samples.
    samples: Range<usize>,
    /// For each array whose objects were looked up: the object of each sample, 0 for none. Empty for other arrays.
    pub objects: Vec<Vec<u64>>,
    /// For each sample the query whose answer dropped it.
    pub dropped_by: Vec<Option<u32>>,
    /// In any order.
    pub trials: Vec<WindowTrial>,
}

/// How a window of a candidate compresses.
pub(super) struct WindowTrial {
    candidate: usize,
    array: usize,
    /// An error counts only if the candidate is in the finished plan.
    trial: Result<CodecTrial, ExtractError>,
}

impl WindowTrial {
    /// The trial of the window of the candidate in `array`.
    ///
    /// # Errors
    /// A volume cannot be read.
    pub fn new(
        candidate: usize,
        array: usize,
        trial: Result<CodecTrial, ExtractError>,
    ) -> Result<Self, ExtractError> {
        match trial {
            Ok(_) | Err(ExtractError::MissingChunk { .. } | ExtractError::Value { .. }) => {
                Ok(Self {
                    candidate,
                    array,
                    trial,
                })
            }
            Err(e) => Err(e),
        }
    }
}

impl Answers {
    /// No answer yet about `samples`.
    pub fn new(samples: Range<usize>, arrays: usize) -> Self {
        Self {
            objects: vec![Vec::new(); arrays],
            dropped_by: vec![None; samples.len()],
            trials: Vec::new(),
            samples,
        }
    }

    /// Makes room for the objects of an array.
    pub fn begin_objects(&mut self, array: usize) {
        self.objects[array] = vec![0; self.samples.len()];
    }

    /// Notes the object of a sample.
    pub fn set_object(&mut self, array: usize, sample: usize, object: u64) {
        self.objects[array][sample - self.samples.start] = object;
    }

    /// The object of a sample that was looked up; none if there is none, or if none was looked up.
    pub fn object(&self, array: usize, sample: usize) -> &[u64] {
        match self.objects[array].get(sample - self.samples.start) {
            None | Some(0) => &[],
            Some(object) => std::slice::from_ref(object),
        }
    }

    /// Notes that the answer to `query` drops the sample.
    pub fn drop_sample(&mut self, sample: usize, query: usize) {
        self.dropped_by[sample - self.samples.start] = Some(query as u32);
    }

    /// The samples that `query` dropped.
    pub fn dropped(&self, query: usize) -> impl Iterator<Item = usize> {
        let samples = self.samples.clone().zip(&self.dropped_by);
        let dropped = samples.filter(move |(_, by)| **by == Some(query as u32));
        dropped.map(|(sample, _)| sample)
    }

    /// The samples that no query before `query` dropped.
    pub fn reached(&self, query: usize) -> impl Iterator<Item = usize> {
        let was_dropped = move |by: &Option<u32>| by.is_some_and(|by| (by as usize) < query);
        let samples = self.samples.clone().zip(&self.dropped_by);
        let reached = samples.filter(move |(_, by)| !was_dropped(by));
        reached.map(|(sample, _)| sample)
    }

    /// Adds the answers about the samples that follow.
    pub fn append(&mut self, mut next: Self) {
        self.samples.end += next.samples.len();
        for (objects, next) in self.objects.iter_mut().zip(&mut next.objects) {
            objects.append(next);
        }
        self.dropped_by.append(&mut next.dropped_by);
        self.trials.append(&mut next.trials);
    }
}

/// What follows from the answers about all samples.
pub(super) struct Conclusion {
    pub warnings: Vec<String>,
    /// As in [`Answers::objects`], of all samples.
    pub objects: Vec<Vec<u64>>,
    /// For each sample why it is dropped.
    pub reasons: Vec<Option<DropReason>>,
    pub trials: Vec<WindowTrial>,
}

impl Conclusion {
    /// Adds the objects to the plan, and drops samples. Returns the trials.
    pub fn apply(self, plan: &mut Plan) -> Trials {
        plan.warnings.extend(self.warnings);
        let of_arrays = self.objects.into_iter().map(Vec::into_iter);
        let mut of_arrays: Vec<_> = of_arrays.collect();
        let mut starts = Vec::with_capacity(plan.splits.len());
        let mut start = 0;
        for split in &mut plan.splits {
            starts.push(start);
            start += split.samples.len();
            for (objects, all) in split.objects.iter_mut().zip(&mut of_arrays) {
                // The objects of other arrays are none, or were known before.
                if all.len() > 0 {
                    let of_split = all.take(split.samples.len()).collect();
                    *objects = SampleObjects::one_each(of_split);
                }
            }
        }
        plan.drop_samples(|split, i, _| self.reasons.get(starts[split] + i).copied().flatten());
        Trials(self.trials)
    }
}

/// How the windows of candidates compress.
pub(super) struct Trials(Vec<WindowTrial>);

impl Trials {
    /// The array and the trial of each window of the candidates that are in the finished plan.
    ///
    /// # Errors
    /// One of these windows could not be cut: the first one by sample, then by array.
    pub fn in_plan(
        mut self,
        candidates: &Candidates,
        plan: &Plan,
    ) -> Result<Vec<(usize, CodecTrial)>, ExtractError> {
        let chosen = candidates.in_plan(plan);
        self.0
            .sort_by_key(|window| (window.candidate, window.array));
        let trials = self.0.into_iter();
        let trials = trials.filter(|window| chosen.contains(&window.candidate));
        trials
            .map(|window| Ok((window.array, window.trial?)))
            .collect()
    }
}

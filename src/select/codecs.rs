//! Choosing the codec of each array that the config leaves open: a few windows are cut, exactly as the job will cut them,
//! and compressed.

use std::ops::Range;

use super::candidates::{CHOSEN, SamplePosition, lowest_samples};
use super::pass::{Queries, VoxelPass};
use super::query_box::{NO_BOX, QueryBoxes};
use super::report::SelectReport;
use super::window::{cut_whole, window_box, window_request};
use crate::dataset::{CodecChoice, CodecTrial};
use crate::extract::{CutScratch, ExtractError, Sources, WindowCutter};
use crate::plan::{EarlierPlan, Plan};

/// The arrays whose codec neither the config states nor an earlier plan has. The others get theirs.
pub(super) fn open_arrays(
    plan: &Plan,
    sources: &mut Sources,
    earlier: Option<&EarlierPlan<'_>>,
) -> Vec<usize> {
    let mut open = Vec::new();
    for (array, config) in plan.config.arrays.values().enumerate() {
        if CodecChoice::stated(&config.codec).is_some() {
            continue;
        }
        match earlier.and_then(|earlier| earlier.codec(array)) {
            Some(codec) => sources.choose_codec(array, codec),
            None => open.push(array),
        }
    }
    open
}

/// Chooses the codec of each array of `open`. `trials` has the array and the trial of each window that decides.
pub(super) fn choose(sources: &mut Sources, open: &[usize], trials: &[(usize, CodecTrial)]) {
    for array in open {
        let mut trial = CodecTrial::default();
        let of_array = trials.iter().filter(|(a, _)| a == array);
        of_array.for_each(|(_, window)| trial.add(window));
        let choice = CodecChoice {
            codec: trial.codec(),
            auto: Some(trial),
            align_bytes: None,
        };
        sources.choose_codec(*array, choice);
    }
}

/// Chooses the codec of each array of `open` by windows of the finished plan. Takes `memory_bytes` at most.
///
/// # Errors
/// A window cannot be cut.
pub(super) fn choose_by_windows(
    plan: &Plan,
    sources: &mut Sources,
    memory_bytes: u64,
    open: &[usize],
) -> Result<SelectReport, ExtractError> {
    // Sample by sample, so that arrays of one layer find its chunks in the cache.
    let windows = lowest_samples(plan, CHOSEN, |_| true)
        .into_iter()
        .flat_map(|at| open.iter().map(move |array| (*array, at)));
    let pass = VoxelPass {
        plan,
        sources,
        memory_bytes,
    };
    let (trials, report) = pass.run(&WindowTrials {
        plan,
        sources,
        windows: windows.collect(),
    })?;
    let trials: Vec<_> = trials.into_iter().flatten().collect();
    choose(sources, open, &trials);
    Ok(report)
}

/// One query about each of some windows: how it compresses.
struct WindowTrials<'p> {
    plan: &'p Plan,
    sources: &'p Sources,
    windows: Vec<(usize, SamplePosition)>,
}

impl Queries for WindowTrials<'_> {
    type Answers = Vec<(usize, CodecTrial)>;

    fn samples(&self) -> usize {
        self.windows.len()
    }

    fn per_sample(&self) -> usize {
        1
    }

    fn per_unit(&self) -> usize {
        1
    }

    fn reads(&self, window: usize, _: usize) -> QueryBoxes {
        let (array, at) = self.windows[window];
        let split = &self.plan.splits[at.split];
        let window = window_box(self.plan, self.sources, array, split, at.sample);
        [window, NO_BOX]
    }

    fn begin_unit(&self, _: Range<usize>) -> Self::Answers {
        Vec::new()
    }

    fn answer(
        &self,
        cutter: &WindowCutter<'_>,
        window: usize,
        _: usize,
        answers: &mut Self::Answers,
        scratch: &mut CutScratch,
    ) -> Result<bool, ExtractError> {
        let (array, at) = self.windows[window];
        let split = &self.plan.splits[at.split];
        let objects = split.objects[array].of(at.sample);
        let request = window_request(array, split, at.sample, objects);
        let values = cut_whole(cutter, request, scratch)?;
        answers.push((array, CodecTrial::of(values)?));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};

    use super::*;
    use crate::dataset::Codec;
    use crate::job::{Job, JobError};
    use crate::storage::Storage;

    const MEMORY_BYTES: u64 = 1 << 30;

    /// Writes the demo's collection, and changes its config.
    fn demo(folder: &Path, change: impl Fn(&mut Value)) -> PathBuf {
        let path = crate::demo::testing::write_collection(folder);
        let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    fn choose_again(job: &mut Job) -> Result<SelectReport, ExtractError> {
        let open = open_arrays(&job.plan, &mut job.sources, None);
        choose_by_windows(&job.plan, &mut job.sources, MEMORY_BYTES, &open)
    }

    fn chosen(config: &Path, change: impl Fn(&mut Job)) -> Vec<CodecChoice> {
        let mut job = Job::prepare(config, MEMORY_BYTES, &Storage::default()).unwrap();
        change(&mut job);
        choose_again(&mut job).unwrap();
        let layout = job.sources.layout(&job.plan);
        layout.arrays.iter().map(|a| a.codec).collect()
    }

    #[test]
    fn the_choice_does_not_depend_on_the_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let config = demo(dir.path(), |_| {});
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| chosen(&config, |_| {}))
        };
        let expected = with(1);
        for choice in &expected {
            let auto = choice.auto.unwrap();
            assert_eq!((auto.windows, auto.codec()), (8, choice.codec), "{auto:?}");
            assert!(0 < auto.compressed_bytes && auto.compressed_bytes < auto.bytes);
        }
        assert_eq!(with(2), expected);
        assert_eq!(with(8), expected);
    }

    #[test]
    fn a_job_with_few_samples_tries_all_and_one_without_samples_gets_zstd() {
        let dir = tempfile::tempdir().unwrap();
        let config = demo(dir.path(), |_| {});
        for n in [3, 0] {
            let few = |job: &mut Job| {
                job.plan.splits[0].samples.truncate(n);
                job.plan.splits[1].samples.clear();
            };
            for choice in chosen(&config, few) {
                let auto = choice.auto.unwrap();
                assert_eq!(auto.windows, n as u64);
                assert!(n > 0 || choice.codec == Codec::Zstd { level: 1 });
            }
        }
    }

    #[test]
    fn nothing_is_read_where_the_config_states_the_codec() {
        let dir = tempfile::tempdir().unwrap();
        for codec in ["auto", "none", "zstd", "lz4", "blosc"] {
            let folder = dir.path().join(codec);
            let config = demo(&folder, |config| {
                for array in config["arrays"].as_object_mut().unwrap().values_mut() {
                    array["codec"] = json!(codec);
                }
                // So that reading is an error.
                config["missing"] = json!("error");
            });
            for layer in ["img", "label0", "label1"] {
                std::fs::remove_dir_all(folder.join(layer).join("8_8_40")).unwrap();
            }
            let job = Job::prepare(&config, MEMORY_BYTES, &Storage::default());
            if codec == "auto" {
                let e = job.unwrap_err();
                assert!(
                    matches!(e, JobError::Extract(ExtractError::MissingChunk { .. })),
                    "{e}"
                );
            } else {
                let job = job.unwrap();
                assert_eq!(job.selected, SelectReport::default());
                let codecs = job.layout.arrays.iter().map(|a| a.codec);
                assert!(codecs.into_iter().all(|codec| codec.auto.is_none()));
            }
        }
    }
}

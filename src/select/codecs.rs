//! Choosing the codec of each array that the config leaves open: a few windows are cut, exactly as the job will cut them,
//! and compressed.
//!
//! The windows are those of a few samples out of all splits, the same for every array, chosen with the seed of the config.
//! So the choice follows from the plan and the sources alone, however often it is made.

use std::collections::BinaryHeap;

use super::pass::{QueryUnits, VoxelPass, window_request};
use crate::dataset::{Codec, CodecChoice, CodecTrial};
use crate::extract::{ExtractError, Sources};
use crate::plan::Plan;

/// Most windows of an array that are compressed.
const WINDOWS: usize = 8;

/// Chooses the codec of every array whose codec the config does not state. Reads nothing for the others. Takes
/// `memory_bytes` at most.
///
/// # Errors
/// A window cannot be cut.
pub(crate) fn choose_codecs(
    plan: &Plan,
    sources: &mut Sources,
    memory_bytes: u64,
) -> Result<(), ExtractError> {
    let configs = plan.config.arrays.values().enumerate();
    let open = configs.filter(|(_, config)| Codec::stated(&config.codec).is_none());
    let open: Vec<usize> = open.map(|(array, _)| array).collect();
    if open.is_empty() {
        return Ok(());
    }
    // Sample by sample, so that arrays of one layer find its chunks in the cache.
    let windows: Vec<(usize, SamplePosition)> = lowest_samples(plan, WINDOWS)
        .into_iter()
        .flat_map(|at| open.iter().map(move |array| (*array, at)))
        .collect();
    let pass = VoxelPass {
        plan,
        sources,
        memory_bytes,
    };
    let units = QueryUnits {
        count: windows.len(),
        per_unit: 1,
    };
    let trials = pass.map_queries(
        units,
        |n| {
            let (array, at) = windows[n];
            pass.window_box(array, &plan.splits[at.split], at.sample)
        },
        |cutter, n, scratch| {
            let (array, at) = windows[n];
            let request = window_request(array, &plan.splits[at.split], at.sample);
            Ok(CodecTrial::of(cutter.cut_whole(request, scratch)?)?)
        },
    )?;
    for array in open {
        let mut trial = CodecTrial::default();
        let of_array = windows
            .iter()
            .zip(&trials)
            .filter(|((a, _), _)| *a == array);
        of_array.for_each(|(_, window)| trial.add(window));
        let choice = CodecChoice {
            codec: trial.codec(),
            auto: Some(trial),
        };
        sources.choose_codec(array, choice);
    }
    Ok(())
}

/// A sample, by its split and its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SamplePosition {
    split: usize,
    sample: usize,
}

/// The `n` samples (or all, where there are fewer) with the lowest hashes of seed, box and annotation, in the order of the
/// hashes.
fn lowest_samples(plan: &Plan, n: usize) -> Vec<SamplePosition> {
    let seed = plan.config.points.choose.seed;
    let mut lowest = BinaryHeap::new();
    for (number, split) in plan.splits.iter().enumerate() {
        for (i, sample) in split.samples.iter().enumerate() {
            let box_id = &plan.boxes[sample.box_index as usize].id;
            let at = SamplePosition {
                split: number,
                sample: i,
            };
            lowest.push((sample_hash(seed, box_id, sample.annotation_id), at));
            if lowest.len() > n {
                lowest.pop();
            }
        }
    }
    let lowest = lowest.into_sorted_vec().into_iter();
    lowest.map(|(_, at)| at).collect()
}

/// Other hashes than those of `max_per_box`, which keeps the lowest of each box.
fn sample_hash(seed: u64, box_id: &str, annotation_id: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"codec");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(box_id.len() as u64).to_le_bytes());
    hasher.update(box_id.as_bytes());
    hasher.update(&annotation_id.to_le_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};

    use super::*;
    use crate::job::Job;
    use crate::storage::Storage;

    const MEMORY_BYTES: u64 = 1 << 30;

    /// Writes the demo's collection, and changes its config.
    fn demo(folder: &Path, change: impl Fn(&mut Value)) -> PathBuf {
        let demo = crate::demo::write_collection(folder).unwrap();
        let mut config = serde_json::from_slice(&std::fs::read(&demo.config).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&demo.config, config.to_string()).unwrap();
        demo.config
    }

    fn chosen(config: &Path, change: impl Fn(&mut Job)) -> Vec<CodecChoice> {
        let mut job = Job::prepare(config, MEMORY_BYTES, &Storage::default()).unwrap();
        change(&mut job);
        choose_codecs(&job.plan, &mut job.sources, MEMORY_BYTES).unwrap();
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
        let state = |codec: Value| {
            move |config: &mut Value| {
                for array in config["arrays"].as_object_mut().unwrap().values_mut() {
                    array["codec"] = codec.clone();
                }
                // So that reading is an error.
                config["missing"] = json!("error");
            }
        };
        for (i, codec) in ["auto", "none", "zstd", "lz4", "blosc"]
            .into_iter()
            .enumerate()
        {
            let folder = dir.path().join(i.to_string());
            let config = demo(&folder, state(json!(codec)));
            let mut job = Job::prepare(&config, MEMORY_BYTES, &Storage::default()).unwrap();
            remove_chunks(&folder);
            let choice = choose_codecs(&job.plan, &mut job.sources, MEMORY_BYTES);
            match codec {
                "auto" => assert!(matches!(choice, Err(ExtractError::MissingChunk { .. }))),
                _ => choice.unwrap(),
            }
            let layout = job.sources.layout(&job.plan);
            assert!(layout.arrays.iter().all(|a| a.codec.auto.is_none()));
        }
    }

    /// Removes every file below `folder` but metadata.
    fn remove_chunks(folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                remove_chunks(&path);
            } else if !path.ends_with("info") {
                std::fs::remove_file(&path).unwrap();
            }
        }
    }

    #[test]
    fn another_seed_chooses_other_samples_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = demo(dir.path(), |_| {});
        let mut plan = Job::prepare(&config, MEMORY_BYTES, &Storage::default())
            .unwrap()
            .plan;
        let first = lowest_samples(&plan, 8);
        assert_eq!(lowest_samples(&plan, 8), first);
        assert_eq!(lowest_samples(&plan, 4), first[..4]);
        let all = lowest_samples(&plan, usize::MAX >> 1);
        assert_eq!(all.len() as u64, plan.samples());
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), all.len());
        plan.config.points.choose.seed = 1;
        assert_ne!(lowest_samples(&plan, 8), first);
    }

    #[test]
    fn the_digest_depends_on_the_codec() {
        let dir = tempfile::tempdir().unwrap();
        let config = demo(dir.path(), |_| {});
        let Job {
            plan, mut sources, ..
        } = Job::prepare(&config, MEMORY_BYTES, &Storage::default()).unwrap();
        let mut digests = Vec::new();
        for codec in [Codec::None, Codec::default(), Codec::Zstd { level: 2 }] {
            sources.choose_codec(0, codec.into());
            digests.push(sources.digest(&plan));
        }
        assert!(digests[0] != digests[1] && digests[1] != digests[2]);
    }
}

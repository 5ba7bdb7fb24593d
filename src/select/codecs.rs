//! Which codec suits an array's values: a few windows of it are cut, just as the job will cut them, and compressed.
//!
//! The windows are those of samples that the seed draws, out of all splits, the same for every array. So the choice
//! follows from plan and sources alone, whoever makes it, however often.

use std::collections::BinaryHeap;

use super::pass::{self, Questions};
use crate::dataset::{Codec, CodecChoice, CodecTrial};
use crate::extract::{ExtractError, Sources, WindowRequest};
use crate::plan::Plan;

/// Windows of an array that are compressed, where it has so many.
const WINDOWS: usize = 8;

/// Chooses the codec of every array of which the config does not state it. Nothing is read for others. Fails where a
/// window cannot be cut; it takes `memory_bytes` at most.
pub fn choose_codecs(
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
    let sampled = sampled(plan, WINDOWS);
    // Sample by sample, so that arrays of one layer find its chunks in the cache.
    let windows = sampled
        .iter()
        .flat_map(|at| open.iter().map(move |a| (*a, *at)));
    let windows: Vec<_> = windows.collect();
    let tried = pass::each(
        plan,
        sources,
        memory_bytes,
        Questions {
            count: windows.len(),
            per_unit: 1,
        },
        |n| {
            let (array, (split, i)) = windows[n];
            let sample = &plan.splits[split].samples[i];
            let touched = sources.read_box(plan, array, sample);
            (plan.source_of(array, sample), touched)
        },
        |cutter, n, scratch| {
            let (array, (split, i)) = windows[n];
            let split = &plan.splits[split];
            let wanted = WindowRequest {
                array,
                sample: &split.samples[i],
                object: split.objects[array].get(i).copied().unwrap_or(0),
            };
            Ok(CodecTrial::of(cutter.cut_whole(wanted, scratch)?)?)
        },
    )?;
    for array in open {
        let mut trial = CodecTrial::default();
        let of_array = windows.iter().zip(&tried).filter(|((a, _), _)| *a == array);
        of_array.for_each(|(_, tried)| trial.add(tried));
        let choice = CodecChoice {
            codec: trial.codec(),
            auto: Some(trial),
        };
        sources.choose_codec(array, choice);
    }
    Ok(())
}

/// Split and position of `n` samples (all, where there are no more): those with the lowest digests of seed, box and
/// annotation, in the order of these.
fn sampled(plan: &Plan, n: usize) -> Vec<(usize, usize)> {
    let seed = plan.config.points.choose.seed;
    let mut lowest = BinaryHeap::new();
    for (number, split) in plan.splits.iter().enumerate() {
        for (i, sample) in split.samples.iter().enumerate() {
            let box_id = &plan.boxes[sample.box_index as usize].id;
            lowest.push((sample_hash(seed, box_id, sample.annotation_id), number, i));
            if lowest.len() > n {
                lowest.pop();
            }
        }
    }
    let sampled = lowest.into_sorted_vec().into_iter();
    sampled.map(|(_, split, i)| (split, i)).collect()
}

/// Other lots than those of `max_per_box`: it keeps the lowest of each box.
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

    const MEMORY_BYTES: u64 = 1 << 30;

    /// Writes the demo's collection, with another config.
    fn demo(folder: &Path, change: impl Fn(&mut Value)) -> PathBuf {
        let made = crate::demo::write_collection(folder).unwrap();
        let mut config = serde_json::from_slice(&std::fs::read(&made.config).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&made.config, config.to_string()).unwrap();
        made.config
    }

    fn chosen(config: &Path, change: impl Fn(&mut Job)) -> Vec<CodecChoice> {
        let mut job = Job::prepare(config, MEMORY_BYTES).unwrap();
        change(&mut job);
        choose_codecs(&job.plan, &mut job.sources, MEMORY_BYTES).unwrap();
        let layout = job.sources.layout(&job.plan);
        layout.arrays.iter().map(|a| a.codec).collect()
    }

    #[test]
    fn any_number_of_threads_makes_the_same_choice() {
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
    fn of_few_samples_all_are_tried_and_without_any_it_is_zstd() {
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
            let mut job = Job::prepare(&config, MEMORY_BYTES).unwrap();
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

    /// Removes every file below `folder` that is no metadata.
    fn remove_chunks(folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => remove_chunks(&path),
                false if path.ends_with("info") => {}
                false => std::fs::remove_file(&path).unwrap(),
            }
        }
    }

    #[test]
    fn another_seed_draws_other_samples_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = demo(dir.path(), |_| {});
        let mut plan = Job::prepare(&config, MEMORY_BYTES).unwrap().plan;
        let first = sampled(&plan, 8);
        assert_eq!(sampled(&plan, 8), first);
        assert_eq!(sampled(&plan, 4), first[..4]);
        let all = sampled(&plan, usize::MAX >> 1);
        assert_eq!(all.len() as u64, plan.samples());
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), all.len());
        plan.config.points.choose.seed = 1;
        assert_ne!(sampled(&plan, 8), first);
    }

    #[test]
    fn another_codec_is_another_digest() {
        let dir = tempfile::tempdir().unwrap();
        let config = demo(dir.path(), |_| {});
        let Job {
            plan, mut sources, ..
        } = Job::prepare(&config, MEMORY_BYTES).unwrap();
        let mut digests = Vec::new();
        for codec in [Codec::None, Codec::default(), Codec::Zstd { level: 2 }] {
            sources.choose_codec(0, codec.into());
            digests.push(sources.digest(&plan));
        }
        assert!(digests[0] != digests[1] && digests[1] != digests[2]);
    }
}

//! Codecs of jobs that drop samples by their voxels.

use super::candidates::{CHOSEN, lowest_samples};
use super::*;
use crate::dataset::{CodecChoice, CodecTrial};

fn drop_some(config: &mut Value) {
    config["points"] = json!({"layer": "lines", "anchor": "midpoint"});
    config["leaks"] = json!("allow");
    config["arrays"] = json!({
        "img": {"layer": "img"},
        "own": {
            "layer": "seg", "min_nonzero_fraction": 0.05,
            "transform": {"object_at": {"point": "end", "radius_nm": 60}},
        },
    });
}

fn codecs(job: &Job) -> Vec<CodecChoice> {
    job.layout.arrays.iter().map(|a| a.codec).collect()
}

#[test]
fn the_lowest_candidates_that_remain_decide_whatever_the_threads_and_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let with = |threads, memory_bytes| {
        let path = dir.path().join("config.json");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let storage = crate::storage::Storage::default();
        pool.unwrap()
            .install(|| Job::prepare(&path, memory_bytes, &storage).unwrap())
    };
    let all = job(dir.path(), |config| {
        drop_some(config);
        config["arrays"] = json!({"img": {"layer": "img", "codec": "none"}});
    });
    let all = all.unwrap().plan;
    let id = |plan: &Plan, at: candidates::SamplePosition| {
        let sample = &plan.splits[at.split].samples[at.sample];
        (sample.box_index, sample.annotation_id)
    };
    let tried: Vec<_> = lowest_samples(&all, 2 * CHOSEN, |_| true)
        .into_iter()
        .map(|at| id(&all, at))
        .collect();
    job(dir.path(), drop_some).unwrap();
    let job = with(1, MEMORY_BYTES);
    let remain: Vec<_> = lowest_samples(&job.plan, usize::MAX >> 1, |_| true);
    let dropped = all.samples() as usize - remain.len();
    let decide = remain
        .into_iter()
        .filter(|at| tried.contains(&id(&job.plan, *at)));
    let decide: Vec<_> = decide.take(CHOSEN).collect();
    assert!(
        dropped > 5 && decide.len() > 2,
        "{dropped} {}",
        decide.len()
    );
    for (array, choice) in codecs(&job).into_iter().enumerate() {
        let compress = |values: &[u8]| CodecTrial::of(values).unwrap();
        let windows = map_windows(&job.plan, &job.sources, MEMORY_BYTES, array, compress).unwrap();
        let mut expected = CodecTrial::default();
        for at in &decide {
            expected.add(&windows[at.split][at.sample]);
        }
        assert_eq!(choice.auto, Some(expected));
        assert_eq!(choice.codec, expected.codec());
    }
    for (threads, memory_bytes) in [(2, MEMORY_BYTES), (8, MEMORY_BYTES), (1, 70 << 20)] {
        let again = with(threads, memory_bytes);
        assert_eq!(codecs(&again), codecs(&job));
        assert_eq!(again.plan, job.plan);
    }
}

#[test]
fn candidates_are_samples_that_the_limit_of_their_box_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), |config| {
        drop_some(config);
        config["points"]["choose"] = json!({"max_per_box": 4});
        config["arrays"]["own"]["transform"]["object_at"]["radius_nm"] = json!(1000);
        config["arrays"]["own"]["min_nonzero_fraction"] = json!(0);
    });
    let job = job.unwrap();
    assert!(job.plan.samples() >= 8);
    // No sample has too few voxels, so all that the limit keeps are in the finished plan.
    for choice in codecs(&job) {
        assert_eq!(choice.auto.unwrap().windows, 8);
    }
}

//! Jobs on the demo's collection.

mod late;
#[cfg(target_os = "linux")]
mod prefetch;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::demo;
use crate::job::{Job, JobError};
use crate::select::map_windows;
use crate::storage::BASE_BYTES;
use crate::volume::open_layer;

const MEMORY_BYTES: u64 = 1 << 30;

/// Writes the demo's collection, changes its config, and plans the job.
fn job(folder: &Path, change: impl Fn(&mut Value)) -> Job {
    try_job(folder, change).unwrap()
}

fn try_job(folder: &Path, change: impl Fn(&mut Value)) -> Result<Job, JobError> {
    let path = demo::write_collection(folder).unwrap().config;
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    Job::prepare(&path, MEMORY_BYTES)
}

#[test]
fn when_a_shard_cannot_be_published_no_more_are_begun_and_the_first_failure_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let Job {
        plan,
        sources,
        layout,
        ..
    } = job(dir.path(), |config| config["shard_samples"] = json!(1));
    let out = dir.path().join("out");
    let output = Output::claim(&out, sources.digest(&plan), &layout, false).unwrap();
    let todo = schedule::work_order(&plan, &layout);
    // More than are cut before the first is found not to be published: those with the publishers, those that
    // wait for them, and two per thread. A folder in its place lets a file be written, but not be named.
    const BLOCKED: usize = 2 * PUBLISHERS + 4;
    assert!(todo.len() > 2 * BLOCKED);
    for id in &todo[..BLOCKED] {
        fs::create_dir_all(out.join(layout.shard_path(*id))).unwrap();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let failure = pool.unwrap().install(|| {
        let progress = Progress::default();
        run(&plan, &sources, &layout, &output, MEMORY_BYTES, &progress).unwrap_err()
    });
    let told = failure.to_string();
    assert!(
        todo[..BLOCKED]
            .iter()
            .any(|id| told.contains(&layout.shard_path(*id))),
        "{told}"
    );
    // The folder of each shard is made when it is begun.
    let begun = todo[BLOCKED..].iter().filter(|id| {
        let path = out.join(layout.shard_path(**id));
        path.parent().unwrap().exists()
    });
    assert_eq!(begun.count(), 0);
}

#[test]
fn a_layers_own_fill_value_need_not_fit_where_the_config_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let Job { plan, sources, .. } = job(dir.path(), |config| {
        let image = dir.path().join("half");
        fs::create_dir(&image).unwrap();
        // Half of the demo's volume, at half its resolution: windows leave it.
        let shape = [97, 186, 58];
        let array = json!({
            "zarr_format": 2, "shape": shape, "chunks": shape, "dtype": "<i2", "fill_value": -1, "order": "C",
            "compressor": null, "filters": null,
        });
        fs::write(image.join(".zarray"), array.to_string()).unwrap();
        let voxels = shape.iter().product();
        fs::write(image.join("0.0.0"), [5, 0].repeat(voxels)).unwrap();
        let rows = dir.path().join("collection.json");
        let text = fs::read_to_string(&rows).unwrap();
        let moved = text.replace("precomputed://file://./img", "zarr2://file://./half");
        assert_ne!(moved, text);
        fs::write(&rows, moved).unwrap();
        let half = [16, 16, 40];
        config["layers"] =
            json!({"img": {"resolution": half, "voxel_offset": [600, 450, 150], "axes": "xyz"}});
        config["arrays"] = json!({"img": {
            "layer": "img", "data_resolution": half, "interpolation": "nearest", "dtype": "uint8", "fill": 0,
        }});
    });
    let count = |window: &[u8]| [0, 5].map(|value| window.iter().filter(|v| **v == value).count());
    let counts = map_windows(&plan, &sources, MEMORY_BYTES, 0, count).unwrap();
    let all = plan.config.window.voxels().iter().product::<u32>() as usize;
    assert!(
        counts
            .iter()
            .flatten()
            .all(|[zeros, fives]| zeros + fives == all)
    );
    assert!(
        counts
            .iter()
            .flatten()
            .any(|[zeros, fives]| *zeros > 0 && *fives > 0)
    );
}

#[test]
fn an_object_searched_in_more_than_memory_holds_is_refused_beforehand() {
    let dir = tempfile::tempdir().unwrap();
    let refused = try_job(dir.path(), |config| {
        config["arrays"] = json!({"own": {
            "layer": "seg", "transform": {"object_at": {"point": "anchor", "radius_nm": 100_000}},
        }});
    });
    match refused {
        Err(JobError::Extract(e @ ExtractError::Memory { .. })) => {
            assert!(e.to_string().contains("radius_nm"), "{e}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn threads_are_counted_with_blocks_as_they_are_before_values_become_others() {
    let dir = tempfile::tempdir().unwrap();
    let Job { plan, sources, .. } = job(dir.path(), |config| {
        config["arrays"] = json!({"mask": {"layer": "seg", "transform": "nonzero"}});
    });
    let source = &plan.sources[0];
    let seg = open_layer(&source.url, &source.resolution, &source.layer).unwrap();
    let seg = seg.meta();
    let (wide, narrow) = (seg.data_type, sources.volumes[0].meta().data_type);
    assert!(wide.size_bytes() > 1 && narrow.size_bytes() == 1);
    let block_bytes = seg.block_bytes(&seg.grid.block_box([0; 3])) as u64;
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let needed = one.unwrap().install(|| cache_budget(&plan, &sources, 1));
    match needed {
        Err(ExtractError::Memory { needed_bytes, .. }) => {
            assert!(
                needed_bytes > BASE_BYTES + 3 * block_bytes,
                "{needed_bytes}"
            );
        }
        other => panic!("{other:?}"),
    }
}

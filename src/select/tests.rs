//! Selection in jobs on the demo's collection.

mod codec_candidates;
mod counted_reads;
mod slow_server;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::demo;
use crate::extract::ExtractError;
use crate::job::{Job, JobError};

const MEMORY_BYTES: u64 = 1 << 30;

/// Writes the demo's collection, changes its config, and plans the job.
fn job(folder: &Path, change: impl Fn(&mut Value)) -> Result<Job, JobError> {
    let path = demo::testing::write_collection(folder);
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    Job::prepare(&path, MEMORY_BYTES, &crate::storage::Storage::default())
}

#[test]
fn the_fill_value_of_a_layer_need_not_fit_where_the_config_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let Job { plan, sources, .. } = job(dir.path(), |config| {
        let image = dir.path().join("half");
        fs::create_dir(&image).unwrap();
        // Half of the demo's volume, at half its resolution: windows extend past it.
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
    }).unwrap();
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
fn a_search_for_objects_that_needs_too_much_memory_fails_before_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let result = job(dir.path(), |config| {
        config["arrays"] = json!({"own": {
            "layer": "seg", "transform": {"object_at": {"point": "anchor", "radius_nm": 100_000}},
        }});
    });
    match result {
        Err(JobError::Extract(e @ ExtractError::Memory { .. })) => {
            assert!(e.to_string().contains("radius_nm"), "{e}");
        }
        other => panic!("{other:?}"),
    }
}

//! Promises that hold for every job: the same bytes however it is run, nothing made twice, nothing overwritten.

mod fault_points;

use std::fs;
use std::path::Path;

use crate::check::{self, CheckLevel, CheckOptions, FindingKind};
use crate::dataset::{Dataset, DatasetError};
use crate::extract::{ExtractError, Progress};
use crate::fault::{Fault, FaultKind};
use crate::job::{JobError, PlannedOutput, RunOptions};
use crate::storage::{Location, Storage};
use crate::support::{read_json, run, shared_data, tree, vnc_config};
use serde_json::{Value, json};

const CHECK_OPTIONS: CheckOptions = CheckOptions {
    level: CheckLevel::Full,
    memory_bytes: u64::MAX,
};

const GIB: u64 = 1 << 30;

fn small_shards() -> Option<Value> {
    let mut config = vnc_config(&shared_data()?);
    config["shard_samples"] = json!(2);
    Some(config)
}

#[test]
fn threads_and_memory_do_not_change_a_byte() {
    let Some(config) = small_shards() else { return };
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    run(&config, &one, 1, GIB).unwrap();
    let expected = tree(&one);
    for threads in [2, 8] {
        let out = dir.path().join(threads.to_string());
        run(&config, &out, threads, GIB).unwrap();
        assert!(tree(&out) == expected, "{threads} threads");
    }
    let tight = dir.path().join("tight");
    let report = run(&config, &tight, 1, (49 << 20) + (32 << 10))
        .unwrap()
        .extracted;
    assert!(tree(&tight) == expected, "little memory");
    assert!(
        report.cache.repeated > 0,
        "the memory was not little: {report:?}"
    );
}

#[test]
fn threads_that_share_a_shard_do_not_change_a_byte() {
    let Some(mut config) = shared_data().map(|shared| vnc_config(&shared)) else {
        return;
    };
    // One shard per array and split; sums of floating point numbers depend on their order.
    config["window"] = json!([48, 48, 24]);
    config["arrays"]["real"] = json!({"layer": "img", "dtype": "float32"});
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    let report = run(&config, &one, 1, GIB).unwrap().extracted;
    assert!(report.windows / report.shards_written >= 15, "{report:?}");
    let expected = tree(&one);
    for threads in [2, 8, 33] {
        let out = dir.path().join(threads.to_string());
        let report = run(&config, &out, threads, GIB).unwrap().extracted;
        assert_eq!(report.cache.repeated, 0);
        assert!(tree(&out) == expected, "{threads} threads");
    }
}

#[test]
fn every_touched_chunk_is_read_once_and_no_other() {
    let Some(config) = small_shards() else { return };
    let out = tempfile::tempdir().unwrap();
    let report = run(&config, &out.path().join("out"), 2, GIB)
        .unwrap()
        .extracted;
    assert!(report.chunks_touched > 100);
    assert_eq!(
        report.cache.fetched + report.cache.missing,
        report.chunks_touched
    );
    assert_eq!(
        (report.cache.decoded, report.cache.repeated),
        (report.cache.fetched, 0)
    );
}

#[test]
fn a_rerun_writes_only_what_is_missing() {
    let Some(config) = small_shards() else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    run(&config, &out, 2, GIB).unwrap();
    let expected = tree(&out);
    assert_eq!(
        run(&config, &out, 2, GIB).unwrap().extracted.shards_written,
        0
    );
    fs::remove_file(out.join("train.zarr/img/c.1.0.0.0.0")).unwrap();
    fs::remove_file(out.join("val.zarr/box/c.0")).unwrap();
    assert_eq!(
        run(&config, &out, 2, GIB).unwrap().extracted.shards_written,
        1
    );
    assert!(tree(&out) == expected);
    fs::write(out.join("train.zarr/label0/c.2.0.0.0.0"), "short").unwrap();
    fs::remove_file(out.join("manifest.json")).unwrap();
    assert_eq!(
        run(&config, &out, 2, GIB).unwrap().extracted.shards_written,
        1
    );
    assert!(tree(&out) == expected);
}

#[test]
fn files_of_killed_writers_are_removed_from_every_folder_of_the_output() {
    let Some(config) = small_shards() else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    run(&config, &out, 2, GIB).unwrap();
    let expected = tree(&out);
    let mut folders = vec![out.clone()];
    let files = expected.keys().map(|file| out.join(file));
    folders.extend(files.filter_map(|file| file.parent().map(Path::to_owned)));
    for folder in &folders {
        fs::write(folder.join(".writing-dead"), "half").unwrap();
    }
    // A folder of the user.
    fs::create_dir(out.join("figures")).unwrap();
    fs::write(out.join("figures/.writing-mine"), "mine").unwrap();
    fs::remove_file(out.join("manifest.json")).unwrap();
    run(&config, &out, 2, GIB).unwrap();
    fs::remove_file(out.join("figures/.writing-mine")).unwrap();
    fs::remove_dir(out.join("figures")).unwrap();
    assert!(tree(&out) == expected);
}

#[test]
fn tasks_share_few_chunks_and_make_the_dataset_of_one_process() {
    let Some(config) = small_shards() else { return };
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let touched = run(&config, &whole, 2, GIB)
        .unwrap()
        .extracted
        .chunks_touched;
    let file = dir.path().join("config.json");
    fs::write(&file, config.to_string()).unwrap();
    let out: Location = dir.path().join("out").into();
    let (storage, tasks) = (Storage::default(), 5);
    let options = RunOptions {
        memory_bytes: GIB,
        tasks: Some(tasks),
        ..RunOptions::default()
    };
    PlannedOutput::begin(&file, &out, None, options, &storage).unwrap();
    let mut touched_by_tasks = 0;
    for task in (0..tasks).rev() {
        let planned = PlannedOutput::open(&out, options, &storage).unwrap();
        let done = planned.run_task(task, options, &Progress::default());
        let extracted = done.unwrap().extracted;
        assert!(extracted.shards_written > 0);
        touched_by_tasks += extracted.chunks_touched;
    }
    // Each end of a task is in one box, or between two.
    assert!(
        touched_by_tasks <= touched + touched / 4,
        "{touched_by_tasks}, {touched}"
    );
    let planned = PlannedOutput::open(&out, options, &storage).unwrap();
    planned.seal(options).unwrap();
    let (mut expected, mut found) = (tree(&whole), tree(&dir.path().join("out")));
    for files in [&mut expected, &mut found] {
        // It has the tasks, and so has its copy.
        files.retain(|path, _| !path.ends_with("/plan.json"));
    }
    assert!(found == expected);
}

#[test]
fn the_output_of_another_job_is_an_error() {
    let Some(mut config) = small_shards() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    run(&config, &out, 2, GIB).unwrap();
    let expected = tree(&out);
    config["window"] = json!([16, 16, 4]);
    let e = run(&config, &out, 2, GIB).unwrap_err();
    assert!(
        matches!(e, JobError::Dataset(DatasetError::OtherPlan { .. }))
            && e.kind() == FaultKind::Usage,
        "{e}"
    );
    assert!(tree(&out) == expected);
}

#[test]
fn too_little_memory_is_an_error_before_anything_is_written() {
    let Some(config) = small_shards() else { return };
    let dir = tempfile::tempdir().unwrap();
    let e = run(&config, &dir.path().join("out"), 2, 1 << 20).unwrap_err();
    assert!(
        matches!(e, JobError::Extract(ExtractError::Memory { .. })),
        "{e}"
    );
    assert!(e.to_string().contains("at least"), "{e}");
}

/// A collection with the vnc's boxes and layers, but with `img` from elsewhere.
fn with_image(data: &Path, folder: &Path, source: &Path) -> Value {
    let mut collection = crate::support::read_json(&data.join("vnc/collection.json"));
    for layer in collection["layers"].as_array_mut().unwrap() {
        let name = layer["name"].as_str().unwrap().to_owned();
        let path = if name == "img" {
            source.to_owned()
        } else {
            data.join("vnc").join(&name)
        };
        layer["source"] = json!(format!(
            "precomputed://file://{}",
            fs::canonicalize(path).unwrap().display()
        ));
    }
    let file = folder.join("collection.json");
    fs::write(&file, collection.to_string()).unwrap();
    let mut config = vnc_config(data);
    config["collection"] = json!(file);
    config
}

#[test]
fn a_missing_chunk_is_counted_or_an_error() {
    let Some(data) = shared_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut config = with_image(&data, dir.path(), &data.join("encodings/missing_chunk"));
    let outcome = run(&config, &dir.path().join("zeros"), 2, GIB).unwrap();
    assert!(outcome.extracted.cache.missing > 0);
    assert!(outcome.manifest.sources[0].chunks_missing > 0);
    config["missing"] = json!("error");
    let e = run(&config, &dir.path().join("error"), 2, GIB).unwrap_err();
    assert!(
        matches!(e, JobError::Extract(ExtractError::MissingChunk { .. })),
        "{e}"
    );
    assert!(
        e.to_string().contains("missing_chunk") && e.to_string().contains("`img`"),
        "{e}"
    );
    assert!(!dir.path().join("error/manifest.json").exists());
}

#[test]
fn a_layer_without_any_stored_chunk_is_an_error() {
    let Some(data) = shared_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::copy(data.join("vnc/img/info"), empty.join("info")).unwrap();
    let config = with_image(&data, dir.path(), &empty);
    let out = dir.path().join("out");
    // The second try resumes: what was found missing must not be forgotten.
    for _ in 0..2 {
        let e = run(&config, &out, 2, GIB).unwrap_err();
        assert!(
            matches!(e, JobError::Dataset(DatasetError::NoStoredChunk { .. })),
            "{e}"
        );
        assert!(e.to_string().contains("/empty"), "{e}");
        assert!(!out.join("manifest.json").exists() && !out.join("train.zarr/zarr.json").exists());
    }
}

#[test]
fn check_names_damaged_files_and_samples() {
    let Some(config) = small_shards() else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    run(&config, &out, 2, GIB).unwrap();
    assert!(
        check::check(&out, CHECK_OPTIONS, &Storage::default())
            .unwrap()
            .ok
    );
    let shard = "train.zarr/img/c.1.0.0.0.0";
    for (path, at, kind) in [
        (shard, 100, FindingKind::Digest),
        ("train.zarr/zarr.json", 30, FindingKind::Digest),
        ("val.zarr/center_nm/c.0.0", 9, FindingKind::Digest),
        ("manifest.json", 2000, FindingKind::Manifest),
    ] {
        let good = fs::read(out.join(path)).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(out.join(path), bad).unwrap();
        let report = check::check(&out, CHECK_OPTIONS, &Storage::default()).unwrap();
        let finding = report
            .findings
            .iter()
            .find(|f| f.file == path && f.kind == kind);
        assert!(
            !report.ok && finding.is_some(),
            "{path}: {:?}",
            report.findings
        );
        if path == shard {
            assert_eq!(
                finding.unwrap().samples,
                [2],
                "the first sample of the second shard is hit"
            );
        }
        fs::write(out.join(path), good).unwrap();
    }
    fs::write(out.join("val.zarr/notes.txt"), "x").unwrap();
    let report = check::check(&out, CHECK_OPTIONS, &Storage::default()).unwrap();
    assert_eq!(report.findings[0].kind, FindingKind::UnexpectedFile);
    fs::remove_file(out.join("val.zarr/notes.txt")).unwrap();
    fs::remove_file(out.join(shard)).unwrap();
    let report = check::check(&out, CHECK_OPTIONS, &Storage::default()).unwrap();
    assert_eq!(
        (report.findings[0].kind, &report.findings[0].samples[..]),
        (FindingKind::MissingFile, &[2, 3][..])
    );
}

#[test]
fn a_window_without_stored_chunks_is_the_fill_value_at_any_resolution() {
    let Some(data) = shared_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let img = dir.path().join("img");
    for (name, bytes) in tree(&data.join("vnc/img")) {
        // Chunks further west are missing.
        let file = name.rsplit('/').next().unwrap();
        let east = file.split('-').next().and_then(|x| x.parse().ok());
        if name == "info" || east.is_some_and(|x: u32| x >= 3128) {
            let path = img.join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let mut rows = read_json(&data.join("vnc/collection.json"));
    for layer in rows["layers"].as_array_mut().unwrap() {
        let name = layer["name"].as_str().unwrap();
        let folder = match name {
            "img" => img.clone(),
            name => data.join("vnc").join(name),
        };
        layer["source"] = json!(format!("precomputed://file://{}", folder.display()));
    }
    let collection = dir.path().join("collection.json");
    std::fs::write(&collection, rows.to_string()).unwrap();
    let mut config = vnc_config(&data);
    config["collection"] = json!(collection);
    config["resolution"] = json!([9.2, 9.2, 45.0]);
    config["window"] = json!([16, 16, 4]);
    config["leaks"] = json!("allow");
    config["arrays"] = json!({ "img": {
        "layer": "img", "data_resolution": [4.6, 4.6, 45.0], "interpolation": "nearest", "fill": 7,
    }});
    let out = dir.path().join("out");
    let manifest = run(&config, &out, 1, 1 << 30).unwrap().manifest;
    let img = Dataset::open(&out, &Storage::default())
        .unwrap()
        .split("train")
        .unwrap()
        .samples("img")
        .unwrap();
    let samples = 0..img.shape()[0];
    let windows: Vec<Vec<u8>> = samples.map(|i| img.read(i).unwrap()).collect();
    let unstored = windows.iter().filter(|w| w.iter().all(|v| *v == 7)).count();
    assert!((1..windows.len()).contains(&unstored), "{unstored}");
    // What was counted is what was written.
    let statistics = &manifest.arrays["img"].statistics["train"];
    let values = windows.concat();
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    assert!(
        (statistics["mean"].as_f64().unwrap() - mean).abs() < 1e-9,
        "{statistics}, not {mean}"
    );
    let nonzero = values.iter().filter(|v| **v != 0).count();
    assert_eq!(statistics["nonzero"], json!(nonzero));
}

//! Findings about what is in the samples: leaks, equal samples, constant images. Compared with plain loops over what the dataset
//! holds.

use super::*;
use crate::check::{Finding, Severity};
use crate::dataset::SplitReader;

const WINDOW: [i64; 3] = [6, 5, 4];

/// As [`dataset_with`], with another value of `leaks`.
fn dataset_of(
    folder: &Path,
    values: impl Fn(usize, usize, usize) -> u8,
    points: &[[i64; 3]],
    leaks: &str,
) -> PathBuf {
    dataset_with(folder, values, points, |config| {
        config["leaks"] = json!(leaks)
    })
}

/// A dataset of boxes next to each other in the same layer. `values` makes the layer of 40 x 40 x 20 voxels, by x, y, z; `points` are
/// voxels. `change` changes the config.
fn dataset_with(
    folder: &Path,
    values: impl Fn(usize, usize, usize) -> u8,
    points: &[[i64; 3]],
    change: impl FnOnce(&mut Value),
) -> PathBuf {
    let layer = folder.join("img/s");
    fs::create_dir_all(&layer).unwrap();
    let voxels = (0..20).flat_map(|z| (0..40).flat_map(move |y| (0..40).map(move |x| (x, y, z))));
    let values: Vec<u8> = voxels.map(|(x, y, z)| values(x, y, z)).collect();
    fs::write(layer.join("0-40_0-40_0-20"), values).unwrap();
    let scale = json!({
        "key": "s", "size": [40, 40, 20], "resolution": [8, 8, 40], "voxel_offset": [0, 0, 0],
        "chunk_sizes": [[40, 40, 20]], "encoding": "raw",
    });
    let info = json!({
        "type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale],
    });
    fs::write(folder.join("img/info"), info.to_string()).unwrap();
    let rows = points.iter().map(|[x, y, z]| format!("{x},{y},{z}\n"));
    fs::write(
        folder.join("points.csv"),
        format!("x,y,z\n{}", rows.collect::<String>()),
    )
    .unwrap();
    let boxes = json!([
        {"min": [0, 0, 0], "max": [160, 320, 800], "tags": ["train"]},
        {"min": [160, 0, 0], "max": [320, 160, 800], "tags": ["val"]},
        {"min": [160, 160, 0], "max": [320, 320, 800], "tags": ["val"]},
    ]);
    let csv = json!({
        "file": folder.join("points.csv"), "unit": "voxel", "resolution": [8, 8, 40], "point": ["x", "y", "z"],
    });
    let mut config = json!({
        "collection": {"boxes": {"list": boxes, "layers": {"img": format!("precomputed://file://{}", folder.join("img").display())}}},
        "resolution": [8, 8, 40], "window": WINDOW, "points": {"table": csv},
        "arrays": {
            "img": {"layer": "img", "role": "image"},
            "bright": {"layer": "img", "transform": {"threshold": 200}, "role": "target"},
        },
        "splits": {"train": ["train"], "val": ["val"]}, "leaks": "allow", "shard_samples": 4,
    });
    change(&mut config);
    let out = folder.join("dataset");
    run(&config, &out, 1, 1 << 30).unwrap();
    out
}

fn noise(x: usize, y: usize, z: usize) -> u8 {
    ((x * 37 + y * 101 + z * 53 + x * y * 7 + y * z * 11) % 256) as u8
}

/// Points all over the layer, in an order of their own.
fn points() -> Vec<[i64; 3]> {
    (0..60)
        .map(|i| [(i * 17) % 40, (i * 23) % 40, (i * 7) % 20])
        .collect()
}

fn finding(out: &Path, kind: FindingKind) -> Option<Finding> {
    let findings = check(out).findings.into_iter();
    let of_kind: Vec<_> = findings.filter(|f| f.kind == kind).collect();
    assert!(of_kind.len() <= 1, "{of_kind:?}");
    of_kind.into_iter().next()
}

fn split(out: &Path, name: &str) -> SplitReader {
    let dataset = Dataset::open(out, &Storage::default()).unwrap();
    dataset.split(name).unwrap()
}

fn starts(out: &Path, name: &str) -> Vec<[i64; 3]> {
    let starts = split(out, name).column::<i64>("start_voxel").unwrap();
    starts.as_chunks::<3>().0.to_vec()
}

#[test]
fn a_leak_has_the_samples_whose_windows_overlap_those_of_the_other_split() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset_of(dir.path(), noise, &points(), "allow");
    let found = finding(&out, FindingKind::Leak).unwrap();
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(
        (found.split.as_deref(), found.file.as_str()),
        (Some("val"), "val.zarr")
    );
    let (train, val) = (starts(&out, "train"), starts(&out, "val"));
    let overlaps = |a: &[i64; 3], b: &[i64; 3]| (0..3).all(|i| (a[i] - b[i]).abs() < WINDOW[i]);
    let leaking = (0..)
        .zip(&val)
        .filter(|(_, v)| train.iter().any(|t| overlaps(t, v)));
    let leaking: Vec<u64> = leaking.map(|(i, _)| i).collect();
    assert!(
        !leaking.is_empty() && leaking.len() < val.len(),
        "{leaking:?}"
    );
    assert_eq!(found.samples, leaking);
    let in_train = train
        .iter()
        .filter(|t| val.iter().any(|v| overlaps(t, v)))
        .count();
    assert!(
        found.message.contains(&format!("({in_train} of its")),
        "{}",
        found.message
    );
}

#[test]
fn windows_that_only_touch_are_no_leak() {
    let dir = tempfile::tempdir().unwrap();
    // Windows of the first are 14 to 20, of the second 20 to 26, of the third 19 to 25.
    let out = dataset_of(dir.path(), noise, &[[17, 9, 9], [23, 9, 9]], "allow");
    assert_eq!(finding(&out, FindingKind::Leak), None);
    let dir = tempfile::tempdir().unwrap();
    let out = dataset_of(dir.path(), noise, &[[17, 9, 9], [22, 9, 9]], "allow");
    assert_eq!(finding(&out, FindingKind::Leak).unwrap().samples, [0]);
}

#[test]
fn a_leak_that_the_config_forbids_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset_of(dir.path(), noise, &points(), "allow");
    let path = out.join(crate::dataset::MANIFEST);
    let mut manifest: Manifest = serde_json::from_value(read_json(&path)).unwrap();
    manifest.config["leaks"] = json!("error");
    manifest.digest = manifest.expected_digest();
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let report = check(&out);
    let leak = report.findings.iter().find(|f| f.kind == FindingKind::Leak);
    assert_eq!(leak.unwrap().severity, Severity::Error);
    assert!(!report.ok);
}

#[test]
fn equal_samples_and_constant_images_are_warnings() {
    let dir = tempfile::tempdir().unwrap();
    // A part of the layer is empty, and three rows of the table are the same point.
    let values = |x, y, z| if x < 20 && y < 12 { 9 } else { noise(x, y, z) };
    let points = [
        [8, 5, 9],
        [9, 30, 9],
        [12, 20, 9],
        [9, 30, 9],
        [11, 5, 9],
        [9, 30, 9],
        [30, 30, 9],
    ];
    let out = dataset_of(dir.path(), values, &points, "allow");
    let report = check(&out);
    assert!(report.ok, "{:?}", report.findings);
    let train = split(&out, "train");
    let samples = train.samples("img").unwrap();
    let values: Vec<_> = (0..6).map(|i| samples.read(i).unwrap()).collect();
    let constant = (0..6).filter(|i| values[*i as usize].iter().all(|v| *v == 9));
    let found = finding(&out, FindingKind::ConstantImage).unwrap();
    assert_eq!(found.samples, constant.collect::<Vec<u64>>());
    assert_eq!(
        (found.samples.len(), found.file.as_str()),
        (2, "train.zarr/img")
    );
    let repeated = (0..6u64).filter(|i| {
        let i = *i as usize;
        values[i].iter().any(|v| *v != 9) && values[..i].contains(&values[i])
    });
    let found = finding(&out, FindingKind::EqualSamples).unwrap();
    assert_eq!(found.samples, repeated.collect::<Vec<_>>());
    assert_eq!(
        (found.samples.len(), found.file.as_str()),
        (2, "train.zarr")
    );
}

#[test]
fn an_empty_target_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset_of(
        dir.path(),
        |x, y, z| noise(x, y, z) % 200,
        &points(),
        "allow",
    );
    let empty = check(&out)
        .findings
        .into_iter()
        .filter(|f| f.kind == FindingKind::EmptyTarget);
    let empty: Vec<_> = empty.map(|f| f.file).collect();
    assert_eq!(empty, ["train.zarr/bright", "val.zarr/bright"]);
}

#[test]
fn the_table_of_dropped_annotations_has_the_counts_of_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset_with(dir.path(), noise, &points(), |config| {
        config["points"]["choose"] = json!({"max_per_box": 5, "min_distance_nm": 60});
    });
    assert!(check(&out).ok, "{:?}", check(&out).findings);
    let path = out.join(crate::dataset::MANIFEST);
    let mut manifest: Manifest = serde_json::from_value(read_json(&path)).unwrap();
    let dropped = &mut manifest.boxes[0].dropped;
    *dropped.get_mut("over_max_per_box").unwrap() -= 1;
    *dropped.get_mut("too_near").unwrap() += 1;
    manifest.digest = manifest.expected_digest();
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let errors = check(&out).findings.into_iter();
    let errors: Vec<_> = errors.filter(|f| f.severity == Severity::Error).collect();
    let [error] = &errors[..] else {
        panic!("{errors:?}")
    };
    assert_eq!(error.kind, FindingKind::BoxCount);
    assert!(
        error.message.contains("because of over_max_per_box"),
        "{}",
        error.message
    );
}

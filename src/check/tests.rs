//! `check` reports damaged and forged datasets. It does not panic, and does not allocate the sizes that they claim.
//!
//! A small dataset is written, and its files are mutated one at a time, by a seed: JSON by structure, other files by bytes.
//! Each mutant is checked as it is, and once more with a manifest that is forged to agree with it.
//! `POINTSHARD_MUTANTS=5000 cargo test --lib check::tests` runs a longer campaign.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::{CheckLevel, CheckOptions, FindingKind, Report};
use crate::dataset::{Dataset, Manifest};
use crate::loader::{ArrayNames, InputArray, Loader, LoaderOptions};
use crate::storage::Storage;
use crate::support::{read_json, run};
use serde_json::{Value, json};

mod duplicate_keys;
mod levels;
mod past_crashes;
mod private;
mod suspicious;

/// A finished dataset of a volume of 40 x 40 x 20 voxels and 12 points, in `folder`.
fn dataset(folder: &Path) -> PathBuf {
    let layer = folder.join("img/8_8_40");
    fs::create_dir_all(&layer).unwrap();
    let values: Vec<u8> = (0..40 * 40 * 20u32).map(|i| (i % 251) as u8).collect();
    fs::write(layer.join("0-40_0-40_0-20"), values).unwrap();
    let scale = json!({
        "key": "8_8_40", "size": [40, 40, 20], "resolution": [8, 8, 40], "voxel_offset": [0, 0, 0],
        "chunk_sizes": [[40, 40, 20]], "encoding": "raw",
    });
    let info = json!({
        "type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale],
    });
    fs::write(folder.join("img/info"), info.to_string()).unwrap();
    let points = (0..12).map(|i| format!("{},{},{},0.{i}\n", 8 + 2 * i, 30 - 2 * i, 5 + i % 9));
    let table = format!("x,y,z,score\n{}", points.collect::<String>());
    fs::write(folder.join("points.csv"), table).unwrap();
    let of = |tag: &str, a: [f64; 3], b: [f64; 3]| {
        json!({
            "type": "axis_aligned_bounding_box", "id": tag, "pointA": a, "pointB": b, "tags": [tag],
            "collection": "c", "layer_group": "g",
        })
    };
    let rows = json!({
        "collections": [{"id": "c", "name": "c"}],
        "layer_groups": [{"id": "g", "name": "g", "collection": "c", "layers": ["l"]}],
        "layers": [{"id": "l", "name": "img", "source": "precomputed://file://./img"}],
        "annotations": [
            of("train", [0.0, 0.0, 0.0], [160.0, 320.0, 800.0]),
            of("val", [160.0, 0.0, 0.0], [320.0, 320.0, 800.0]),
        ],
    });
    let collection = folder.join("collection.json");
    fs::write(&collection, rows.to_string()).unwrap();
    let csv = json!({
        "file": folder.join("points.csv"), "unit": "voxel", "resolution": [8, 8, 40],
        "point": ["x", "y", "z"],
    });

    let config = json!({
        "collection": collection, "resolution": [8, 8, 40], "window": [6, 5, 4],
        "points": {"table": csv},
        "arrays": {"img": {"layer": "img", "codec": "zstd"}, "other": {"layer": "img", "codec": "lz4"}},
        "splits": {"train": ["train"], "val": ["val"]}, "leaks": "allow", "shard_samples": 2,
    });
    let out = folder.join("dataset");
    run(&config, &out, 1, 1 << 30).unwrap();
    assert!(check(&out).ok, "{:?}", check(&out).findings);
    out
}

fn check(out: &Path) -> Report {
    let options = CheckOptions {
        level: CheckLevel::Full,
        memory_bytes: u64::MAX,
    };
    super::check(out, options, &Storage::default()).unwrap()
}

/// Numbers that follow from a seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// JSON pointers of every value in `value`.
fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    all.push(at.clone());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(k, v)| pointers(v, format!("{at}/{}", escaped(k)), all)),
        Value::Array(list) => (0..list.len())
            .zip(list)
            .for_each(|(i, v)| pointers(v, format!("{at}/{i}"), all)),
        _ => {}
    }
}

/// Replacements for values: numbers at and beyond every limit, paths that lead out of the folder, other types.
fn replacements() -> Vec<Value> {
    let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
    vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(3),
        json!(1u64 << 20),
        json!(1u64 << 31),
        json!(1u64 << 53),
        json!(1u64 << 63),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e308),
        json!(-1e308),
        json!(0.5),
        Value::Null,
        json!(true),
        json!(""),
        json!(".."),
        json!("../../../etc/passwd"),
        json!("/dev/zero"),
        json!("a\\..\\b"),
        json!("a\u{0}b"),
        json!("\u{1b}]52;c;aGk=\u{7}"),
        json!("x".repeat(100_000)),
        json!([]),
        json!({}),
        json!([u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX]),
        nested,
    ]
}

/// The JSON `text`, changed in one place; `None` where the result is equal.
fn mutate_json(text: &[u8], chance: &mut Chance) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(text).unwrap();
    let good = value.clone();
    let mut all = Vec::new();
    pointers(&value, String::new(), &mut all);
    let at = chance.of(&all).clone();
    match chance.below(10) {
        // Too deep for a parser that recurses.
        0 => return Some(["[".repeat(100_000), "]".repeat(100_000)].concat().into()),
        1 => {
            let text = String::from_utf8_lossy(text);
            return Some(
                text.replacen('{', "{\"schema_version\":2,\"shape\":[1],", 1)
                    .into(),
            );
        }
        2 => {
            let (parent, key) = at.rsplit_once('/')?;
            match value.pointer_mut(parent)? {
                Value::Object(map) => map.remove(key),
                Value::Array(list) => Some(list.remove(key.parse::<usize>().ok()?)),
                _ => None,
            };
        }
        3 => {
            let target = value.pointer_mut(&at)?;
            *target = json!([target.clone(), target.clone()]);
        }
        _ => *value.pointer_mut(&at)? = chance.of(&replacements()).clone(),
    }
    (value != good).then(|| value.to_string().into_bytes())
}

/// The bytes, changed somewhere.
fn mutate_bytes(good: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = good.to_vec();
    match chance.below(6) {
        0 => bytes.truncate(chance.below(good.len())),
        1 => bytes.extend(std::iter::repeat_n(0xff, 1 + chance.below(100_000))),
        2 => bytes.iter_mut().for_each(|b| *b = 0),
        3 => bytes.iter_mut().for_each(|b| *b = 0xff),
        _ => {
            for _ in 0..=chance.below(4) {
                let at = chance.below(bytes.len());
                let bit = 1 << chance.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
            }
        }
    }
    bytes
}

/// Changes the manifest so that it agrees with the file at `path`.
fn forge(out: &Path, path: &str) {
    let file = out.join("manifest.json");
    let Ok(mut manifest) = serde_json::from_slice::<Manifest>(&fs::read(&file).unwrap()) else {
        return;
    };
    let bytes = fs::read(out.join(path)).unwrap();
    let digest = blake3::hash(&bytes).to_string();
    for f in manifest.files.iter_mut().filter(|f| f.path == path) {
        (f.bytes, f.blake3) = (bytes.len() as u64, digest.clone());
    }
    for s in manifest.shards.iter_mut().filter(|s| s.path == path) {
        (s.bytes, s.blake3) = (bytes.len() as u64, digest.clone());
    }
    manifest.digest = manifest.expected_digest();
    fs::write(&file, serde_json::to_string(&manifest).unwrap()).unwrap();
}

/// Opens the dataset as a trainer does, and reads a batch of it.
fn load(out: &Path) -> Option<()> {
    let dataset = Dataset::open(out, &Storage::default()).ok()?;
    let arrays = ArrayNames {
        inputs: vec![InputArray::new("img")],
        targets: vec!["other".to_owned()],
        masks: vec![None],
        segmentation: None,
    };
    let loader = Loader::open(&dataset, "train", &arrays, LoaderOptions::in_order(2, 1)).ok()?;
    loader.epoch(0, 0).next()?.ok().map(|_| ())
}

/// Peak memory of this process in bytes: address space, and resident memory.
fn peak_bytes() -> [u64; 2] {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ["VmPeak:", "VmHWM:"].map(|key| {
        let line = status.lines().find_map(|l| l.strip_prefix(key));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    })
}

fn names(report: &Report, path: &str) -> bool {
    !report.ok && report.findings.iter().any(|f| f.file == path)
}

/// Runs the test `name` in a process of its own, and returns whether this is that process. For tests that measure the
/// memory of the process: other tests run in other threads of this one.
fn is_alone(name: &str) -> bool {
    if std::env::var_os("POINTSHARD_TEST_ALONE").is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("check::tests::{name}"), "--exact"])
        .env("POINTSHARD_TEST_ALONE", "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[test]
fn every_change_of_a_file_is_a_finding_that_names_it() {
    if !is_alone("every_change_of_a_file_is_a_finding_that_names_it") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let good = crate::support::tree(&out);
    let is_empty = |path: &&String| good[*path].is_empty();
    let mut paths: Vec<_> = good.keys().filter(|path| !is_empty(path)).collect();
    paths.sort();
    let mutants = std::env::var("POINTSHARD_MUTANTS").ok();
    let mutants = mutants.map_or(200, |n| n.parse().unwrap());
    load(&out).unwrap();
    let before = peak_bytes();
    let mut chance = Chance(7);
    let mut made = 0;
    while made < mutants {
        // A third of them in the manifest, of which all the others depend.
        let path = match chance.below(3) {
            0 => "manifest.json",
            _ => chance.of(&paths).as_str(),
        };
        let bytes = &good[path];
        let mutant = if path.ends_with(".json") && chance.below(8) > 0 {
            mutate_json(bytes, &mut chance)
        } else {
            Some(mutate_bytes(bytes, &mut chance))
        };
        let Some(mutant) = mutant.filter(|m| m != bytes) else {
            continue;
        };
        made += 1;
        fs::write(out.join(path), &mutant).unwrap();
        let start = &mutant[..mutant.len().min(300)];
        let start = String::from_utf8_lossy(start);
        let report = check(&out);
        assert!(
            names(&report, path),
            "{path}: {start}: {:?}",
            report.findings
        );
        load(&out);
        forge(&out, path);
        let report = check(&out);
        // The group's metadata hold a copy of each array's.
        let is_array = path.ends_with("/zarr.json") && path.matches('/').count() == 2;
        assert!(!is_array || !report.ok, "forged {path}: {start}");
        load(&out);
        for path in [path, "manifest.json"] {
            fs::write(out.join(path), &good[path]).unwrap();
        }
    }
    assert!(check(&out).ok);
    for (before, after) in before.into_iter().zip(peak_bytes()) {
        let taken = after.saturating_sub(before);
        assert!(taken < 1 << 30, "{taken} bytes more were taken");
    }
}

#[test]
fn an_impossible_number_of_samples_is_a_finding_and_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let file = out.join("manifest.json");
    let good = fs::read(&file).unwrap();
    for (pointer, value) in [
        ("/splits/val/samples", json!(u64::MAX)),
        ("/splits/val/samples", json!(1u64 << 40)),
        ("/splits/val/shard_samples", json!(0)),
        ("/splits/val/shard_samples", json!(u64::MAX)),
        ("/splits/val/path", json!("../elsewhere")),
        ("/splits/val/path", json!("/dev")),
        ("/shards/0/samples", json!(u64::MAX)),
        ("/shards/1/first_sample", json!(u64::MAX)),
        ("/shards/0/bytes", json!(u64::MAX)),
        ("/shards/0/path", json!("/dev/zero")),
        ("/shards/0/path", json!("train.zarr/../../../etc/passwd")),
        ("/files/0/path", json!("/dev/zero")),
        ("/files/0/path", json!("manifest.json")),
        ("/files/0/bytes", json!(u64::MAX)),
        (
            "/arrays/img/sample_shape",
            json!([1u64 << 62, 1u64 << 62, 4, 6]),
        ),
        ("/arrays/img/sample_shape", json!([1, 0, 5, 6])),
        ("/boxes/0/annotations", json!(u64::MAX)),
        ("/boxes/0/group", json!(1)),
        ("/boxes/0/group", Value::Null),
        ("/groups/0/sources/img", json!(1)),
        ("/groups/0/sources/img", json!(u64::MAX)),
        ("/groups/0/sources", json!({"img": 0})),
        (
            "/groups/0/sources",
            json!({"img": 0, "other": 0, "third": 0}),
        ),
        ("/groups/0/resolution_nm", json!([8, 8, 0])),
    ] {
        let mut manifest: Value = serde_json::from_slice(&good).unwrap();
        *manifest.pointer_mut(pointer).unwrap() = value.clone();
        if pointer == "/boxes/0/annotations" {
            manifest["boxes"][1]["annotations"] = value.clone();
        }
        let mut manifest: Manifest = serde_json::from_value(manifest).unwrap();
        manifest.digest = manifest.expected_digest();
        fs::write(&file, serde_json::to_string(&manifest).unwrap()).unwrap();
        let error = Dataset::open(&out, &Storage::default())
            .map(|_| ())
            .unwrap_err()
            .to_string();
        // Sizes are wrong by what they add up to.
        let key = if pointer.ends_with("/bytes") {
            "files"
        } else {
            pointer.split('/').nth(1).unwrap()
        };
        assert!(error.contains(&format!("at `{key}")), "{pointer}: {error}");
        // What else is damaged is found all the same.
        let other = out.join("train.zarr/box/c.0");
        let box_index = fs::read(&other).unwrap();
        fs::write(&other, b"damaged").unwrap();
        let report = check(&out);
        assert!(names(&report, "manifest.json"), "{pointer} {value}");
        assert!(names(&report, "train.zarr/box/c.0"), "{pointer} {value}");
        fs::write(&other, box_index).unwrap();
    }
}

#[test]
fn a_file_that_is_not_regular_is_a_finding_and_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let outside = dir.path().join("outside");
    let damaged = "val.zarr/box/c.0";
    fs::write(out.join(damaged), b"damaged").unwrap();
    for path in [
        "train.zarr/zarr.json",
        "train.zarr/img/zarr.json",
        "train.zarr/center_nm/zarr.json",
        "train.zarr/center_nm/c.0.0",
        "train.zarr/img/c.0.0.0.0.0",
        "train.zarr/other/c.1.0.0.0.0",
    ] {
        let file = out.join(path);
        let good = fs::read(&file).unwrap();
        fs::write(&outside, &good).unwrap();
        let replace: [&dyn Fn(); 6] = [
            &|| {
                assert!(
                    Command::new("mkfifo")
                        .arg(&file)
                        .status()
                        .unwrap()
                        .success()
                )
            },
            &|| symlink("/dev/zero", &file).unwrap(),
            &|| symlink(&outside, &file).unwrap(),
            &|| symlink(&file, &file).unwrap(),
            &|| fs::create_dir(&file).unwrap(),
            &|| drop(std::os::unix::net::UnixListener::bind(&file).unwrap()),
        ];
        for (i, replace) in replace.iter().enumerate() {
            fs::remove_file(&file).unwrap();
            replace();
            let report = check(&out);
            for path in [path, damaged] {
                assert!(names(&report, path), "{i} {path}: {:?}", report.findings);
            }
            let kinds = report.findings.iter().filter(|f| f.file == path);
            let kinds: Vec<_> = kinds.map(|f| f.kind).collect();
            assert!(
                kinds.contains(&FindingKind::Unreadable),
                "{i} {path}: {kinds:?}"
            );
            load(&out);
            let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
            fs::write(&file, &good).unwrap();
        }
    }
    let group = out.join("train.zarr");
    fs::rename(&group, dir.path().join("moved")).unwrap();
    symlink(dir.path().join("moved"), &group).unwrap();
    let report = check(&out);
    assert!(
        names(&report, "train.zarr/img/c.0.0.0.0.0"),
        "{:?}",
        report.findings
    );
}

#[test]
fn one_check_finds_every_column_and_array_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let mut expected = Vec::new();
    for name in [
        "annotation_id",
        "box",
        "center_nm",
        "img",
        "other",
        "img_nonzero_fraction",
    ] {
        let path = format!("val.zarr/{name}/zarr.json");
        let mut metadata = read_json(&out.join(&path));
        metadata["shape"][0] = json!(1u64 << 62);
        fs::write(out.join(&path), metadata.to_string()).unwrap();
        forge(&out, &path);
        expected.push(name);
    }
    let report = check(&out);
    for name in expected {
        let file = format!("val.zarr/{name}");
        let said = report
            .findings
            .iter()
            .any(|f| f.file.starts_with(&file) && f.message.contains("shape"));
        assert!(said, "{name}: {:?}", report.findings);
    }
}

//! Datasets of older versions are read and checked. `tests/datasets/version_2` was written by the last program of that
//! version, out of a volume of 16 x 16 x 8 voxels.

use std::path::{Path, PathBuf};

use crate::support::tree;
use pointshard::{CheckLevel, CheckOptions, Dataset, Manifest, Storage, check};

fn version_2() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datasets/version_2")
}

/// Reads and checks all of the dataset. Returns its manifest.
fn read(folder: &Path) -> Manifest {
    let storage = Storage::default();
    let options = CheckOptions {
        level: CheckLevel::Full,
        memory_bytes: 1 << 30,
    };
    let report = check(folder, options, &storage).unwrap();
    assert!(report.ok, "{:?}", report.findings);
    assert_eq!((report.checked.samples, report.checked.windows), (3, 3));
    let dataset = Dataset::open(folder, &storage).unwrap();
    let split = dataset.split("train").unwrap();
    let starts = split.column::<i64>("start_voxel").unwrap();
    assert_eq!(split.column::<u64>("annotation_id").unwrap(), [1, 2, 3]);
    let img = split.samples("img").unwrap();
    for (i, start) in (0..).zip(starts.as_chunks::<3>().0) {
        let [x, y, z] = start.map(|n| n as usize);
        let voxels = (z..z + 2).flat_map(|z| (y..y + 3).map(move |y| (z, y)));
        let voxels = voxels.flat_map(|(z, y)| (x..x + 4).map(move |x| x + 16 * y + 256 * z));
        let expected: Vec<u8> = voxels.map(|voxel| (voxel % 251) as u8).collect();
        assert_eq!(img.read(i).unwrap(), expected);
    }
    dataset.manifest().clone()
}

#[test]
fn a_dataset_of_version_2_is_read_and_checked() {
    let manifest = read(&version_2());
    assert_eq!(manifest.schema_version, 2);
    assert!(manifest.groups.is_empty() && manifest.boxes[0].group.is_none());
}

#[test]
fn a_dataset_of_version_1_is_read_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in tree(&version_2()) {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let file = dir.path().join("manifest.json");
    let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    // Version 1 knew one codec, and counted no padding.
    manifest.schema_version = 1;
    manifest.arrays["img"].codec = None;
    manifest.arrays["img"].padded_windows.clear();
    manifest.digest = manifest.expected_digest();
    std::fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
    assert_eq!(read(dir.path()).schema_version, 1);
}

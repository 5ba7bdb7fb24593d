//! Damaged chunks and metadata.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::sources::sources;
use super::{expected, open, read};
use crate::geometry::VoxelBox;
use crate::volume::{EncodedBlock, Volume, VolumeError};

/// The files with voxels below `folder`.
fn chunk_files(folder: &Path) -> Vec<PathBuf> {
    crate::support::tree(folder)
        .into_keys()
        .filter(|name| !name.ends_with(".json") && !name.contains(".z") && name != "info")
        .map(|name| folder.join(name))
        .collect()
}

#[test]
fn a_truncated_chunk_is_an_error_that_names_its_file() {
    let dir = tempfile::tempdir().unwrap();
    for source in sources(dir.path()) {
        let files = chunk_files(&source.folder);
        assert!(!files.is_empty(), "{}", source.name);
        for file in [&files[0], &files[files.len() - 1]] {
            let whole = fs::read(file).unwrap();
            for length in [whole.len() - 1, whole.len() / 2, 3, 0] {
                fs::write(file, &whole[..length]).unwrap();
                let volume = open(&source).unwrap();
                let result = read(volume.as_ref(), volume.meta().grid.bounds());
                let Err(e) = result else {
                    panic!(
                        "{}: {} cut to {length} was read",
                        source.name,
                        file.display()
                    );
                };
                let e = anyhow::Error::from(e);
                let text = format!("{e:#}");
                assert!(
                    text.contains(file.to_str().unwrap()),
                    "{}: {text}",
                    source.name
                );
            }
            fs::write(file, whole).unwrap();
        }
    }
}

#[test]
fn flipped_bytes_never_panic_and_checksums_detect_them() {
    let dir = tempfile::tempdir().unwrap();
    for source in sources(dir.path()) {
        let files = chunk_files(&source.folder);
        let volume = open(&source).unwrap();
        let bounds = *volume.meta().grid.bounds();
        let right = expected(&source, &bounds);
        let file = &files[files.len() / 2];
        let whole = fs::read(file).unwrap();
        let step = (whole.len() / 60).max(1);
        for at in (0..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            fs::write(file, bytes).unwrap();
            let volume = open(&source).unwrap();
            match read(volume.as_ref(), &bounds) {
                Ok((values, _)) if source.checksummed => {
                    assert!(values == right, "{}: byte {at}", source.name);
                    panic!("{}: byte {at} was not detected", source.name);
                }
                _ => {}
            }
        }
        fs::write(file, whole).unwrap();
    }
}

#[test]
fn arbitrary_metadata_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let odd = [
        json!(null),
        json!(0),
        json!(-1),
        json!(1u64 << 40),
        json!(u64::MAX),
        json!(1.5),
        json!("x"),
        json!([]),
        json!([0, 0, 0]),
        json!([1, 1, 1]),
        json!([u64::MAX, 2, 2]),
        json!({}),
        json!(true),
        json!([2, 2, 9]),
        json!("<f8"),
        json!("string"),
        json!([[1]]),
    ];
    let (mut errors, mut turn) = (0, 0);
    for source in sources(dir.path()) {
        let documents: Vec<_> = crate::support::tree(&source.folder)
            .into_iter()
            .filter(|(name, _)| name.ends_with(".json") || name.contains(".z") || name == "info")
            .collect();
        for (name, bytes) in documents {
            let whole: Value = serde_json::from_slice(&bytes).unwrap();
            for pointer in pointers(&whole) {
                // Each place gets some of the values. Over all sources, each kind of place gets each value.
                turn += 1;
                for odd in odd.iter().skip(turn % 5).step_by(5) {
                    let mut changed = whole.clone();
                    *changed.pointer_mut(&pointer).unwrap() = odd.clone();
                    fs::write(source.folder.join(&name), changed.to_string()).unwrap();
                    let volume = match open(&source) {
                        Ok(volume) => volume,
                        Err(e) => {
                            let panicked = e.to_string().contains("panicked");
                            assert!(!panicked, "{} {name} {pointer} {odd}: {e}", source.name);
                            errors += 1;
                            continue;
                        }
                    };
                    let start = volume.meta().grid.bounds().start;
                    let end = start.map(|v| v + 3);
                    let _ = read_bytes(volume.as_ref(), &VoxelBox { start, end });
                }
            }
            fs::write(source.folder.join(&name), &bytes).unwrap();
        }
    }
    assert!(errors > 500, "only {errors} errors");
}

fn read_bytes(volume: &dyn Volume, region: &VoxelBox) -> Result<(), VolumeError> {
    let (mut encoded, mut values) = (EncodedBlock::default(), Vec::new());
    for block in volume.meta().grid.blocks_touching(region) {
        if volume.fetch(block, &mut encoded)? {
            volume.decode(block, &mut encoded, &mut values)?;
            let region = volume.meta().grid.block_box(block);
            assert_eq!(values.len(), volume.meta().block_bytes(&region));
        }
    }
    Ok(())
}

/// JSON pointers to all values in `value`.
fn pointers(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let below = |key: &str, v: &Value| -> Vec<String> {
        let key = key.replace('~', "~0").replace('/', "~1");
        let inner = pointers(v).into_iter();
        inner.map(|p| format!("/{key}{p}")).collect()
    };
    match value {
        Value::Object(map) => all.extend(map.iter().flat_map(|(k, v)| below(k, v))),
        Value::Array(list) => {
            all.extend(
                list.iter()
                    .enumerate()
                    .flat_map(|(i, v)| below(&i.to_string(), v)),
            );
        }
        _ => {}
    }
    all
}

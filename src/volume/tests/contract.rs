//! The contract of every kind of volume: the same voxels, written in each format, are read the same, with the
//! same edges, the same holes, and a damaged file is an error that names it.

mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::LayerConfig;
use crate::data_type::DataType;
use crate::dataset::Dataset;
use crate::geometry::{Resolution, VoxelBox};
use crate::job::Job;
use crate::storage::{Location, SourceUrl};
use crate::volume::{self, EncodedBlock, Volume, VolumeError};
use serde_json::{Value, json};
use sources::{BLOCK, OFFSET, RESOLUTION, SIZE, Source, sources, value};

fn open(source: &Source) -> Result<Arc<dyn Volume>, VolumeError> {
    let url = SourceUrl::parse(&source.url, &Location::Local(Default::default())).unwrap();
    volume::open_layer(&url, &Resolution::new(RESOLUTION).unwrap(), &source.layer)
}

/// The values of `region`, `[channel, z, y, x]`, and how many blocks are not stored.
fn read(volume: &dyn Volume, region: &VoxelBox) -> Result<(Vec<u16>, usize), VolumeError> {
    let meta = volume.meta();
    let [nx, ny, nz] = region.shape().map(|n| n as usize);
    let mut bytes = vec![0; nx * ny * nz * meta.channels as usize * 2];
    meta.fill_value.fill(2, &mut bytes);
    let mut out: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]))
        .collect();
    // One pair of buffers for all blocks, as the pipeline has.
    let (mut encoded, mut values, mut missing) = (EncodedBlock::default(), Vec::new(), 0);
    for block in meta.grid.blocks_touching(region) {
        if !volume.fetch(block, &mut encoded)? {
            missing += 1;
            continue;
        }
        volume.decode(block, &mut encoded, &mut values)?;
        let at = meta.grid.block_box(block);
        let mut next = values.chunks_exact(2);
        for c in 0..meta.channels as usize {
            for z in at.start[2]..at.end[2] {
                for y in at.start[1]..at.end[1] {
                    for x in at.start[0]..at.end[0] {
                        let value = next.next().expect("a block is whole");
                        let p = [x, y, z];
                        if (0..3).all(|d| region.start[d] <= p[d] && p[d] < region.end[d]) {
                            let [x, y, z] =
                                std::array::from_fn(|d| (p[d] - region.start[d]) as usize);
                            out[((c * nz + z) * ny + y) * nx + x] =
                                u16::from_le_bytes([value[0], value[1]]);
                        }
                    }
                }
            }
        }
        assert!(next.next().is_none(), "a block is no longer than its box");
    }
    Ok((out, missing))
}

fn expected(source: &Source, region: &VoxelBox) -> Vec<u16> {
    let mut out = Vec::new();
    for c in 0..source.channels {
        for z in region.start[2]..region.end[2] {
            for y in region.start[1]..region.end[1] {
                for x in region.start[0]..region.end[0] {
                    let at = [x - OFFSET[0], y - OFFSET[1], z - OFFSET[2]];
                    let inside = (0..3).all(|d| (0..SIZE[d] as i64).contains(&at[d]));
                    out.push(match inside {
                        true => value(c, at.map(|v| v as usize), source.fill),
                        false => source.fill,
                    });
                }
            }
        }
    }
    out
}

#[test]
fn every_kind_of_source_is_the_same_volume() {
    let dir = tempfile::tempdir().unwrap();
    for source in sources(dir.path()) {
        let name = &source.name;
        let volume = open(&source).unwrap_or_else(|e| panic!("{name}: {e}"));
        let meta = volume.meta();
        assert_eq!(meta.data_type, DataType::UInt16, "{name}");
        assert_eq!(meta.channels as usize, source.channels, "{name}");
        assert_eq!(meta.resolution.nm(), RESOLUTION, "{name}");
        assert_eq!(meta.grid.block_shape(), BLOCK.map(|n| n as u32), "{name}");
        let bounds = *meta.grid.bounds();
        assert_eq!(bounds.start, OFFSET, "{name}");
        assert_eq!(bounds.shape(), SIZE.map(|n| n as u64), "{name}");
        let (values, missing) = read(volume.as_ref(), &bounds).unwrap();
        assert!(values == expected(&source, &bounds), "{name}: the whole");
        assert_eq!(missing, 1, "{name}: blocks that are not stored");
        for (start, end) in [
            ([-20, 90, 0], [9, 110, 12]),
            ([20, 120, 14], [60, 140, 30]),
            ([13, 109, 12], [14, 110, 13]),
            ([1000, 1000, 1000], [1010, 1010, 1010]),
        ] {
            let window = VoxelBox { start, end };
            let (values, _) = read(volume.as_ref(), &window).unwrap();
            assert!(values == expected(&source, &window), "{name}: {window:?}");
        }
    }
}

/// Reads blocks together that lie side by side, and each alone, and holds them against each other: how many runs
/// there were of several blocks. `None` where every block is an object of its own.
fn compare_runs(volume: &dyn Volume) -> Option<usize> {
    let (name, chunk_groups) = (volume.describe(), volume.chunk_groups()?);
    let grid = &volume.meta().grid;
    let mut by_group: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for block in grid.blocks_touching(grid.bounds()) {
        let group = by_group.entry(chunk_groups.group_key(block)).or_default();
        group.push(block);
    }
    let mut joined = 0;
    for mut blocks in by_group.into_values() {
        let runs = chunk_groups.runs(&blocks);
        let mut all = runs.concat();
        all.sort_unstable();
        blocks.sort_unstable();
        assert_eq!(all, blocks, "{name}: each block is in one run");
        for run in runs.iter().filter(|run| run.len() > 1) {
            joined += 1;
            let mut together: Vec<_> = run.iter().map(|_| EncodedBlock::default()).collect();
            assert!(
                chunk_groups.fetch_run(run, &mut together).unwrap(),
                "{name}"
            );
            for (block, mut encoded) in run.iter().zip(together) {
                let (mut values, mut expected) = (Vec::new(), Vec::new());
                volume.decode(*block, &mut encoded, &mut values).unwrap();
                assert!(volume.fetch(*block, &mut encoded).unwrap(), "{name}");
                volume.decode(*block, &mut encoded, &mut expected).unwrap();
                assert!(values == expected, "{name}: {block:?}");
            }
        }
    }
    Some(joined)
}

#[test]
fn blocks_that_are_read_together_are_those_that_are_read_alone() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = sources(dir.path()).into_iter().map(|s| open(&s).unwrap());
    let runs: Vec<_> = volumes.filter_map(|v| compare_runs(v.as_ref())).collect();
    assert!(!runs.is_empty() && runs.iter().all(|n| *n > 0), "{runs:?}");
    let Some(data) = crate::support::shared_data() else {
        return;
    };
    for name in ["sharded_raw_identity", "sharded_gzip_murmur"] {
        let folder = data.join("encodings").join(name);
        let url = format!("precomputed://file://{}", folder.display());
        let url = SourceUrl::parse(&url, &Location::Local(Default::default())).unwrap();
        let volume = volume::open(&url, &Resolution::new([4.6, 4.6, 45.0]).unwrap()).unwrap();
        assert!(compare_runs(volume.as_ref()).unwrap() > 0, "{name}");
    }
}

#[test]
fn the_digest_of_a_source_is_that_of_its_metadata() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let digests = |dir: &Path| -> Vec<_> {
        let sources = sources(dir);
        sources.iter().map(|s| open(s).unwrap().digest()).collect()
    };
    let (one, two) = (digests(one.path()), digests(two.path()));
    assert_eq!(one, two);
    let different: std::collections::HashSet<_> = one.iter().collect();
    assert_eq!(different.len(), one.len());
}

/// Files below `folder` that hold voxels.
fn chunk_files(folder: &Path) -> Vec<PathBuf> {
    crate::support::tree(folder)
        .into_keys()
        .filter(|name| !name.ends_with(".json") && !name.contains(".z") && name != "info")
        .map(|name| folder.join(name))
        .collect()
}

#[test]
fn a_chunk_that_is_cut_off_is_an_error_that_names_its_file() {
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
fn flipped_bytes_never_panic_and_checksums_see_them() {
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
                    panic!("{}: byte {at} was not seen", source.name);
                }
                _ => {}
            }
        }
        fs::write(file, whole).unwrap();
    }
}

#[test]
fn metadata_of_any_kind_is_read_or_refused_without_a_panic() {
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
    let (mut refused, mut turn) = (0, 0);
    for source in sources(dir.path()) {
        let documents: Vec<_> = crate::support::tree(&source.folder)
            .into_iter()
            .filter(|(name, _)| name.ends_with(".json") || name.contains(".z") || name == "info")
            .collect();
        for (name, bytes) in documents {
            let whole: Value = serde_json::from_slice(&bytes).unwrap();
            for pointer in pointers(&whole) {
                // Not everything everywhere: each place gets others, and each kind of value comes to each place
                // of some source.
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
                            refused += 1;
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
    assert!(refused > 500, "only {refused} were refused");
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

/// JSON pointers to everything in `value`.
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

fn plain(dir: &Path) -> Source {
    sources(dir)
        .into_iter()
        .find(|s| s.name == "zarr v2, C order")
        .unwrap()
}

#[test]
fn a_plain_array_without_a_config_is_refused_with_what_to_add() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = plain(dir.path());
    let whole = source.layer.clone();
    source.layer.axes = None;
    let e = open(&source).unwrap_err().to_string();
    assert!(
        e.contains(".zarray") && e.contains("\"axes\": \"zyx\""),
        "{e}"
    );
    source.layer = LayerConfig {
        resolution: None,
        ..whole.clone()
    };
    let e = open(&source).unwrap_err().to_string();
    assert!(
        e.contains("`layers`") && e.contains("\"resolution\""),
        "{e}"
    );
    source.layer.resolution = Resolution::new([8.0, 8.0, 40.0]);
    let e = open(&source).unwrap_err().to_string();
    assert!(
        e.contains("4 x 4 x 40 nm") && e.contains("[8.0, 8.0, 40.0]"),
        "{e}"
    );
    source.layer = LayerConfig {
        axes: Some("czyx".into()),
        ..whole
    };
    let e = open(&source).unwrap_err().to_string();
    assert!(e.contains("3 dimension(s)") && e.contains("4 name"), "{e}");
}

#[test]
fn a_precomputed_volume_takes_nothing_from_the_config() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = sources(dir.path());
    let source = all.iter_mut().find(|s| s.name == "precomputed").unwrap();
    source.layer.voxel_offset = Some([0; 3]);
    let e = open(source).unwrap_err().to_string();
    assert!(e.contains("remove them from the config"), "{e}");
}

#[test]
fn a_folder_of_nothing_and_an_unknown_format_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = plain(dir.path());
    source.url = dir.path().join("nothing").display().to_string();
    let e = open(&source).unwrap_err().to_string();
    assert!(e.contains("nothing") && e.contains("zarr.json"), "{e}");
    for (scheme, word) in [
        ("zarr", "zarr.json"),
        ("zarr2", ".zarray"),
        ("n5", "attributes.json"),
    ] {
        source.url = format!("{scheme}://{}/nothing", dir.path().display());
        let e = open(&source).unwrap_err().to_string();
        assert!(e.contains("nothing") && e.contains(word), "{e}");
    }
    source.url = format!("nifti://{}", dir.path().display());
    assert!(open(&source).unwrap_err().to_string().contains("`nifti`"));
}

/// A config for the collection `zarr_bad_crc` with what its Zarr layer lacks.
fn zarr_config(collection: &Path, voxel_offset: [i64; 3]) -> Value {
    json!({
        "collection": collection,
        "resolution": [4.6, 4.6, 45.0],
        "window": [32, 16, 8],
        "points": { "layer": "points" },
        "arrays": { "img": { "layer": "img" } },
        "layers": { "img": { "resolution": [4.6, 4.6, 45.0], "voxel_offset": voxel_offset, "axes": "zyx" } },
        "splits": { "train": [] },
    })
}

#[test]
fn a_shard_whose_index_has_a_wrong_checksum_fails_the_job_and_is_named() {
    let Some(data) = crate::support::shared_data() else {
        return;
    };
    let collection = data.join("malformed/zarr_bad_crc/collection.json");
    let mut config = zarr_config(&collection, [3031, 2577, 100]);
    config["splits"] = split_of(&collection);
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out");
    let e = crate::support::run(&config, &out, 2, 1 << 30).unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(e));
    assert!(
        text.contains("layer/c/0/0/0") && text.contains("shard index"),
        "{text}"
    );
    assert!(!out.join("manifest.json").exists());
}

/// The split `train` of all boxes of the collection, whose first box bears the tags.
fn split_of(collection: &Path) -> Value {
    let tags = &crate::support::read_json(collection)["annotations"][0]["tags"];
    json!({ "train": tags })
}

#[test]
fn a_fill_value_that_is_not_zero_fills_holes_and_what_lies_outside() {
    let Some(data) = crate::support::shared_data() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let name = "zarr v2, fill value";
    let source = sources(dir.path())
        .into_iter()
        .find(|s| s.name == name)
        .unwrap();
    let original = data.join("malformed/zarr_bad_crc/collection.json");
    let base = format!("file://{}", data.join("malformed/base").display());
    let text = fs::read_to_string(&original).unwrap();
    let text = text
        .replace("zarr3://file://./layer", &source.url)
        .replace("file://../base", &base);
    let collection = dir.path().join("collection.json");
    fs::write(&collection, text).unwrap();
    let config = |voxel_offset| {
        let mut config = zarr_config(&collection, voxel_offset);
        config["layers"]["img"]["axes"] = json!("czyx");
        config["splits"] = split_of(&original);
        config
    };
    let file = dir.path().join("config.json");
    // Somewhere among the windows: a layer that none of them touches is an error.
    fs::write(&file, config([3060, 2600, 99]).to_string()).unwrap();
    let start = Job::prepare(&file, 1 << 30).unwrap().plan.splits[0].samples[0].start_voxel;
    // The first window holds the volume's first corner, its hole, and what lies before it.
    let offset = [start[0] - 3, start[1] + 2, start[2] - 2];
    let out = dir.path().join("out");
    crate::support::run(&config(offset), &out, 2, 1 << 30).unwrap();
    let split = Dataset::open(&out).unwrap().split("train").unwrap();
    let starts = split.column::<i64>("start_voxel").unwrap();
    let samples = split.samples("img").unwrap();
    let (mut holes, mut filled) = (0, 0);
    for (i, start) in starts.chunks_exact(3).enumerate() {
        let values = samples.read(i as u64).unwrap();
        let mut values = values
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]));
        for c in 0..2 {
            for z in 0..8 {
                for y in 0..16 {
                    for x in 0..32 {
                        let at: [i64; 3] =
                            std::array::from_fn(|d| start[d] - offset[d] + [x, y, z][d]);
                        let inside = (0..3).all(|d| (0..SIZE[d] as i64).contains(&at[d]));
                        let expected = match inside {
                            true => value(c, at.map(|v| v as usize), source.fill),
                            false => source.fill,
                        };
                        holes += usize::from(inside && expected == source.fill);
                        filled += usize::from(!inside);
                        assert_eq!(values.next(), Some(expected), "sample {i} at {at:?}");
                    }
                }
            }
        }
    }
    assert!(holes > 0 && filled > 0, "{holes} {filled}");
}

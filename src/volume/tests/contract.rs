//! Tests that every format must pass: the same voxels, written in each format, are read the same, with the same
//! edges and the same missing blocks, and a damaged file is an error that names it.

mod damage;
mod errors;
mod jobs;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::data_type::DataType;
use crate::geometry::{Resolution, VoxelBox};
use crate::storage::{Location, SourceUrl, Storage};
use crate::volume::{self, EncodedBlock, Volume, VolumeError};
use sources::{BLOCK, OFFSET, RESOLUTION, SIZE, Source, sources, value};

fn open(source: &Source) -> Result<Arc<dyn Volume>, VolumeError> {
    let url = SourceUrl::parse(&source.url, &Location::Local(Default::default())).unwrap();
    volume::open_layer(
        &url,
        &Resolution::new(RESOLUTION).unwrap(),
        &source.layer,
        &Storage::default(),
    )
}

/// The values of `region`, `[channel, z, y, x]`, and the number of missing blocks.
fn read(volume: &dyn Volume, region: &VoxelBox) -> Result<(Vec<u16>, usize), VolumeError> {
    let meta = volume.meta();
    let [nx, ny, nz] = region.shape().map(|n| n as usize);
    let mut bytes = vec![0; nx * ny * nz * meta.channels as usize * 2];
    meta.fill_value.fill(2, &mut bytes);
    let mut out: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]))
        .collect();
    // The buffers are reused, as in the pipeline.
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
                        let value = next.next().expect("a block is complete");
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
        assert!(next.next().is_none(), "a block has the length of its box");
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
                    out.push(if inside {
                        value(c, at.map(|v| v as usize), source.fill)
                    } else {
                        source.fill
                    });
                }
            }
        }
    }
    out
}

#[test]
fn the_same_voxels_are_read_from_every_kind_of_source() {
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
        assert!(values == expected(&source, &bounds), "{name}: whole volume");
        assert_eq!(missing, 1, "{name}: missing blocks");
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

/// Compares blocks that are read together with the same blocks read one by one. Returns the number of runs with several
/// blocks. `None` if every block is an object of its own.
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
        assert_eq!(all, blocks, "{name}: each block is in a single run");
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
fn blocks_read_together_equal_blocks_read_one_by_one() {
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
        let volume = volume::open(
            &url,
            &Resolution::new([4.6, 4.6, 45.0]).unwrap(),
            &Storage::default(),
        )
        .unwrap();
        assert!(compare_runs(volume.as_ref()).unwrap() > 0, "{name}");
    }
}

#[test]
fn the_digest_of_a_source_depends_on_its_metadata_only() {
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

//! Tests of what all formats have in common.

mod contract;
mod encodings;

use std::path::{Path, PathBuf};

use std::sync::Arc;

use super::*;
use crate::config::LayerConfig;
use crate::storage::witness::{self, Seen};
use crate::storage::{Location, SourceUrl, Storage};

/// Chunks in files with and without compression suffixes, in shards of both formats, in arrays, and a missing chunk.
const FOLDERS: [&str; 7] = [
    "raw_plain",
    "raw_gzip",
    "sharded_raw_identity",
    "sharded_gzip_murmur",
    "zarr2_blosc",
    "zarr3_sharded_zstd",
    "missing_chunk",
];

fn open_folder(folder: &Path, layer: &LayerConfig) -> Arc<dyn Volume> {
    let base = Location::Local(folder.to_owned());
    let url = SourceUrl::parse(&format!("file://{}", folder.display()), &base).unwrap();
    let storage = &Storage::default();
    let resolution = resolutions(&url, layer, storage).unwrap()[0];
    open_layer(&url, &resolution, layer, storage).unwrap()
}

fn n5(dir: &Path) -> Arc<dyn Volume> {
    let attributes = r#"{"dimensions": [6, 4, 4], "blockSize": [4, 4, 4], "dataType": "uint8", "compression": {"type": "raw"}}"#;
    std::fs::write(dir.join("attributes.json"), attributes).unwrap();
    std::fs::create_dir_all(dir.join("1/0")).unwrap();
    // Mode 0, three dimensions, their sizes, the values.
    let header = [0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4];
    std::fs::write(dir.join("1/0/0"), [&header[..], &[7; 32]].concat()).unwrap();
    let layer = r#"{"resolution": [8, 8, 40], "axes": "xyz"}"#;
    open_folder(dir, &serde_json::from_str(layer).unwrap())
}

fn tiff_sections(dir: &Path) -> Arc<dyn Volume> {
    std::fs::create_dir_all(dir).unwrap();
    for section in 0..2 {
        let file = std::fs::File::create(dir.join(format!("z{section}.tif"))).unwrap();
        let mut encoder = ::tiff::encoder::TiffEncoder::new(file).unwrap();
        let values = [section; 12];
        encoder
            .write_image::<::tiff::encoder::colortype::Gray8>(4, 3, &values)
            .unwrap();
    }
    open_folder(
        dir,
        &serde_json::from_str(r#"{"resolution": [8, 8, 40]}"#).unwrap(),
    )
}

#[test]
fn a_block_is_read_from_the_byte_range_that_was_prefetched() {
    let dir = tempfile::tempdir().unwrap();
    let sections = tiff_sections(&dir.path().join("sections"));
    let mut volumes = vec![("n5", n5(dir.path())), ("tiff", sections)];
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/encodings");
    if data.is_dir() {
        volumes.extend(FOLDERS.map(|name| {
            let axes = name
                .starts_with("zarr")
                .then_some(r#"{"resolution": [4.6, 4.6, 45], "axes": "zyx"}"#);
            let layer = serde_json::from_str(axes.unwrap_or("{}")).unwrap();
            (name, open_folder(&data.join(name), &layer))
        }));
    } else {
        let data = data.display();
        assert!(std::env::var_os("CI").is_none(), "{data} is missing");
    }
    for (name, volume) in volumes {
        let grid = &volume.meta().grid;
        let (mut stored, mut missing) = (0, 0);
        for block in grid.blocks_touching(grid.bounds()) {
            let mut encoded = EncodedBlock::default();
            // After this, the index of its shard is cached.
            let found = volume.fetch(block, &mut encoded).unwrap();
            witness::take();
            volume.prefetch(block);
            let prefetched: Vec<(PathBuf, _)> = witness::take()
                .into_iter()
                .map(|seen| match seen {
                    Seen::Prefetched(path, range) => (path, range),
                    Seen::Read(..) => panic!("{name}: {block:?} is read"),
                })
                .collect();
            volume.fetch(block, &mut encoded).unwrap();
            let read: Vec<(PathBuf, _)> = witness::take()
                .into_iter()
                .filter_map(|seen| match seen {
                    Seen::Read(path, range) => Some((path, range)),
                    Seen::Prefetched(..) => None,
                })
                .collect();
            assert_eq!(prefetched, read, "{name}: {block:?}");
            assert_eq!(!prefetched.is_empty(), found, "{name}: {block:?}");
            stored += usize::from(found);
            missing += usize::from(!found);
        }
        let some_missing = ["n5", "missing_chunk"].contains(&name);
        assert!(
            stored > 0 && some_missing == (missing > 0),
            "{name}: {stored}, {missing}"
        );
    }
}

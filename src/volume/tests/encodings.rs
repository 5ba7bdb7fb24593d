//! A crop in many encodings, compared with the values that cloud-volume and tensorstore read.

use std::path::Path;

use crate::config::LayerConfig;
use crate::geometry::Resolution;
use crate::storage::{Location, SourceUrl, Storage};
use crate::support::{read_json, shared_data};
use crate::volume::{self, EncodedBlock, Volume};
use serde_json::Value;
use sha2::{Digest, Sha256};

#[test]
fn every_encoding_decodes_to_the_reference_values() {
    let Some(data) = shared_data() else { return };
    let folder = data.join("encodings");
    let mut read = 0;
    for (name, case) in read_json(&folder.join("index.json")).as_object().unwrap() {
        let volume = open(&folder, name, case).unwrap();
        let found = values(volume.as_ref(), case);
        match case["decoded"].as_str() {
            Some(decoded) => assert_close(&found, &npz_values(&folder.join(decoded)), name),
            None => {
                let sha256 = case["sha256_C_order"].as_str().unwrap();
                assert_eq!(hex(&Sha256::digest(&found)), sha256, "{name}");
            }
        }
        read += 1;
    }
    assert!(read >= 17, "only {read} cases were read");
}

#[test]
fn a_shard_shorter_than_its_index_is_an_error_that_names_it() {
    let Some(data) = shared_data() else { return };
    let url = format!(
        "precomputed://file://{}",
        data.join("malformed/shard_too_short/layer").display()
    );
    let source = SourceUrl::parse(&url, &Location::Local(Default::default())).unwrap();
    let volume = volume::open(
        &source,
        &Resolution::new([4.6, 4.6, 45.0]).unwrap(),
        &Storage::default(),
    )
    .unwrap();
    let mut encoded = EncodedBlock::default();
    for block in volume
        .meta()
        .grid
        .blocks_touching(volume.meta().grid.bounds())
    {
        let e = volume.fetch(block, &mut encoded).unwrap_err();
        let e = format!("{:#}", anyhow::Error::from(e));
        assert!(
            e.contains("4.6_4.6_45/0.shard") && e.contains("27 bytes"),
            "{e}"
        );
    }
}

/// Opens a case. Opens an OME-Zarr level through the folder of its image, with the level's resolution.
fn open(
    folder: &Path,
    name: &str,
    case: &Value,
) -> Result<std::sync::Arc<dyn Volume>, volume::VolumeError> {
    let mut nm: [f64; 3] = serde_json::from_value(case["resolution_nm"].clone()).unwrap();
    let mut layer = LayerConfig::default();
    let (format, name) = match case["format"].as_str().unwrap() {
        "precomputed" => ("precomputed", name),
        "ome-zarr 0.4" => {
            let (image, level) = name.split_once('/').unwrap();
            if level == "s1" {
                nm = [9.2, 9.2, 45.0];
            }
            ("zarr", image)
        }
        format => {
            layer.resolution = Resolution::new(nm);
            layer.voxel_offset = serde_json::from_value(case["voxel_offset"].clone()).unwrap();
            layer.axes = case["axes"].as_str().map(str::to_owned);
            (format, name)
        }
    };
    let url = format!("{format}://file://{}", folder.join(name).display());
    let source = SourceUrl::parse(&url, &Location::Local(Default::default())).unwrap();
    volume::open_layer(
        &source,
        &Resolution::new(nm).unwrap(),
        &layer,
        &Storage::default(),
    )
}

/// All values in the order of the axes in the index, the last axis fastest.
fn values(volume: &dyn Volume, case: &Value) -> Vec<u8> {
    let meta = volume.meta();
    let bounds = *meta.grid.bounds();
    let offset: [i64; 3] = serde_json::from_value(case["voxel_offset"].clone()).unwrap();
    let expected = match meta.resolution.nm()[0] {
        // The index has the offset of the image. Its level s1 has every second voxel.
        9.2 => [offset[0] / 2, offset[1] / 2, offset[2]],
        _ => offset,
    };
    assert_eq!(bounds.start, expected);
    assert_eq!(case["dtype"], meta.data_type.name());
    let [nx, ny, nz] = bounds.shape().map(|n| n as usize);
    let (channels, size) = (meta.channels as usize, meta.data_type.size_bytes());
    let mut all = vec![0; nx * ny * nz * channels * size];
    let (mut encoded, mut values) = (EncodedBlock::default(), Vec::new());
    for block in meta.grid.blocks_touching(&bounds) {
        if !volume.fetch(block, &mut encoded).unwrap() {
            continue;
        }
        volume.decode(block, &mut encoded, &mut values).unwrap();
        let region = meta.grid.block_box(block);
        let mut from = values.chunks_exact(size);
        for c in 0..channels {
            for z in region.start[2]..region.end[2] {
                for y in region.start[1]..region.end[1] {
                    for x in region.start[0]..region.end[0] {
                        let [x, y, z] = [
                            x - bounds.start[0],
                            y - bounds.start[1],
                            z - bounds.start[2],
                        ]
                        .map(|v| v as usize);
                        let to = size
                            * match case["axes"].as_str().unwrap() {
                                "zyx" | "tczyx" => ((c * nz + z) * ny + y) * nx + x,
                                _ => ((x * ny + y) * nz + z) * channels + c,
                            };
                        all[to..to + size].copy_from_slice(from.next().unwrap());
                    }
                }
            }
        }
        assert!(from.next().is_none());
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Compares lossy values with those of libjpeg-turbo, which rounds differently.
fn assert_close(found: &[u8], expected: &[u8], name: &str) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let differences = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
    assert!(differences.clone().max() <= Some(1), "{name}");
    let differing = differences.filter(|d| *d > 0).count();
    assert!(differing * 20 < found.len(), "{name}: {differing} differ");
}

/// The bytes of the single uint8 array in an npz file from numpy.
fn npz_values(path: &Path) -> Vec<u8> {
    let zip = std::fs::read(path).unwrap();
    let u16_at = |bytes: &[u8], i: usize| usize::from(u16::from_le_bytes([bytes[i], bytes[i + 1]]));
    assert_eq!(&zip[..4], b"PK\x03\x04");
    assert_eq!(u16_at(&zip, 8), 8, "deflate");
    let data = 30 + u16_at(&zip, 26) + u16_at(&zip, 28);
    let mut npy = vec![0; 1 << 20];
    let n = libdeflater::Decompressor::new()
        .deflate_decompress(&zip[data..], &mut npy)
        .unwrap();
    npy.truncate(n);
    let header = u16_at(&npy, 8);
    let text = String::from_utf8_lossy(&npy[10..10 + header]);
    assert!(
        text.contains("'|u1'") && text.contains("'fortran_order': False"),
        "{text}"
    );
    npy.split_off(10 + header)
}

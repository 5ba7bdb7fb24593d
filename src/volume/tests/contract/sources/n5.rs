//! N5 datasets.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::json;
use zarrs::array::codec::BloscCodec;
use zarrs::array::{BytesToBytesCodecTraits, CodecOptions};

use super::{BLOCK, OFFSET, SIZE, Source, block_values, blocks, layer, lengths};
use crate::config::LayerConfig;

/// Writes an N5 group whose level s1 has the right resolution or, with several channels, a single dataset.
pub fn n5(dir: &Path, compression: &str, channels: usize) -> Source {
    let folder = dir.join(format!("n5_{compression}_{channels}"));
    let attributes = |shape: &[usize], block: &[usize]| {
        json!({"dimensions": shape, "blockSize": block, "dataType": "uint16",
            "compression": {"type": compression, "level": 1}})
    };
    let (dataset, layer, url) = match channels {
        1 => {
            for level in ["s0", "s1"] {
                fs::create_dir_all(folder.join(level)).unwrap();
                fs::write(
                    folder.join(level).join("attributes.json"),
                    attributes(&SIZE, &BLOCK).to_string(),
                )
                .unwrap();
            }
            let group = json!({"n5": "2.0.0", "resolution": [2, 2, 40], "units": ["nm", "nm", "nm"],
                "scales": [[1, 1, 1], [2, 2, 1]]});
            fs::write(folder.join("attributes.json"), group.to_string()).unwrap();
            let layer = LayerConfig {
                resolution: None,
                voxel_offset: Some(OFFSET),
                axes: None,
                ..LayerConfig::default()
            };
            (
                folder.join("s1"),
                layer,
                format!("n5://{}", folder.display()),
            )
        }
        _ => {
            fs::create_dir_all(&folder).unwrap();
            let (shape, block): (Vec<_>, Vec<_>) =
                "xyzc".chars().map(|a| lengths(a, channels)).unzip();
            fs::write(
                folder.join("attributes.json"),
                attributes(&shape, &block).to_string(),
            )
            .unwrap();
            (
                folder.clone(),
                layer(Some("xyzc")),
                folder.display().to_string(),
            )
        }
    };
    write_blocks(&dataset, compression, channels);
    Source {
        name: format!("n5, {compression}, {channels} channel(s)"),
        url,
        folder,
        layer,
        channels,
        fill: 0,
        checksummed: false,
    }
}

/// Writes all blocks of a dataset.
fn write_blocks(dataset: &Path, compression: &str, channels: usize) {
    for (index, start, size) in blocks() {
        for part in 0..channels.div_ceil(2) {
            let of_part = part * 2..channels.min(part * 2 + 2);
            let mut file = dataset.to_owned();
            file.extend(index.iter().map(usize::to_string));
            let mut shape: Vec<u32> = size.iter().map(|n| *n as u32).collect();
            if channels > 1 {
                file.push(part.to_string());
                shape.push(of_part.len() as u32);
            }
            let mut bytes = vec![0, 0, 0, shape.len() as u8];
            bytes.extend(shape.iter().flat_map(|n| n.to_be_bytes()));
            let values = block_values(of_part, start, size);
            let values: Vec<u8> = values.into_iter().flat_map(u16::to_be_bytes).collect();
            bytes.extend(pack(compression, &values));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
    }
}

fn pack(compression: &str, bytes: &[u8]) -> Vec<u8> {
    match compression {
        "raw" => bytes.to_vec(),
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        "blosc" => {
            let json = json!({"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 2, "blocksize": 0});
            let codec = BloscCodec::new_with_configuration(&serde_json::from_value(json).unwrap());
            let codec = codec.unwrap();
            codec
                .encode(bytes.into(), &CodecOptions::default())
                .unwrap()
                .into_owned()
        }
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let level = libdeflater::CompressionLvl::new(1).unwrap();
            let mut c = libdeflater::Compressor::new(level);
            let mut out = vec![0; c.gzip_compress_bound(bytes.len())];
            let n = c.gzip_compress(bytes, &mut out).unwrap();
            out.truncate(n);
            out
        }
    }
}

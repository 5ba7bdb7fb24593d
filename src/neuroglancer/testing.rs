//! Writes shards, for tests.

use std::collections::BTreeMap;
use std::path::Path;

use libdeflater::{CompressionLvl, Compressor};
use serde_json::Value;

use super::minishard;
use super::sharding::ShardingSpec;
use crate::storage::Compression;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut c = Compressor::new(CompressionLvl::new(1).unwrap());
    let mut out = vec![0; c.gzip_compress_bound(bytes.len())];
    let n = c.gzip_compress(bytes, &mut out).unwrap();
    out.truncate(n);
    out
}

/// Writes `chunks` into `folder` as the specification defines. With `legacy`, in pairs of files.
pub(crate) fn write_shards(
    folder: &Path,
    sharding: &Value,
    chunks: &BTreeMap<u64, Vec<u8>>,
    legacy: bool,
) {
    let spec = ShardingSpec::parse(sharding).unwrap();
    let pack = |encoding, bytes: &[u8]| match encoding {
        Compression::Gzip => gzip(bytes),
        _ => bytes.to_vec(),
    };
    let mut shards: BTreeMap<u64, BTreeMap<u64, Vec<u64>>> = BTreeMap::new();
    for id in chunks.keys() {
        let place = spec.locate(*id);
        let minishards = shards.entry(place.shard).or_default();
        minishards.entry(place.minishard).or_default().push(*id);
    }
    for (shard, minishards) in shards {
        let (mut index, mut data) = (vec![0; spec.index_bytes() as usize], Vec::new());
        for (minishard, ids) in minishards {
            let mut entries = Vec::new();
            for id in ids {
                let packed = pack(spec.data_encoding, &chunks[&id]);
                entries.push((id, data.len() as u64, packed.len() as u64));
                data.extend(packed);
            }
            let start = data.len();
            data.extend(pack(spec.index_encoding, &minishard::encode(&entries)));
            let at = 16 * minishard as usize;
            index[at..at + 8].copy_from_slice(&(start as u64).to_le_bytes());
            index[at + 8..at + 16].copy_from_slice(&(data.len() as u64).to_le_bytes());
        }
        let path = |suffix| folder.join(spec.file_stem(shard) + suffix);
        if legacy {
            std::fs::write(path(".index"), index).unwrap();
            std::fs::write(path(".data"), data).unwrap();
        } else {
            std::fs::write(path(".shard"), [index, data].concat()).unwrap();
        }
    }
}

//! Shards: whole, in the layout that the manifest says, and decodable sample by sample.

use std::collections::HashMap;

use rayon::prelude::*;

use super::files::Folder;
use super::{Finding, FindingKind, told};
use crate::data_type::DataType;
use crate::dataset::{Codec, Dataset, DatasetError, SampleArray, ShardEntry};

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let mut findings = Vec::new();
    let mut arrays = HashMap::new();
    for split in manifest.splits.keys() {
        for array in manifest.arrays.keys() {
            let opened = Opened::open(dataset, split, array);
            findings.extend(structure(dataset, split, array, &opened));
            if let Ok(opened) = opened {
                arrays.insert((split.as_str(), array.as_str()), opened);
            }
        }
    }
    let folder = Folder::of(dataset);
    let of_shards: Vec<_> = manifest
        .shards
        .par_iter()
        .flat_map_iter(|shard| {
            let opened = arrays.get(&(shard.split.as_str(), shard.array.as_str()));
            check_shard(&folder, shard, opened)
        })
        .collect();
    findings.extend(of_shards);
    findings
}

/// What is wrong with the shards as files, whatever is in them.
pub(super) fn check_bytes(dataset: &Dataset) -> Vec<Finding> {
    let folder = Folder::of(dataset);
    let shards = dataset.manifest().shards.par_iter();
    let wrong = |shard: &ShardEntry| {
        let (kind, message) = folder.wrong(&shard.path, shard.bytes, &shard.blake3)?;
        Some(about(shard, kind, Vec::new(), message))
    };
    shards.filter_map(wrong).collect()
}

/// An array of a split, and what its column says of each sample.
struct Opened {
    array: SampleArray,
    data_type: DataType,
    column: String,
    nonzero_fractions: Vec<f32>,
}

impl Opened {
    fn open(dataset: &Dataset, split: &str, name: &str) -> Result<Self, DatasetError> {
        let reader = dataset.split(split)?;
        let array = reader.samples(name)?;
        let column = format!("{name}_nonzero_fraction");
        Ok(Self {
            data_type: array.data_type(),
            array,
            // A column that cannot be read is a finding of `columns`.
            nonzero_fractions: reader.column(&column).unwrap_or_default(),
            column,
        })
    }
}

/// Whether the array's metadata says what the manifest says.
fn structure(
    dataset: &Dataset,
    split: &str,
    array: &str,
    opened: &Result<Opened, DatasetError>,
) -> Option<Finding> {
    let manifest = dataset.manifest();
    let message = match opened {
        Err(e) => told(e),
        Ok(opened) => {
            // Version 1 knew but one.
            let codec = manifest.arrays.get(array)?.codec;
            let codec = codec.map_or_else(Codec::default, |c| c.codec);
            let wrong = opened.array.wrong_codec(codec);
            wrong.unwrap_or_else(|e| Some(e.to_string()))?
        }
    };
    Some(Finding {
        kind: FindingKind::Structure,
        file: format!("{}/{array}/zarr.json", manifest.splits.get(split)?.path),
        split: Some(split.to_owned()),
        samples: Vec::new(),
        message,
    })
}

fn check_shard(folder: &Folder<'_>, shard: &ShardEntry, opened: Option<&Opened>) -> Vec<Finding> {
    // Where the array cannot be opened, its samples may be more than there is memory for.
    let all = || match opened {
        Some(_) => (shard.first_sample..shard.first_sample + shard.samples).collect(),
        None => Vec::new(),
    };
    let decoded = || opened.map_or_else(Vec::new, |opened| decode(shard, opened));
    match folder.wrong(&shard.path, shard.bytes, &shard.blake3) {
        None => decoded(),
        Some((kind @ FindingKind::Digest, message)) => {
            // Which samples of the file are hit is what a person wants to know next.
            let damaged = decoded().into_iter().flat_map(|f| f.samples).collect();
            vec![about(shard, kind, damaged, message)]
        }
        Some((kind, message)) => vec![about(shard, kind, all(), message)],
    }
}

/// Decodes every sample of the shard and counts its nonzero values.
fn decode(shard: &ShardEntry, opened: &Opened) -> Vec<Finding> {
    let samples = shard.first_sample..shard.first_sample + shard.samples;
    let Opened { array, column, .. } = opened;
    let file = match array.open_shard_of(shard.first_sample) {
        Ok(file) => file,
        Err(e) => {
            let message = told(&e);
            return vec![about(
                shard,
                FindingKind::Decode,
                samples.collect(),
                message,
            )];
        }
    };
    let mut findings = Vec::new();
    for i in samples {
        let found = match array.stored_values(&file, i) {
            Ok(Some(values)) => nonzero_fraction(opened.data_type, &values),
            Ok(None) => nonzero_fraction(opened.data_type, array.fill_value()),
            Err(e) => {
                findings.push(about(shard, FindingKind::Decode, vec![i], told(&e)));
                continue;
            }
        };
        match opened.nonzero_fractions.get(i as usize) {
            Some(expected) if *expected != found => {
                let message =
                    format!("{column} is {expected}, but {found} of the sample's values are not 0");
                findings.push(about(shard, FindingKind::Column, vec![i], message));
            }
            _ => {}
        }
    }
    findings
}

fn nonzero_fraction(data_type: DataType, values: &[u8]) -> f32 {
    let n = values.len() / data_type.size_bytes();
    (data_type.count_nonzero(values) as f64 / n as f64) as f32
}

fn about(shard: &ShardEntry, kind: FindingKind, samples: Vec<u64>, message: String) -> Finding {
    Finding {
        kind,
        file: shard.path.clone(),
        split: Some(shard.split.clone()),
        samples,
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data_type::Scalar;
    use crate::dataset::MANIFEST;
    use crate::dataset::testing::{TestArray, write};
    use crate::geometry::AxisOrder;

    fn structure(dataset: &Dataset, split: &str, array: &str) -> Option<Finding> {
        super::structure(dataset, split, array, &Opened::open(dataset, split, array))
    }

    fn dataset(folder: &Path, order: AxisOrder, codec: Codec) -> Dataset {
        let array = TestArray {
            name: "a",
            data_type: DataType::UInt16,
            channels: 1,
            window: [2, 2, 2],
            fill_value: Scalar::ZERO,
            codec,
            samples: vec![None, Some((0..16).collect())],
        };
        write(folder, order, &[array], 2)
    }

    #[test]
    fn an_array_whose_metadata_names_another_codec_is_found() {
        for order in [AxisOrder::Czyx, AxisOrder::Cxyz] {
            let dir = tempfile::tempdir().unwrap();
            let dataset = dataset(dir.path(), order, Codec::default());
            assert_eq!(structure(&dataset, "train", "a"), None);
            let path = dir.path().join("train.zarr/a/zarr.json");
            let good = std::fs::read_to_string(&path).unwrap();
            for (from, to) in [
                (r#""level": 1"#, r#""level": 2"#),
                (r#""checksum": false"#, r#""checksum": true"#),
            ] {
                let bad = good.replace(from, to);
                assert_ne!(bad, good);
                std::fs::write(&path, bad).unwrap();
                let finding = structure(&dataset, "train", "a").unwrap();
                assert_eq!(finding.kind, FindingKind::Structure);
                assert!(finding.message.contains("codecs"), "{}", finding.message);
            }
        }
    }

    #[test]
    fn a_manifest_of_version_1_means_zstd() {
        for codec in [Codec::default(), Codec::None] {
            let dir = tempfile::tempdir().unwrap();
            let mut manifest = dataset(dir.path(), AxisOrder::Czyx, codec)
                .manifest()
                .clone();
            manifest.schema_version = 1;
            manifest.arrays["a"].codec = None;
            manifest.digest = manifest.expected_digest();
            let text = serde_json::to_string(&manifest).unwrap();
            assert!(!text.contains("codec"), "{text}");
            std::fs::write(dir.path().join(MANIFEST), text).unwrap();
            let dataset = Dataset::open(dir.path()).unwrap();
            let wrong = structure(&dataset, "train", "a");
            assert_eq!(wrong.is_none(), codec == Codec::default(), "{wrong:?}");
        }
    }
}

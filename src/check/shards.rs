//! Shards: complete, in the layout of the manifest, and every sample can be decoded.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::objects::{DatasetObjects, digest_problem};
use super::report::{Finding, FindingKind, describe};
use super::streamed::StreamedObject;
use crate::data_type::DataType;
use crate::dataset::{Codec, ColumnReader, Dataset, DatasetError, SampleArray, ShardEntry};

pub(super) fn check(dataset: &Dataset, objects: &DatasetObjects<'_>) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let mut findings = Vec::new();
    let mut arrays = HashMap::new();
    for split in manifest.splits.keys() {
        for array in manifest.arrays.keys() {
            let opened = OpenArray::open(dataset, split, array);
            findings.extend(structure(dataset, split, array, &opened));
            if let Ok(opened) = opened {
                arrays.insert((split.as_str(), array.as_str()), opened);
            }
        }
    }
    // One by one, because they are large, and in their order, because threads share the chunks of columns.
    let shards = manifest.shards.iter().enumerate().par_bridge();
    let of_shards = shards.map(|(number, shard)| {
        let opened = arrays.get(&(shard.split.as_str(), shard.array.as_str()));
        (number, check_shard(objects, shard, opened))
    });
    let mut of_shards: Vec<_> = of_shards.filter(|(_, found)| !found.is_empty()).collect();
    of_shards.sort_unstable_by_key(|(number, _)| *number);
    findings.extend(of_shards.into_iter().flat_map(|(_, found)| found));
    findings
}

/// Checks sizes and digests of the shards, not what is in them.
pub(super) fn check_bytes(dataset: &Dataset, objects: &DatasetObjects<'_>) -> Vec<Finding> {
    let shards = dataset.manifest().shards.par_iter();
    let problem = |shard: &ShardEntry| {
        let problem = objects.problem(&shard.path, shard.bytes, &shard.blake3)?;
        Some(finding(shard, problem.kind, Vec::new(), problem.message()))
    };
    shards.filter_map(problem).collect()
}

/// An array of a split, with its column of nonzero fractions.
struct OpenArray {
    array: SampleArray,
    data_type: DataType,
    column: String,
    nonzero_fractions: Option<ColumnReader<f32>>,
}

impl OpenArray {
    fn open(dataset: &Dataset, split: &str, name: &str) -> Result<Self, DatasetError> {
        let reader = dataset.split(split)?;
        let array = reader.samples(name)?;
        let column = format!("{name}_nonzero_fraction");
        Ok(Self {
            data_type: array.data_type(),
            array,
            // A column that cannot be read is a finding of `columns`.
            nonzero_fractions: reader.open_column(&column, Some(1)).ok(),
            column,
        })
    }
}

/// Whether the array's metadata agrees with the manifest.
fn structure(
    dataset: &Dataset,
    split: &str,
    array: &str,
    opened: &Result<OpenArray, DatasetError>,
) -> Option<Finding> {
    let manifest = dataset.manifest();
    let message = match opened {
        Err(e) => describe(e),
        Ok(opened) => {
            // Manifests of version 1 know only one codec.
            let codec = manifest.arrays.get(array)?.codec;
            let codec = codec.map_or_else(Codec::default, |c| c.codec);
            let problem = opened.array.codec_problem(codec);
            problem.unwrap_or_else(|e| Some(e.to_string()))?
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

fn check_shard(
    objects: &DatasetObjects<'_>,
    shard: &ShardEntry,
    opened: Option<&OpenArray>,
) -> Vec<Finding> {
    // Without an open array, the number of samples is not checked: listing them may need too much memory.
    let all = || {
        let samples = opened.map(|_| shard.first_sample..shard.first_sample + shard.samples);
        samples.into_iter().flatten().collect()
    };
    if let Some(problem) = objects.size_problem(&shard.path, shard.bytes) {
        return vec![finding(shard, problem.kind, all(), problem.message())];
    }
    let object = StreamedObject::new(objects.store(), &shard.path, shard.bytes);
    let object = Arc::new(object);
    let decoded = opened.map_or_else(Vec::new, |opened| decode(shard, opened, &object));
    match digest_problem(&object.digest().map(Some), &shard.blake3) {
        None => decoded,
        Some(problem) => {
            let samples = match problem.kind {
                // Readers want to know next which samples are damaged.
                FindingKind::Digest => decoded.into_iter().flat_map(|f| f.samples).collect(),
                _ => all(),
            };
            vec![finding(shard, problem.kind, samples, problem.message())]
        }
    }
}

/// Decodes every sample of the shard, which is `object`, and counts its nonzero values.
fn decode(shard: &ShardEntry, opened: &OpenArray, object: &Arc<StreamedObject>) -> Vec<Finding> {
    let samples = shard.first_sample..shard.first_sample + shard.samples;
    let OpenArray { array, column, .. } = opened;
    let file = match array.read_shard(object.clone(), &shard.path) {
        Ok(file) => file,
        Err(e) => {
            let message = describe(&e);
            return vec![finding(
                shard,
                FindingKind::Decode,
                samples.collect(),
                message,
            )];
        }
    };
    let fractions = opened.nonzero_fractions.as_ref();
    let fractions = fractions.and_then(|column| column.rows(samples.clone()).ok());
    let mut fractions = fractions.unwrap_or_default().into_iter();
    let mut findings = Vec::new();
    for i in samples {
        let expected = fractions.next();
        let found = match array.stored_values(&file, i) {
            Ok(Some(values)) => nonzero_fraction(opened.data_type, &values),
            Ok(None) => nonzero_fraction(opened.data_type, array.fill_value()),
            Err(e) => {
                findings.push(finding(shard, FindingKind::Decode, vec![i], describe(&e)));
                if object.has_failed() {
                    break;
                }
                continue;
            }
        };
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let message = format!("{column} is {expected}, but the sample's fraction is {found}");
            findings.push(finding(shard, FindingKind::Column, vec![i], message));
        }
    }
    findings
}

fn nonzero_fraction(data_type: DataType, values: &[u8]) -> f32 {
    let n = values.len() / data_type.size_bytes();
    (data_type.count_nonzero(values) as f64 / n as f64) as f32
}

fn finding(shard: &ShardEntry, kind: FindingKind, samples: Vec<u64>, message: String) -> Finding {
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
    use crate::storage::Storage;

    fn structure(dataset: &Dataset, split: &str, array: &str) -> Option<Finding> {
        super::structure(
            dataset,
            split,
            array,
            &OpenArray::open(dataset, split, array),
        )
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
    fn metadata_with_another_codec_is_a_finding() {
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
    fn arrays_of_a_manifest_of_version_1_are_compressed_by_zstd() {
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
            let dataset = Dataset::open(dir.path(), &Storage::default()).unwrap();
            let wrong = structure(&dataset, "train", "a");
            assert_eq!(wrong.is_none(), codec == Codec::default(), "{wrong:?}");
        }
    }
}

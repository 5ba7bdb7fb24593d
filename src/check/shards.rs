//! Shards: whole, in the layout that the manifest says, and decodable sample by sample.

use rayon::prelude::*;

use super::files::whole;
use super::{Finding, FindingKind, told};
use crate::data_type::DataType;
use crate::dataset::{Codec, Dataset, Manifest, SampleArray, ShardEntry};

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let mut findings = coverage(manifest);
    for split in manifest.splits.keys() {
        for array in manifest.arrays.keys() {
            findings.extend(structure(dataset, split, array));
        }
    }
    let of_shards: Vec<_> = manifest
        .shards
        .par_iter()
        .flat_map_iter(|shard| check_shard(dataset, shard))
        .collect();
    findings.extend(of_shards);
    findings
}

/// Whether the manifest lists every shard that its splits must have, and each as it must be.
fn coverage(manifest: &Manifest) -> Vec<Finding> {
    let unknown = |e: &&ShardEntry| {
        !manifest.splits.contains_key(&e.split) || !manifest.arrays.contains_key(&e.array)
    };
    let mut findings: Vec<_> = manifest
        .shards
        .iter()
        .filter(unknown)
        .map(|e| {
            let message = format!(
                "the manifest has no split `{}` with an array `{}`",
                e.split, e.array
            );
            about(e, FindingKind::Manifest, Vec::new(), message)
        })
        .collect();
    for (split, s) in &manifest.splits {
        for array in manifest.arrays.keys() {
            let mut next = 0;
            for shard in manifest
                .shards
                .iter()
                .filter(|e| e.split == *split && e.array == *array)
            {
                let expected = s.shard_samples.min(s.samples.saturating_sub(next));
                if shard.first_sample != next || shard.samples != expected || expected == 0 {
                    let message = format!(
                        "the manifest says that it holds {} samples from {}, expected {expected} from {next}",
                        shard.samples, shard.first_sample
                    );
                    findings.push(about(shard, FindingKind::Manifest, Vec::new(), message));
                }
                next += shard.samples;
            }
            if next != s.samples {
                findings.push(Finding {
                    kind: FindingKind::Manifest,
                    file: format!("{}/{array}", s.path),
                    split: Some(split.clone()),
                    samples: (next..s.samples).collect(),
                    message: format!(
                        "the manifest lists shards for {next} of {} samples",
                        s.samples
                    ),
                });
            }
        }
    }
    findings
}

/// Whether the array's metadata says what the manifest says.
fn structure(dataset: &Dataset, split: &str, array: &str) -> Option<Finding> {
    let manifest = dataset.manifest();
    let (s, a) = (&manifest.splits[split], &manifest.arrays[array]);
    let with = |n: u64| -> Vec<u64> { std::iter::once(n).chain(a.sample_shape).collect() };
    let message = match open(dataset, split, array) {
        Err(message) => message,
        Ok(found) => {
            // Version 1 knew but one.
            let codec = a.codec.map_or_else(Codec::default, |c| c.codec);
            let wrong_codec = found
                .wrong_codec(codec)
                .unwrap_or_else(|e| Some(e.to_string()));
            let found = (
                found.shape().to_vec(),
                found.inner_chunk(),
                found.data_type(),
            );
            let expected = (with(s.samples), with(1), a.data_type.name().to_owned());
            match found == expected {
                true => wrong_codec?,
                false => format!(
                    "its shape, inner chunk and data type are {found:?}, expected {expected:?}"
                ),
            }
        }
    };
    Some(Finding {
        kind: FindingKind::Structure,
        file: format!("{}/{array}/zarr.json", s.path),
        split: Some(split.to_owned()),
        samples: Vec::new(),
        message,
    })
}

fn check_shard(dataset: &Dataset, shard: &ShardEntry) -> Vec<Finding> {
    let samples = shard.first_sample..shard.first_sample + shard.samples;
    if let Some((kind, message)) = whole(
        &dataset.root().join(&shard.path),
        shard.bytes,
        &shard.blake3,
    ) {
        if matches!(
            kind,
            FindingKind::MissingFile | FindingKind::Unreadable | FindingKind::Size
        ) {
            return vec![about(shard, kind, samples.collect(), message)];
        }
        // Which samples of the file are hit is what a person wants to know next.
        let damaged: Vec<u64> = decode(dataset, shard)
            .into_iter()
            .flat_map(|f| f.samples)
            .collect();
        return vec![about(shard, kind, damaged, message)];
    }
    decode(dataset, shard)
}

/// Decodes every sample of the shard and counts its nonzero values.
fn decode(dataset: &Dataset, shard: &ShardEntry) -> Vec<Finding> {
    let opened = open(dataset, &shard.split, &shard.array);
    let (Ok(array), Some(entry)) = (opened, dataset.manifest().arrays.get(&shard.array)) else {
        // Told once, by `structure`.
        return Vec::new();
    };
    let column = format!("{}_nonzero_fraction", shard.array);
    let fractions = dataset
        .split(&shard.split)
        .and_then(|s| s.column::<f32>(&column))
        .unwrap_or_default();
    let samples = shard.first_sample..shard.first_sample + shard.samples;
    let opened = match array.open_shard_of(shard.first_sample) {
        Ok(opened) => opened,
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
        match array.read_from(&opened, i) {
            Err(e) => findings.push(about(shard, FindingKind::Decode, vec![i], told(&e))),
            Ok(values) => {
                let found = nonzero_fraction(entry.data_type, &values);
                match fractions.get(i as usize) {
                    Some(expected) if *expected != found => {
                        let message = format!(
                            "{column} is {expected}, but {found} of the sample's values are not 0"
                        );
                        findings.push(about(shard, FindingKind::Column, vec![i], message));
                    }
                    _ => {}
                }
            }
        }
    }
    findings
}

fn nonzero_fraction(data_type: DataType, values: &[u8]) -> f32 {
    let n = values.len() / data_type.size_bytes();
    (data_type.count_nonzero(values) as f64 / n as f64) as f32
}

fn open(dataset: &Dataset, split: &str, array: &str) -> Result<SampleArray, String> {
    let opened = dataset.split(split).and_then(|s| s.samples(array));
    opened.map_err(|e| told(&e))
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
    use crate::data_type::FillValue;
    use crate::dataset::MANIFEST;
    use crate::dataset::testing::{TestArray, write};
    use crate::geometry::AxisOrder;

    fn dataset(folder: &Path, order: AxisOrder, codec: Codec) -> Dataset {
        let array = TestArray {
            name: "a",
            data_type: DataType::UInt16,
            channels: 1,
            window: [2, 2, 2],
            fill_value: FillValue::ZERO,
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

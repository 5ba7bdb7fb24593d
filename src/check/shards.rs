//! Shards: complete, in the layout of the manifest, and every sample can be decoded.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::ChosenSamples;
use super::content::{Content, ContentRules};
use super::equal_samples;
use super::kind::FindingKind;
use super::objects::{DatasetObjects, digest_problem};
use super::report::{Finding, describe};
use super::streamed::StreamedObject;
use crate::data_type::DataType;
use crate::dataset::{
    Codec, ColumnReader, Dataset, DatasetError, Manifest, SampleArray, ShardEntry, ShardReader,
};

/// Which samples of the shards are decoded.
#[derive(Clone, Copy)]
pub(super) enum Samples<'a> {
    /// All. The digests of shards are verified, too.
    All,
    /// These, by split. Of other shards, only the size is verified.
    Some(&'a ChosenSamples),
}

/// The arrays that can be opened, by split and name.
type OpenArrays<'d> = HashMap<(&'d str, &'d str), OpenArray>;

pub(super) fn check(
    dataset: &Dataset,
    objects: &DatasetObjects<'_>,
    chosen: Samples<'_>,
) -> Vec<Finding> {
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
        let checked = match chosen {
            Samples::All => check_shard(objects, shard, opened),
            Samples::Some(samples) => check_samples(objects, shard, opened, samples),
        };
        (number, checked)
    });
    let mut of_shards: Vec<_> = of_shards.collect();
    of_shards.sort_unstable_by_key(|(number, _)| *number);
    let mut contents: HashMap<_, Content> = HashMap::new();
    for (number, checked) in of_shards {
        let shard = &manifest.shards[number];
        let key = (shard.split.as_str(), shard.array.as_str());
        findings.extend(checked.findings);
        contents.entry(key).or_default().append(checked.content);
    }
    findings.extend(suspicious(manifest, &arrays, contents));
    findings
}

/// What is suspicious in the values of the arrays.
fn suspicious<'m>(
    manifest: &'m Manifest,
    arrays: &OpenArrays<'m>,
    mut contents: HashMap<(&'m str, &'m str), Content>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (split, entry) in &manifest.splits {
        let of_split = arrays.iter().filter(|((s, _), _)| s == split);
        let of_split: Vec<_> = of_split.map(|(_, opened)| &opened.array).collect();
        for name in manifest.arrays.keys() {
            let Some(mut content) = contents.remove(&(split.as_str(), name.as_str())) else {
                continue;
            };
            let groups = content.equal_samples();
            findings.extend(equal_samples::finding(
                split,
                &entry.path,
                &of_split,
                groups,
            ));
            let file = format!("{}/{name}", entry.path);
            findings.extend(content.findings(split, &file));
        }
    }
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
    rules: ContentRules,
}

impl OpenArray {
    fn open(dataset: &Dataset, split: &str, name: &str) -> Result<Self, DatasetError> {
        let reader = dataset.split(split)?;
        let array = reader.samples(name)?;
        let column = format!("{name}_nonzero_fraction");
        let samples = dataset
            .manifest()
            .splits
            .get(split)
            .map_or(0, |s| s.samples);
        Ok(Self {
            data_type: array.data_type(),
            array,
            // A column that cannot be read is a finding of `columns`.
            nonzero_fractions: reader.open_column(&column, Some(1)).ok(),
            column,
            rules: ContentRules::new(dataset.manifest(), name, samples),
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
    let file = format!("{}/{array}/zarr.json", manifest.splits.get(split)?.path);
    Some(Finding::new(FindingKind::Structure, &file, message).in_split(split))
}

/// What was found in a shard.
#[derive(Default)]
struct CheckedShard {
    findings: Vec<Finding>,
    content: Content,
}

impl CheckedShard {
    fn wrong(finding: Finding) -> Self {
        Self {
            findings: vec![finding],
            ..Self::default()
        }
    }
}

/// Verifies size and digest of the shard, and decodes every sample.
fn check_shard(
    objects: &DatasetObjects<'_>,
    shard: &ShardEntry,
    opened: Option<&OpenArray>,
) -> CheckedShard {
    // Without an open array, the number of samples is not checked: listing them may need too much memory.
    let all = || {
        let samples = opened.map(|_| shard.first_sample..shard.first_sample + shard.samples);
        samples.into_iter().flatten().collect()
    };
    if let Some(problem) = objects.size_problem(&shard.path, shard.bytes) {
        let finding = finding(shard, problem.kind, all(), problem.message());
        return CheckedShard::wrong(finding);
    }
    let object = StreamedObject::new(objects.store(), &shard.path, shard.bytes);
    let object = Arc::new(object);
    let decoded = opened.map_or_else(CheckedShard::default, |opened| {
        match opened.array.read_shard(object.clone(), &shard.path) {
            Ok(file) => {
                let samples = shard.first_sample..shard.first_sample + shard.samples;
                decode(shard, opened, &file, samples, || object.has_failed())
            }
            Err(e) => {
                let finding = finding(shard, FindingKind::Decode, all(), describe(&e));
                CheckedShard::wrong(finding)
            }
        }
    });
    match digest_problem(&object.digest().map(Some), &shard.blake3) {
        None => decoded,
        Some(problem) => {
            let samples = match problem.kind {
                // Readers want to know next which samples are damaged.
                FindingKind::Digest => decoded
                    .findings
                    .into_iter()
                    .flat_map(|f| f.samples)
                    .collect(),
                _ => all(),
            };
            CheckedShard::wrong(finding(shard, problem.kind, samples, problem.message()))
        }
    }
}

/// Verifies the size of the shard, and decodes those of `chosen` that are in it.
fn check_samples(
    objects: &DatasetObjects<'_>,
    shard: &ShardEntry,
    opened: Option<&OpenArray>,
    chosen: &ChosenSamples,
) -> CheckedShard {
    let range = shard.first_sample..shard.first_sample.saturating_add(shard.samples);
    let samples = chosen.get(&shard.split).map(|samples| samples.range(range));
    let samples: Vec<u64> = samples.into_iter().flatten().copied().collect();
    if let Some(problem) = objects.size_problem(&shard.path, shard.bytes) {
        let finding = finding(shard, problem.kind, samples, problem.message());
        return CheckedShard::wrong(finding);
    }
    let (Some(opened), Some(first)) = (opened, samples.first().copied()) else {
        return CheckedShard::default();
    };
    match opened.array.open_shard_of(first) {
        Ok(file) => decode(shard, opened, &file, samples.into_iter(), || false),
        Err(e) => CheckedShard::wrong(finding(shard, FindingKind::Decode, samples, describe(&e))),
    }
}

/// Decodes samples of the shard, which is `file`, and looks at their values. Ends early when `has_failed`: then nothing more can be
/// read. One finding has all samples of a kind, and the message of the first.
fn decode(
    shard: &ShardEntry,
    opened: &OpenArray,
    file: &ShardReader,
    samples: impl Iterator<Item = u64>,
    has_failed: impl Fn() -> bool,
) -> CheckedShard {
    let OpenArray { array, column, .. } = opened;
    let mut fractions = Fractions::of(opened.nonzero_fractions.as_ref());
    let mut content = Content::default();
    let mut undecodable = Wrong::default();
    let mut other_fraction = Wrong::default();
    let mut fill = Vec::new();
    for i in samples {
        let stored = match array.stored_values(file, i) {
            Ok(stored) => stored,
            Err(e) => {
                undecodable.add(i, || describe(&e));
                if has_failed() {
                    break;
                }
                continue;
            }
        };
        let values = match &stored {
            Some(values) => values,
            None => {
                if fill.is_empty() {
                    // Of one value, which is enough to know what is in the sample.
                    fill = array.fill_value().to_vec();
                }
                &fill
            }
        };
        content.add(i, values, &opened.rules);
        let found = nonzero_fraction(opened.data_type, values);
        // A column that cannot be read is a finding of `columns`.
        let expected = fractions.of_sample(i);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            other_fraction.add(i, || {
                format!("{column} is {expected}, but the sample's fraction is {found}")
            });
        }
    }
    let findings = [
        undecodable.finding(shard, FindingKind::Decode),
        other_fraction.finding(shard, FindingKind::NonzeroFraction),
    ];
    CheckedShard {
        findings: findings.into_iter().flatten().collect(),
        content,
    }
}

/// Nonzero fractions that are read at once. Threads that read other parts of the column in between do not slow this one down.
const FRACTIONS: u64 = 1 << 16;

/// The nonzero fractions of samples that follow each other.
struct Fractions<'c> {
    column: Option<&'c ColumnReader<f32>>,
    /// The sample of the first of `values`.
    first: u64,
    values: Vec<f32>,
}

impl<'c> Fractions<'c> {
    fn of(column: Option<&'c ColumnReader<f32>>) -> Self {
        Self {
            column,
            first: 0,
            values: Vec::new(),
        }
    }

    /// The fraction in the column; `None` if it cannot be read.
    fn of_sample(&mut self, i: u64) -> Option<f32> {
        let column = self.column?;
        let end = self.first + self.values.len() as u64;
        if !(self.first..end).contains(&i) {
            self.first = i;
            self.values = column
                .rows(i..i.saturating_add(FRACTIONS))
                .unwrap_or_default();
        }
        self.values.get((i - self.first) as usize).copied()
    }
}

/// Samples with the same kind of problem.
#[derive(Default)]
struct Wrong {
    samples: Vec<u64>,
    /// What is wrong with the first.
    message: String,
}

impl Wrong {
    fn add(&mut self, sample: u64, message: impl FnOnce() -> String) {
        if self.samples.is_empty() {
            self.message = message();
        }
        self.samples.push(sample);
    }

    fn finding(self, shard: &ShardEntry, kind: FindingKind) -> Option<Finding> {
        let is_any = !self.samples.is_empty();
        is_any.then(|| finding(shard, kind, self.samples, self.message))
    }
}

fn nonzero_fraction(data_type: DataType, values: &[u8]) -> f32 {
    let n = values.len() / data_type.size_bytes();
    (data_type.count_nonzero(values) as f64 / n as f64) as f32
}

fn finding(shard: &ShardEntry, kind: FindingKind, samples: Vec<u64>, message: String) -> Finding {
    Finding::new(kind, &shard.path, message)
        .in_split(&shard.split)
        .in_samples(samples)
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

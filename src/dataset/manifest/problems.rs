//! Problems of a manifest: paths that lead out of the dataset, numbers that contradict each other.
//!
//! Everything that is allocated for a dataset is sized by its manifest, so the manifest is checked first. Its digest proves
//! nothing: an attacker who forges a manifest also computes the digest.

use std::collections::HashMap;

use super::{
    ArrayEntry, BoxEntry, GROUPS_VERSION, GroupEntry, MAX_SAMPLE_BYTES, Manifest, ShardEntry,
};
use crate::config::DROPPED_ANNOTATIONS;
use crate::dataset::chunk_key::Separator;
use crate::dataset::group_path;
use crate::geometry::{Resolution, WindowSize};

/// Most samples per shard that are accepted.
const MAX_SHARD_SAMPLES: u64 = 1 << 28;

/// Most problems that are listed.
const MAX_LISTED: usize = 20;

/// A value of a manifest that is not possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// JSON path of the value.
    path: String,
    /// What was found and what was expected.
    problem: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at `{}`: {}", self.path, self.problem)
    }
}

impl Manifest {
    /// The first problems; none for a manifest that pointshard wrote.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let splits = self
            .splits
            .keys()
            .flat_map(|name| self.split_problems(name));
        let arrays = self
            .arrays
            .iter()
            .flat_map(|(name, a)| array_problems(name, a));
        let dropped = group_path(DROPPED_ANNOTATIONS);
        let files = self.files.iter().enumerate().filter_map(|(i, file)| {
            let mut groups = self.splits.values().map(|s| s.path.as_str());
            let inside =
                groups.any(|group| is_below(&file.path, group)) || is_below(&file.path, &dropped);
            let problem = bad_path(&file.path).or_else(|| {
                (!inside)
                    .then(|| format!("found {:?}, expected a file of a split's group", file.path))
            })?;
            Some(Problem::at(format!("files[{i}].path"), problem))
        });
        let window = WindowSize::new(self.window_voxels).is_none().then(|| {
            let found = format!("found {:?}, expected voxels", self.window_voxels);
            Problem::at("window_voxels", found)
        });
        let groups = (0..).zip(&self.groups);
        let groups = groups.flat_map(|(i, group)| self.group_problems(i, group));
        let boxes = (0..).zip(&self.boxes);
        let boxes = boxes.filter_map(|(i, b)| self.box_problem(i, b));
        let all = splits.chain(arrays).chain(window).chain(groups);
        let all = all.chain(boxes).chain(files);
        let all = all.chain(self.shard_problems()).chain(self.sum_problems());
        all.take(MAX_LISTED).collect()
    }

    fn split_problems(&self, name: &str) -> Vec<Problem> {
        let split = &self.splits[name];
        let at = |key: &str| format!("splits.{name}{key}");
        let name = bad_name(name).map(|problem| Problem::at(at(""), problem));
        let path = bad_path(&split.path).map(|problem| Problem::at(at(".path"), problem));
        let samples = split.shard_samples;
        let shard_samples = (!(1..=MAX_SHARD_SAMPLES).contains(&samples)).then(|| {
            let problem = format!("found {samples}, expected 1 to {MAX_SHARD_SAMPLES}");
            Problem::at(at(".shard_samples"), problem)
        });
        let parts = [name, path, shard_samples];
        parts.into_iter().flatten().collect()
    }

    /// Problems of a layer group: it has a source for each array, and no other.
    fn group_problems(&self, number: usize, group: &GroupEntry) -> Vec<Problem> {
        let at = |key: &str| format!("groups[{number}].{key}");
        let mut problems = Vec::new();
        if Resolution::new(group.resolution_nm).is_none() {
            let problem = format!("found {:?}, expected nm per voxel", group.resolution_nm);
            problems.push(Problem::at(at("resolution_nm"), problem));
        }
        for (array, source) in &group.sources {
            let problem = if !self.arrays.contains_key(array) {
                format!("there is no array {array:?}")
            } else if *source >= self.sources.len() {
                let sources = self.sources.len();
                format!("found {source}, but the manifest lists {sources} sources")
            } else {
                continue;
            };
            problems.push(Problem::at(at("sources"), problem));
        }
        let missing = self.arrays.keys().find(|a| !group.sources.contains_key(*a));
        problems.extend(
            missing.map(|array| {
                Problem::at(at("sources"), format!("the array `{array}` has no source"))
            }),
        );
        problems
    }

    /// What is wrong with the box, if anything: a box of a split has a layer group.
    fn box_problem(&self, number: usize, b: &BoxEntry) -> Option<Problem> {
        let expected = self.schema_version >= GROUPS_VERSION && b.split.is_some();
        let problem = match b.group {
            Some(group) if group >= self.groups.len() => {
                let groups = self.groups.len();
                format!("found {group}, but the manifest lists {groups} layer groups")
            }
            None if expected => "the box belongs to a split, but to no layer group".to_owned(),
            _ => return None,
        };
        Some(Problem::at(format!("boxes[{number}].group"), problem))
    }

    /// Problems of shards: each must be in its place and hold the next samples, up to the last sample of its split.
    fn shard_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut next: HashMap<(&str, &str), u64> = HashMap::new();
        for (i, shard) in self.shards.iter().enumerate() {
            let first = next.entry((&shard.split, &shard.array)).or_default();
            match self.shard_problem(shard, *first) {
                Some((key, problem)) => {
                    problems.push(Problem::at(format!("shards[{i}].{key}"), problem));
                    if problems.len() >= MAX_LISTED {
                        return problems;
                    }
                    *first = first.saturating_add(shard.samples);
                }
                None => *first += shard.samples,
            }
        }
        for (split, entry) in &self.splits {
            for array in self.arrays.keys() {
                let listed = next.get(&(split.as_str(), array.as_str()));
                let listed = listed.copied().unwrap_or(0);
                if listed != entry.samples {
                    let problem = format!(
                        "found {}, but the manifest lists shards for {listed} samples of the array `{array}`",
                        entry.samples
                    );
                    problems.push(Problem::at(format!("splits.{split}.samples"), problem));
                }
            }
        }
        problems
    }

    /// What is wrong with the shard, whose first sample must be `first`: the key, and a message.
    fn shard_problem(&self, shard: &ShardEntry, first: u64) -> Option<(&'static str, String)> {
        let (Some(split), true) = (
            self.splits.get(&shard.split),
            self.arrays.contains_key(&shard.array),
        ) else {
            let problem = format!(
                "there is no split {:?} with an array {:?}",
                shard.split, shard.array
            );
            return Some(("split", problem));
        };
        if shard.first_sample != first {
            let problem = format!("found {}, expected {first}", shard.first_sample);
            return Some(("first_sample", problem));
        }
        let expected = split.shard_samples.min(split.samples.saturating_sub(first));
        if shard.samples != expected || expected == 0 {
            let problem = format!("found {}, expected {expected}", shard.samples);
            return Some(("samples", problem));
        }
        let number = first.checked_div(split.shard_samples)?;
        let folder = format!("{}/{}", split.path, shard.array);
        let paths = Separator::ALL.map(|s| format!("{folder}/{}", s.chunk_key(number, 5)));
        if !paths.contains(&shard.path) {
            let [expected, _] = paths;
            let problem = format!("found {:?}, expected {expected:?}", shard.path);
            return Some(("path", problem));
        }
        let index_bytes = split.shard_samples.checked_mul(16)?.checked_add(4)?;
        (shard.bytes < index_bytes).then(|| {
            let found = shard.bytes;
            let problem =
                format!("found {found}, less than the {index_bytes} bytes of a shard's index");
            ("bytes", problem)
        })
    }

    /// Sums that do not fit in 64 bits.
    fn sum_problems(&self) -> Vec<Problem> {
        let shards = || self.shards.iter();
        let files = self.files.iter().map(|f| f.bytes);
        let boxes = || self.boxes.iter();
        let sums = [
            ("splits", sum(self.splits.values().map(|s| s.samples))),
            ("shards", sum(shards().map(|s| s.samples))),
            ("files", sum(files.chain(shards().map(|s| s.bytes)))),
            ("boxes", sum(boxes().map(|b| b.annotations))),
            ("boxes", sum(boxes().map(|b| b.samples))),
            (
                "boxes",
                sum(boxes().flat_map(|b| b.dropped.values().copied())),
            ),
        ];
        let over = sums.into_iter().filter(|(_, sum)| sum.is_none());
        over.map(|(path, _)| Problem::at(path, "its numbers add up to more than 2^64".to_owned()))
            .collect()
    }
}

impl Problem {
    fn at(path: impl Into<String>, problem: String) -> Self {
        Self {
            path: path.into(),
            problem,
        }
    }
}

/// The sum; `None` where it is too large.
fn sum(mut values: impl Iterator<Item = u64>) -> Option<u64> {
    values.try_fold(0, u64::checked_add)
}

fn array_problems(name: &str, array: &ArrayEntry) -> Vec<Problem> {
    let at = |key: &str| format!("arrays.{name}{key}");
    let mut problems = Vec::new();
    problems.extend(bad_name(name).map(|problem| Problem::at(at(""), problem)));
    if sample_bytes(array).is_none() {
        let problem = format!(
            "found {:?}, expected four numbers, each at least 1, for a sample of at most {MAX_SAMPLE_BYTES} bytes",
            array.sample_shape
        );
        problems.push(Problem::at(at(".sample_shape"), problem));
    }
    if array.dimensions.len() != 5 {
        let problem = format!("found {:?}, expected five names", array.dimensions);
        problems.push(Problem::at(at(".dimensions"), problem));
    }
    problems
}

/// Bytes of a sample of the array; `None` where that is 0 or more than [`MAX_SAMPLE_BYTES`].
fn sample_bytes(array: &ArrayEntry) -> Option<u64> {
    let bytes = array.data_type.size_bytes() as u64;
    let mut shape = array.sample_shape.iter();
    let bytes = shape.try_fold(bytes, |n, k| n.checked_mul(*k))?;
    (1..=MAX_SAMPLE_BYTES).contains(&bytes).then_some(bytes)
}

/// What is wrong with `path` as that of a file inside the dataset, if anything.
fn bad_path(path: &str) -> Option<String> {
    let plain = path.len() <= 4096 && path.split('/').all(is_plain);
    (!plain).then(|| {
        let found: String = path.chars().take(200).collect();
        format!("found {found:?}, expected a relative path without `..` inside the dataset")
    })
}

/// What is wrong with `name` as that of a split or an array, which is the name of a folder.
fn bad_name(name: &str) -> Option<String> {
    let plain = name.len() <= 255 && is_plain(name);
    (!plain).then(|| "found a name that no folder of a dataset can have".to_owned())
}

fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && !part.contains(|c: char| c.is_control() || "/\\".contains(c))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}
